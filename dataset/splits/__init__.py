"""Splits of cells into training, validation and test, and reading of these subsets."""
