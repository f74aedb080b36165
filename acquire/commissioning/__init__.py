"""A new rig: a first file for it, and a check of what its devices really do."""
