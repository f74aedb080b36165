"""A network calibrated on raw stacks that nobody labelled."""
