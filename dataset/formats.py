"""Names under which exporters store our records in other formats, and importers find them."""

from pathlib import PurePosixPath
from typing import Final

OME_NAMESPACE: Final = "fgaf-raw"
"""Namespace of the OME-XML annotation that holds the record of an exported raw stack."""
ZARR_RECORD: Final = "fgaf"
"""OME-Zarr attribute that holds the record of an exported raw stack."""
NPZ_RECORD: Final = "fgaf"
"""Name of the .npz array that holds the record of an exported archive."""
NPZ_SIDES: Final = {"train": "train", "validation": "val", "test": "test"}
"""Side of a split to the prefix of its .npz arrays."""
TAR: Final = ".tar"
PARQUET: Final = ".parquet"


def mask_place(patch: str) -> str:
    """Where an export stores the mask of a patch, both named as in the record.

    A patch in a tar shard ``NAME.png`` has the mask ``NAME.mask.png`` beside it, one in a parquet
    file the column ``mask`` of its row, and an image ``FILE`` the mask ``masks/FILE``.

    Parameters
    ----------
    patch
        Place of the patch, with ``/`` between folders.
    """
    place = PurePosixPath(patch)
    if place.parent.suffix == TAR:
        return str(place.with_suffix(f".mask{place.suffix}"))
    return patch if place.parent.suffix == PARQUET else f"masks/{patch}"
