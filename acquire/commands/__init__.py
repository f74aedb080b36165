"""The command `acq`."""
