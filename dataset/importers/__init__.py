"""Files of other programs become raw stacks and archives."""
