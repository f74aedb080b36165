"""Masks of heads: which pixels of a patch show a head, its own or another's."""

from __future__ import annotations

from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FgafError, FormatError
from fgaf.dataset.storage.columns import dataset_of

BACKGROUND, OWN_HEAD, OTHER_HEAD = 0, 1, 2
"""Values of a mask: no head, the head of the patch's own cell, the head of another cell."""
NAME: Final = "masks"
"""The dataset in an archive."""
_TYPE: Final = np.dtype("u1")
_LEVEL: Final = 1


def mask_of(labels: NDArray[Any], own: int) -> NDArray[np.uint8]:
    """Turn numbered heads into a mask.

    Parameters
    ----------
    labels
        Integers of any shape: 0 where there is no head, else the number of the head.
    own
        Number of the head that is the patch's own.

    Returns
    -------
    uint8 of the same shape
        0 background, 1 own head, 2 other heads.
    """
    mask = np.where(labels == own, OWN_HEAD, OTHER_HEAD)
    return np.where(labels == 0, BACKGROUND, mask).astype(_TYPE)


def outline_of(heads: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels just outside heads: (..., Y, X), true where a head is one row or column away.

    Parameters
    ----------
    heads
        (..., Y, X) true on heads.
    """
    near = np.zeros_like(heads)
    near[..., 1:, :] |= heads[..., :-1, :]
    near[..., :-1, :] |= heads[..., 1:, :]
    near[..., :, 1:] |= heads[..., :, :-1]
    near[..., :, :-1] |= heads[..., :, 1:]
    return near & ~heads


def masks_problem(masks: Any, shape: tuple[int, ...]) -> str:
    """What contradicts the format in type and shape of masks; empty if they are valid.

    Parameters
    ----------
    masks
        (M, S, S) array, HDF5 dataset or the like.
    shape
        Shape of the patches.
    """
    if masks.dtype != _TYPE or tuple(masks.shape) != tuple(shape):
        found, wanted = (f"{list(map(int, each))}" for each in (masks.shape, shape))
        return f"/{NAME} is {masks.dtype}{found}, should be uint8{wanted} as /images"
    return ""


def masks_in(file: h5py.File, shape: tuple[int, ...], path: object) -> h5py.Dataset | None:
    """Find the masks of an open archive; None if it has none.

    Parameters
    ----------
    file
        The archive.
    shape
        Shape of its patches.
    path
        The file, named in the error.

    Raises
    ------
    FormatError
        They differ from the patches in shape, or are not uint8.
    """
    if NAME not in file:
        return None
    masks = dataset_of(file, NAME, path)
    if problem := masks_problem(masks, shape):
        raise FormatError(f"{path}: {problem}; copy the file from its source again")
    return masks


def write_masks(file: h5py.File, masks: Any, chunk_rows: int) -> None:
    """Write masks into an archive, deflated, a chunk in memory at a time.

    Parameters
    ----------
    file
        The archive, open for writing.
    masks
        (M, S, S) uint8.
    chunk_rows
        Masks in a chunk, as many as there are patches in one.

    Raises
    ------
    FgafError
        A mask holds a value above 2.
    """
    m, *patch = masks.shape
    packed = {"chunks": (chunk_rows, *patch), "compression": "gzip", "compression_opts": _LEVEL}
    written = file.create_dataset(NAME, (m, *patch), _TYPE, **(packed if m else {}))
    for start in range(0, m, chunk_rows):
        block = np.asarray(masks[start : start + chunk_rows])
        if block.max(initial=0) > OTHER_HEAD:
            raise FgafError(
                f"a mask holds {block.max()}: only 0 (background), 1 (own head) and 2 (other "
                "heads) are allowed; correct the masks"
            )
        written[start : start + chunk_rows] = block
