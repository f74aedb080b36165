"""The plugin for napari: the only modules of this package that import it."""
