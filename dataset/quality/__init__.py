"""Summaries and checks of files."""
