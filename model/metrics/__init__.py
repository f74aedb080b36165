"""Metrics of depths and of masks of heads, with intervals over cells."""
