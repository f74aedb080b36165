"""The same cell through the planes of a stack."""
