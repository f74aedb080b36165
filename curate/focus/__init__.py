"""Where a cell is in focus."""
