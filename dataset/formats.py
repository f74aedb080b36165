"""What exporters write into the formats of other programs, and importers look for there."""

from typing import Final

OME_NAMESPACE: Final = "fgaf-raw"
"""Namespace of the OME-XML annotation that holds the record of an exported raw stack."""
ZARR_RECORD: Final = "fgaf"
"""OME-Zarr attribute that holds the record of an exported raw stack."""
NPZ_RECORD: Final = "fgaf"
"""Name of the .npz array that holds the record of an exported archive."""
NPZ_SIDES: Final = {"train": "train", "validation": "val", "test": "test"}
"""Sides of a split to the first part of the names of .npz arrays."""
