"""Depth from patches with a trained network."""
