"""Labels of an archive corrected by what is learned from the other cells."""
