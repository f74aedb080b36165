"""From an archive to a trained network."""
