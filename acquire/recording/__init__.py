"""Recording of stacks on disk, single and in series."""
