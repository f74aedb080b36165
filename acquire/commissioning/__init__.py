"""Set-up of a new rig: a first rig file, and a check of its devices."""
