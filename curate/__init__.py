"""From raw stacks to labelled patches: find cells, find their focus, compile an archive."""
