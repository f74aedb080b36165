"""The lamp, the camera and what it does with an image."""
