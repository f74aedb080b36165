"""Common parts of the patch formats: the folder, sides, blocks, names, labels, PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.archive import Archive
from fgaf.dataset.exporters.folders import publishing_folder
from fgaf.dataset.record import NAME, archive_record
from fgaf.dataset.splits.split import SIDES

PNG: Final = ".png"
_MASK_COLOURS: Final = (0, 0, 0, 255, 255, 255, 128, 128, 128)
"""Red, green and blue of background, own head and other heads."""
BLOCK: Final = 256
"""Patches in memory at a time."""


def side_rows(archive: Archive, split: str) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield the rows of every non-empty side of a split: (side, (m,) row numbers).

    Parameters
    ----------
    archive
        The archive.
    split
        Name of the split.

    Raises
    ------
    FgafError
        The archive has no split of that name.
    """
    sides = archive.split_of_rows(split)
    for number, side in enumerate(SIDES):
        rows = np.flatnonzero(sides == number)
        if len(rows):
            yield side, rows


def patch_blocks(
    archive: Archive, rows: NDArray[np.intp], size: int = BLOCK
) -> Iterator[tuple[NDArray[np.intp], NDArray[Any]]]:
    """Read patches a few at a time, in the order of their rows.

    Parameters
    ----------
    archive
        In memory or open.
    rows
        (m,) row numbers, ascending.
    size
        How many at a time; the last block has the rest.

    Yields
    ------
    ndarray, ndarray
        (n,) row numbers and (n, S, S) patches.
    """
    for start in range(0, len(rows), size):
        held = rows[start : start + size]
        yield held, archive.images[held]


@contextmanager
def exporting(archive: Archive, path: Path, overwrite: bool) -> Iterator[tuple[Path, list[str]]]:
    """Write a folder of patches, and at the end the record from which the archive is restored.

    Parameters
    ----------
    archive
        In memory or open.
    path
        The folder.
    overwrite
        Whether an earlier export may be replaced.

    Yields
    ------
    Path, list of str
        The folder to write to, and a list, a place per row, for what each patch is stored as.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    """
    files = [""] * len(archive.images)
    with publishing_folder(path, overwrite) as part:
        yield part, files
        (part / NAME).write_text(archive_record(archive, files), encoding="utf-8")


def class_names(archive: Archive) -> list[str]:
    """Name every depth class, such as ``04_+0um``; the names sort by depth."""
    digits = len(str(archive.n_classes - 1))
    depths = archive.class_depths_um
    return [f"{k:0{digits}}_{depth:+.6g}um" for k, depth in enumerate(depths)]


def patch_names(archive: Archive) -> list[str]:
    """Name every patch, without a suffix; the names sort in the order of the rows."""
    digits, cells = len(str(len(archive.images))), len(str(archive.n_cells))
    return [f"{row:0{digits}}_cell{cell:0{cells}}" for row, cell in enumerate(archive.cell)]


def png_of(patch: NDArray[Any]) -> bytes:
    """Compress one grey patch without loss; 16-bit patches stay 16-bit."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.asarray(patch)).save(buffer, format="PNG")
    return buffer.getvalue()


def png_of_mask(mask: NDArray[np.uint8]) -> bytes:
    """Compress one mask without loss; a palette makes its values visible in viewers."""
    from PIL import Image

    image, buffer = Image.fromarray(np.asarray(mask)), io.BytesIO()
    image.putpalette(_MASK_COLOURS)
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def patch_columns(archive: Archive) -> dict[str, NDArray[Any]]:
    """Metadata of every patch, (M,) each: its labels and its origin."""
    columns: dict[str, NDArray[Any]] = {
        "depth_class": archive.depth_class,
        "depth_um": archive.depth_um,
        "plane": archive.plane,
        "center_y": archive.center_y,
        "center_x": archive.center_x,
        "cell": archive.cells.id[archive.cell],
        "sample_id": archive.cells.sample_id[archive.cell],
        "method": archive.cells.method[archive.cell],
        "confidence": archive.cells.confidence[archive.cell],
    }
    if archive.true_depth_um is not None:
        columns["true_depth_um"] = archive.true_depth_um
    return columns
