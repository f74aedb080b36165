"""Where the cells are in one plane, and the crops taken there."""
