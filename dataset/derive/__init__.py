"""Archives and raw stacks made from others."""
