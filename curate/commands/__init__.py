"""The command `fgaf-curate`."""
