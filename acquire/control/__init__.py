"""Control of the devices: the drive, the planes, the sweep, the preview."""
