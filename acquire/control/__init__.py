"""Devices moved and read with care: the drive, the planes, the sweep, the preview."""
