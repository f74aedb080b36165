"""What every room stands on: errors, the console, whole files, names, limits of numbers."""
