"""The curation window in napari: a thin face over `fgaf.curate.sitting`.

Only this package, of all in the room, imports napari and Qt.
"""
