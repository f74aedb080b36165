"""Work that is shared by processes: of this machine, or of a Dask cluster."""
