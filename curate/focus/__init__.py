"""How sharp an image is, and where a cell is in focus."""
