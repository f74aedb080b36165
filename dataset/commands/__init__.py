"""The command `fgaf-data`."""
