"""Decisions on cells: the journal, its state, and the annotator."""
