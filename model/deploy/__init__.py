"""Export: a run as one file that does not need torch, evaluated before it is published."""
