"""Decisions on cells: the journal, what it says, and the person who decides."""
