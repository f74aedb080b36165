"""The commands from `fgaf-train` to `fgaf-live`."""
