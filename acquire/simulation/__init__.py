"""The simulated microscope: a field of swimming sperm and the light that images them."""
