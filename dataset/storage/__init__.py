"""What raw stacks and archives have in common on disk: attributes, columns, checksums, chunks."""
