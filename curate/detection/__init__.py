"""Detection of cells in one plane, and their crops."""
