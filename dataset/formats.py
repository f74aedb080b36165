"""Names under which exporters store our records in other formats, and importers find them."""

from typing import Final

OME_NAMESPACE: Final = "fgaf-raw"
"""Namespace of the OME-XML annotation that holds the record of an exported raw stack."""
ZARR_RECORD: Final = "fgaf"
"""OME-Zarr attribute that holds the record of an exported raw stack."""
NPZ_RECORD: Final = "fgaf"
"""Name of the .npz array that holds the record of an exported archive."""
NPZ_SIDES: Final = {"train": "train", "validation": "val", "test": "test"}
"""Side of a split to the prefix of its .npz arrays."""
