"""The report of a benchmark: a page, its figures, and tables for other programs."""
