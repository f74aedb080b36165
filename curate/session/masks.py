"""Masks of heads in a session: what a person drew, as small pictures in the session's folder.

A mask is drawn in one plane. In a plane without one of its own, that of the nearest plane counts,
moved with the cell's path: an outline is the same in all planes, unless the cell turns.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import FgafError, FormatError
from fgaf.base.files import cannot_write, make_folder, publishing
from fgaf.curate.detection.scale import Floats

MASKS: Final = "masks"
"""Folder of the pictures in that of the session."""
_SUFFIX: Final = ".png"


@dataclass(frozen=True)
class Mask:
    """The head of a cell as drawn in one plane.

    Attributes
    ----------
    plane
        Number of the plane.
    top, left
        Row and column of the picture's corner in the frame of that plane, pixels.
    height, width
        Size of the picture, pixels.
    sha256
        Names the picture: the digest of its file.
    annotator, time_utc, number
        Person, time and number of the record.
    """

    plane: int
    top: int
    left: int
    height: int
    width: int
    sha256: str
    annotator: str
    time_utc: str
    number: int


def nearest_mask(masks: Mapping[int, Mask], plane: int) -> Mask | None:
    """The mask that counts in a plane: of the nearest one, of two the lower; None without any.

    Parameters
    ----------
    masks
        Of one cell, by plane.
    plane
        Number of the plane.
    """
    nearest = min(masks, key=lambda drawn: (abs(drawn - plane), drawn), default=None)
    return None if nearest is None else masks[nearest]


def shift(y: Floats, x: Floats, start: int, end: int) -> tuple[int, int]:
    """Rows and columns by which the crop of a cell moves from one plane to another.

    Parameters
    ----------
    y, x
        (P,) centre in each plane, pixels.
    start, end
        Numbers of the planes.
    """
    dy, dx = (round(float(way[end])) - round(float(way[start])) for way in (y, x))
    return dy, dx


def paint(
    labels: npt.NDArray[Any],
    folder: Path,
    mask: Mask,
    corner: tuple[int, int],
    value: int = 1,
) -> None:
    """Set the pixels of a mask; those outside are cut off.

    Parameters
    ----------
    labels
        (Y, X), changed in place.
    folder
        Of the session.
    mask
        The mask.
    corner
        Row and column of its upper left pixel in `labels`.
    value
        What the pixels become.

    Raises
    ------
    FormatError
        The picture is missing or damaged.
    """
    (top, left), (rows, columns) = corner, labels.shape
    y = slice(max(top, 0), min(top + mask.height, rows))
    x = slice(max(left, 0), min(left + mask.width, columns))
    if y.start < y.stop and x.start < x.stop:
        pixels = read_mask(folder, mask)
        part = pixels[y.start - top : y.stop - top, x.start - left : x.stop - left]
        labels[y, x][part] = value


def write_mask(folder: Path, pixels: npt.NDArray[np.bool_]) -> str:
    """Write the picture of a mask; when this returns it is on disk.

    Parameters
    ----------
    folder
        Of the session.
    pixels
        (Y, X) true on the head.

    Returns
    -------
    The digest that names it; equal pictures are one file.

    Raises
    ------
    FgafError
        It cannot be written.
    """
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    path = path_of(folder, digest)
    try:
        if not path.is_file() or path.read_bytes() != packed.getvalue():
            make_folder(path.parent)
            with publishing(path, overwrite=True) as part:
                part.write_bytes(packed.getvalue())
    except OSError as error:
        raise cannot_write(path, error) from error
    return digest


def read_mask(folder: Path, mask: Mask) -> npt.NDArray[np.bool_]:
    """Read the picture of a mask: (height, width), true on the head.

    Parameters
    ----------
    folder
        Of the session.
    mask
        The mask.

    Raises
    ------
    FormatError
        It is missing or damaged.
    """
    pixels = _read(path_of(folder, mask.sha256), mask.sha256)
    if pixels.shape != (mask.height, mask.width):
        raise FormatError(
            f"{path_of(folder, mask.sha256)} is {pixels.shape[0]} x {pixels.shape[1]} pixels, the "
            f"journal says {mask.height} x {mask.width}; restore the session from a copy"
        )
    return pixels


def path_of(folder: Path, sha256: str) -> Path:
    """Where the picture of a mask is.

    Parameters
    ----------
    folder
        Of the session.
    sha256
        Digest of the picture.
    """
    return folder / MASKS / f"{sha256}{_SUFFIX}"


@lru_cache(maxsize=4096)
def _read(path: Path, sha256: str) -> npt.NDArray[np.bool_]:
    """A picture never changes: its name is the digest of its content."""
    from PIL import Image

    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error.strerror}): copy the session with all its files"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FormatError(f"{path} is damaged; restore it from a copy")
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.array(picture.convert("1"))
    pixels.flags.writeable = False
    return pixels


def box_of(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that hold all true pixels.

    Parameters
    ----------
    mask
        (Y, X).

    Raises
    ------
    FgafError
        There is none.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise FgafError("the mask is empty: draw the head, or leave")
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
