"""The plugin for napari: the only modules of the room that import it."""
