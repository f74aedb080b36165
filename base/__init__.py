"""What every room needs: errors, the console, file output, names, limits of numbers."""
