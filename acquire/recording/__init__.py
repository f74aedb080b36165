"""Stacks on disk, alone and in series."""
