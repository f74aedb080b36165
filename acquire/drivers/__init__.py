"""Drivers: one module per device family, found through entry points."""
