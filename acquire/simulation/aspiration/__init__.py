"""Aspiration of sperm: hydraulics of a micropipette, the flow at its mouth, and carried cells."""
