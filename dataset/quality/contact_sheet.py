"""Overview of a file as a picture: of an archive cells x depths, of a raw stack its planes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fgaf.base.errors import FgafError
from fgaf.base.files import publishing
from fgaf.dataset.archive import Archive
from fgaf.dataset.raw import RawStack
from fgaf.dataset.storage.masks import OTHER_HEAD, OWN_HEAD, outline_of

_CELLS: Final = 12
_PLANES: Final = 12
_COLUMNS: Final = 4
_PLANE_PX: Final = 360
"""Longer side of a plane of a raw stack."""
GAP: Final = 2
HEAD: Final = 16
"""Pixels above a row of images, for the µm."""
_MARGIN: Final = 6
_LETTER: Final = (6, 11)
"""Width and height of each letter of Pillow's font of pixels, which has all of Latin-1, such as µ;
its other font has not."""
_LONGEST: Final = 24
"""Letters of a name; longer ones are cut."""


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
        Where the archive has masks, a white line surrounds the cell's own head and a black one the
        others.
        Depths in µm are at the top; at the left the index of the cell in the archive, and its
        sample.

    Raises
    ------
    FgafError
        The archive is empty.
    """
    if archive.n_cells == 0:
        raise FgafError("the archive holds no cell to show; add some")
    side = archive.header.patch_px
    picked = np.unique(np.linspace(0, archive.n_cells - 1, n_cells).round().astype(int))
    tiles = np.zeros((len(picked), archive.n_classes, side, side), np.uint8)
    for row, cell in enumerate(picked):
        rows = archive.rows_of(int(cell))
        patches = archive.images[rows].astype(np.float64)
        grey = _grey(patches, patches.min(), patches.max())
        if archive.masks is not None:
            masks = archive.masks[rows]
            grey[outline_of(masks == OTHER_HEAD)] = 0
            grey[outline_of(masks == OWN_HEAD)] = 255
        tiles[row, archive.depth_class[rows]] = grey
    names = [f"{cell}  {_cut(archive.cells.sample_id[cell])}".rstrip() for cell in picked]
    return _sheet(tiles, [[_um(depth) for depth in archive.class_depths_um]], names)


def stack_sheet(stack: RawStack, n_planes: int = _PLANES) -> NDArray[np.uint8]:
    """Lay planes of a raw stack out as one picture, with the position of each above it.

    Parameters
    ----------
    stack
        Open stack.
    n_planes
        Number of planes to show, evenly spaced.

    Returns
    -------
    (H, W) uint8
        The planes with a common contrast; the sample is at the left.
    """
    picked = np.unique(np.linspace(0, stack.n_planes - 1, n_planes).round().astype(int))
    every = -(-max(stack.shape[1:]) // _PLANE_PX)
    planes = np.stack([stack.frames[int(k)][::every, ::every] for k in picked]).astype(np.float64)
    low, high = np.percentile(planes, [0.2, 99.8])
    columns = min(_COLUMNS, len(picked))
    missing = -len(picked) % columns
    shown = np.pad(_grey(planes, low, high), ((0, missing), (0, 0), (0, 0)))
    positions = [_um(z) for z in stack.z_um[picked]] + missing * [""]
    heads = [positions[k : k + columns] for k in range(0, len(positions), columns)]
    return _sheet(
        shown.reshape(-1, columns, *shown.shape[1:]), heads, [_cut(stack.header.sample_id)]
    )


def write_contact_sheet(path: Path, file: Archive | RawStack, overwrite: bool = False) -> None:
    """Publish the contact sheet of an open file as a PNG; see `publishing` for the errors.

    Parameters
    ----------
    path
        The file to write.
    file
        An open archive or raw stack.
    overwrite
        Whether an existing file may be replaced.
    """
    sheet = contact_sheet(file) if isinstance(file, Archive) else stack_sheet(file)
    with publishing(path, overwrite) as part:
        Image.fromarray(sheet).save(part, format="PNG")


def _grey(pixels: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    return (np.clip((pixels - low) / max(high - low, 1), 0, 1) * 255).astype(np.uint8)


def _um(position: float) -> str:
    rounded = round(position, 2)
    return f"{rounded:+g} µm" if rounded else "0 µm"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 2]}.."


def _sheet(
    tiles: NDArray[np.uint8], heads: Sequence[Sequence[str]], names: Sequence[str]
) -> NDArray[np.uint8]:
    """Put images (R, C, H, W) below their heads, one row of them for each row or for all."""
    n_rows, n_columns, height, width = tiles.shape
    headed = len(heads) > 1
    pitch_y, pitch_x = height + GAP + HEAD * headed, width + GAP
    top = 0 if headed else HEAD
    longest = max(map(len, names), default=0)
    left = 2 * _MARGIN + longest * _LETTER[0] if longest else 0
    image = Image.new("L", (left + n_columns * pitch_x - GAP, top + n_rows * pitch_y - GAP))
    draw = ImageDraw.Draw(image)
    for row, images in enumerate(tiles):
        y = top + row * pitch_y + HEAD * headed
        for column, pixels in enumerate(images):
            image.paste(Image.fromarray(pixels), (left + column * pitch_x, y))
        if row < len(names):
            _write(draw, left - _MARGIN - len(names[row]) * _LETTER[0], y + height // 2, names[row])
        if row < len(heads):
            for column, text in enumerate(heads[row]):
                middle = left + column * pitch_x + width // 2
                _write(draw, middle - len(text) * _LETTER[0] // 2, y - HEAD // 2, text)
    return np.asarray(image)


def _write(draw: ImageDraw.ImageDraw, x: int, middle: int, text: str) -> None:
    latin = text.encode("latin-1", "replace").decode("latin-1")
    draw.text((x, middle - _LETTER[1] // 2), latin, 255, font=ImageFont.load_default_imagefont())
