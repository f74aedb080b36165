"""Labels of the heads in an image: boxes in YOLO text files, centres or boxes in a CSV."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import FormatError
from fgaf.base.inputs import read_text
from fgaf.model.bench.detection.image_table import Row, rows_by_image

Floats = npt.NDArray[np.float64]

COLUMNS: Final = ("y", "x")
SIZES: Final = ("height", "width")
_IMAGES, _LABELS = "images", "labels"
_SLACK_PX: Final = 1.0
"""By as much a box may reach over the image's border: the rounding of the numbers in a file."""


@dataclass(frozen=True)
class Labels:
    """The heads of one image, one array (N,) per column.

    Attributes
    ----------
    y, x
        Centre of the head or of its box, in pixels: centres of pixels are whole numbers.
    height, width
        Upright box around (y, x), pixels; NaN where only the centre is known.
    counts
        Whether the head must be found. A find at another head counts neither way.
    """

    y: Floats
    x: Floats
    height: Floats
    width: Floats
    counts: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Iterable[tuple[float, ...]]) -> Self:
        """Labels that all count, from rows of y, x, height and width."""
        table = np.array(list(rows), np.float64).reshape(-1, 4)
        y, x, height, width = table.T
        return cls(y, x, height, width, np.ones(len(table), np.bool_))

    def __len__(self) -> int:
        return len(self.y)

    @property
    def long_side(self) -> Floats:
        """(K,) longer side of every box, pixels."""
        side = np.fmax(self.height, self.width)
        return side[np.isfinite(side)]


class BoxFiles:
    """Boxes in YOLO files: lines ``class cx cy width height`` as shares of width and height.

    The file ``NAME.txt`` is beside the image, or in a folder ``labels`` in place of ``images``. An
    empty file belongs to a field without heads.

    Parameters
    ----------
    classes
        Numbers of the classes that are heads; without any, all are.
    """

    def __init__(self, classes: Collection[int] = ()) -> None:
        self.classes = frozenset(classes)
        self.seen: set[int] = set()

    def has(self, image: Path) -> bool:
        """Whether an image has a file of labels."""
        return self._file(image).is_file()

    def read(self, image: Path, shape: tuple[int, int]) -> Labels:
        """Read the labels of an image.

        Parameters
        ----------
        image
            The image's file.
        shape
            Its rows and columns.

        Raises
        ------
        FormatError
            A line is no box, is there twice, or the box reaches outside the image.
        """
        path = self._file(image)
        rows, columns = shape
        boxes: dict[tuple[float, ...], int] = {}
        heads = []
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            box = _numbers(line, where)
            if box in boxes:
                raise FormatError(f"{where} repeats the box of line {boxes[box]}; remove one")
            boxes[box] = number
            kind, x, y, width, height = box
            placed = (y * rows - 0.5, x * columns - 0.5, height * rows, width * columns)
            _require_inside(placed, shape, where)
            self.seen.add(int(kind))
            if not self.classes or kind in self.classes:
                heads.append(placed)
        return Labels.of(heads)

    def notices(self) -> list[str]:
        """What the reader of the figures must know about the labels."""
        if len(self.seen) < 2 or self.classes:
            return []
        named = ", ".join(map(str, sorted(self.seen)))
        return [f"the labels have the classes {named}, and all count as heads; --class chooses"]

    @staticmethod
    def _file(image: Path) -> Path:
        beside = image.with_suffix(".txt")
        parts = list(image.parent.parts)
        if beside.is_file() or _IMAGES not in parts:
            return beside
        place = len(parts) - 1 - parts[::-1].index(_IMAGES)
        return Path(*parts[:place], _LABELS, *parts[place + 1 :], beside.name)


class CentreTable:
    """Centres in a CSV with columns image, y, x and perhaps height and width, in pixels.

    A row without y and x says that its image is a field without heads.

    Parameters
    ----------
    table
        The CSV file.
    images
        Those that it may name.

    Raises
    ------
    FormatError
        It is no table, lacks a column, or names another image.
    """

    def __init__(self, table: Path, images: Iterable[Path]) -> None:
        self._rows = rows_by_image(table, images, COLUMNS, whole=True)

    def has(self, image: Path) -> bool:
        """Whether the table has rows for an image."""
        return image in self._rows

    def read(self, image: Path, shape: tuple[int, int]) -> Labels:
        """Read the labels of an image.

        Parameters
        ----------
        image
            The image's file.
        shape
            Its rows and columns.

        Raises
        ------
        FormatError
            A cell is no number, or a head is there twice or lies outside the image.
        """
        rows = self._rows[image]
        if len(rows) == 1 and all(rows[0].is_empty(name) for name in COLUMNS):
            return Labels.of([])
        heads: dict[tuple[float, ...], Row] = {}
        listed = []
        for row in rows:
            sized = not all(row.is_empty(name) for name in SIZES)
            size = tuple(row.number(name) for name in SIZES) if sized else (np.nan, np.nan)
            place = tuple(row.number(name) for name in COLUMNS)
            if place in heads:
                raise FormatError(
                    f"{row.where} repeats the head of row {heads[place].position}; remove one"
                )
            heads[place] = row
            listed.append((*place, *size))
            _require_inside(listed[-1], shape, row.where)
        return Labels.of(listed)

    def notices(self) -> list[str]:
        """Nothing: the table says all."""
        return []


def _numbers(line: str, where: str) -> tuple[float, ...]:
    words = line.split()
    try:
        numbers = tuple(map(float, words))
    except ValueError as error:
        raise FormatError(
            f"{where} is not five numbers (class cx cy width height): {line.strip()[:40]!r}; "
            "export the labels as YOLO boxes"
        ) from error
    if len(numbers) != 5 or numbers[0] % 1:
        raise FormatError(
            f"{where} holds {len(numbers)} numbers and is no box (class cx cy width height); "
            "export the labels as YOLO boxes, not as outlines"
        )
    return numbers


def _require_inside(box: tuple[float, ...], shape: tuple[int, int], where: str) -> None:
    """Refuse a box, or a centre without a size, that is not in the image."""
    rows, columns = shape
    y, x, height, width = box
    for middle, size, sides in ((y, height, rows), (x, width, columns)):
        if np.isfinite(size) and size <= 0:
            raise FormatError(f"{where}: the box has no area; correct or remove the line")
        half = (size if np.isfinite(size) else 0.0) / 2
        if not -0.5 - _SLACK_PX <= middle - half <= middle + half <= sides - 0.5 + _SLACK_PX:
            what = "box reaches" if np.isfinite(size) else "centre lies"
            raise FormatError(
                f"{where}: the {what} outside the image of {rows} rows and {columns} columns; "
                "check that the labels belong to this image"
            )
