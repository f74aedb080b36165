"""The benchmark: many methods predict the same cells, are evaluated, compared and reported."""
