"""Aspiration of single sperm into a micropipette: the procedure, and its loop at the microscope."""
