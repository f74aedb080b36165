"""Export: a run as one file that needs no torch, judged before it is published."""
