"""Cells divided into training, validation and test, and read by these subsets."""
