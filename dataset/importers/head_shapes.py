"""Heads that a person or program outlined in an image, whatever the format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.base.names import nearest
from fgaf.dataset.findings import some
from fgaf.dataset.storage.outlines import fill

_CORNER: Final = 0.5
"""From pixel corners, from which other programs count, to pixel centres, from which we do."""


@dataclass(frozen=True)
class Head:
    """The pixels of one head.

    Attributes
    ----------
    top, left
        Row and column of the first pixel of `pixels` in the image.
    pixels
        (h, w), true on the head; its first and last row and column have true pixels.
    """

    top: int
    left: int
    pixels: NDArray[np.bool_]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Head | None:
        """The head of a mask (Y, X) of a whole image; None if it is empty."""
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return None
        top, left = int(rows[0]), int(columns[0])
        return cls(top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())

    @property
    def centre(self) -> tuple[int, int]:
        """Pixel (y, x) of the image nearest to its middle."""
        y, x = np.argwhere(self.pixels).mean(axis=0).round().astype(int)
        return self.top + int(y), self.left + int(x)

    def draw(self, labels: NDArray[Any], value: int, top: int = 0, left: int = 0) -> None:
        """Draw it into an image, or into a patch of it.

        Parameters
        ----------
        labels
            (Y, X), changed in place.
        value
            What its pixels become.
        top, left
            Row and column of the first pixel of `labels` in the image.
        """
        y, x = np.argwhere(self.pixels).T
        y, x = y + (self.top - top), x + (self.left - left)
        inside = (y >= 0) & (y < labels.shape[0]) & (x >= 0) & (x < labels.shape[1])
        labels[y[inside], x[inside]] = value


@dataclass(frozen=True)
class AnnotatedImage:
    """An image file and the heads in it.

    Attributes
    ----------
    image
        The image.
    annotation
        The file with the heads.
    heads
        Reads them, given the image's shape (Y, X).
    """

    image: Path
    annotation: Path
    heads: Callable[[tuple[int, int]], list[Head]]


def head_of_polygons(
    polygons: Sequence[Any], shape: tuple[int, int], where: str, corners: Callable[[Any], Any]
) -> Head:
    """Draw the polygons of one head.

    Parameters
    ----------
    polygons
        What the file holds for each.
    shape
        (Y, X) of the image.
    where
        File and shape, for the error.
    corners
        Turns a polygon into (N, 2) corners (x, y), in pixels from the image's upper left corner.

    Raises
    ------
    FormatError
        A polygon has under three corners, or is not of numbers; or the head is outside the image,
        or covers no pixel.
    """
    mask = np.zeros(shape, np.bool_)
    for polygon in polygons:
        try:
            places = np.asarray(corners(polygon), np.float64)
            valid = places.ndim == 2 and places.shape[1] == 2 and np.isfinite(places).all()
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise FormatError(f"{where} is not a list of corners x, y; export it again")
        if len(places) < 3:
            raise FormatError(
                f"{where} has {len(places)} corners; a polygon has three or more: delete or finish "
                "it"
            )
        fill(mask, places[:, ::-1] - _CORNER, True)
    head = Head.of(mask)
    if head is None:
        raise FormatError(
            f"{where} covers no pixel of the image of {shape[1]} x {shape[0]} pixels; delete it, "
            "or check that it is of this image"
        )
    return head


def heads_named(found: Iterable[str], wanted: Sequence[str], path: Path) -> set[str]:
    """Which labels are those of heads.

    Parameters
    ----------
    found
        Labels that the files use.
    wanted
        Labels that the user names; none for the only one, or for "head".
    path
        Source of the labels, for the error.

    Raises
    ------
    FormatError
        A wanted one is missing, or there are several and none is wanted.
    """
    found = set(found)
    for name in wanted:
        if name not in found:
            raise FormatError(f"{path} has no label {name!r}; {nearest(name, found)}")
    heads = set(wanted) or {name for name in found if name.lower() in ("head", "heads")}
    if not heads and len(found) > 1:
        raise FormatError(
            f"{path} has the labels {some(sorted(found))}; say with --label which are heads"
        )
    return heads or found
