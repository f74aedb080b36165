"""Raw stacks and archives in the formats of other programs."""
