"""The report of a network that segments heads."""
