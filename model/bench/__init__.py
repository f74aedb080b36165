"""The benchmark: many methods asked about the same cells, judged, compared and reported."""
