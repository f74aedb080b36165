"""Tracking of cells through the planes of a stack."""
