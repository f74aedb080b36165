"""Overview of an archive: a picture of cells x depths."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FgafError
from fgaf.base.files import publishing
from fgaf.dataset.archive import Archive

_CELLS: Final = 12
_GAP: Final = 2
HEAD: Final = 16
"""Pixels above the patches, for the depths in µm."""
MARGIN: Final = 48
"""Pixels left of the patches, for the numbers of the cells."""


def contact_sheet(archive: Archive, n_cells: int = _CELLS) -> NDArray[np.uint8]:
    """Lay patches out as one picture: a row per cell, a column per depth class.

    Parameters
    ----------
    archive
        Open archive.
    n_cells
        Number of cells to show, evenly spaced.

    Returns
    -------
    (H, W) uint8
        Each cell is scaled from its darkest to its brightest pixel; missing depths are black.
        Depths in µm are at the top, the index of the cell in the archive at the left.

    Raises
    ------
    FgafError
        The archive is empty.
    """
    if archive.n_cells == 0:
        raise FgafError("the archive holds no cell to show; add some")
    from skimage.util import montage

    side = archive.header.patch_px
    picked = np.unique(np.linspace(0, archive.n_cells - 1, n_cells).round().astype(int))
    tiles = np.zeros((len(picked), archive.n_classes, side, side), np.uint8)
    for row, cell in enumerate(picked):
        rows = archive.rows_of(int(cell))
        patches = archive.images[rows].astype(np.float64)
        low, high = patches.min(), patches.max()
        tiles[row, archive.depth_class[rows]] = (patches - low) / max(high - low, 1) * 255
    sheet = montage(
        tiles.reshape(-1, side, side), fill=0, grid_shape=tiles.shape[:2], padding_width=_GAP
    )
    inside = sheet[_GAP:-_GAP, _GAP:-_GAP]
    pitch = side + _GAP
    return _labelled(inside, archive.class_depths_um, picked, pitch)


def write_contact_sheet(path: Path, archive: Archive, overwrite: bool = False) -> None:
    """Publish the contact sheet of an open archive as a PNG; see `publishing` for the errors.

    Parameters
    ----------
    path
        The file to write.
    archive
        An open archive.
    overwrite
        Whether an existing file may be replaced.
    """
    from PIL import Image

    with publishing(path, overwrite) as part:
        Image.fromarray(contact_sheet(archive)).save(part, format="PNG")


def _labelled(
    sheet: NDArray[np.uint8],
    depths_um: NDArray[np.float64],
    cells: NDArray[np.int_],
    pitch: int,
) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.pad(sheet, ((HEAD, 0), (MARGIN, 0))))
    draw = ImageDraw.Draw(image)
    middle = (pitch - _GAP) / 2
    draw.text((MARGIN - 4, HEAD / 2), "depth", 255, anchor="rm")
    for column, depth in enumerate(depths_um):
        sign = f"{depth:+g}" if depth else "0"
        draw.text((MARGIN + column * pitch + middle, HEAD / 2), sign, 255, anchor="mm")
    for row, cell in enumerate(cells):
        draw.text((MARGIN - 4, HEAD + row * pitch + middle), str(cell), 255, anchor="rm")
    return np.asarray(image)
