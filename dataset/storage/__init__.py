"""Common storage of raw stacks and archives: attributes, columns, checksums, chunks."""
