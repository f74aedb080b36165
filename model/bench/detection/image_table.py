"""CSV tables with a column `image`: their rows, by image."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgaf.base.csv_tables import read_table
from fgaf.base.errors import FormatError
from fgaf.base.inputs import read_text


@dataclass(frozen=True)
class Row:
    """A row of a table: the table, its number (the headings are 1), and its cells by column."""

    table: Path
    position: int
    cells: dict[str | None, Any]

    @property
    def where(self) -> str:
        """The table and the row, for errors."""
        return f"{self.table}, row {self.position}"

    def is_empty(self, name: str) -> bool:
        """Whether a cell is empty or missing."""
        return not (self.cells.get(name) or "").strip()

    def number(self, name: str) -> float:
        """Read a cell as a number.

        Raises
        ------
        FormatError
            It is no finite number.
        """
        text = (self.cells.get(name) or "").strip()
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not abs(value) < float("inf"):
            raise FormatError(f"{self.where}: {name} is {text!r} and no number; correct it")
        return value


def rows_by_image(
    table: Path, images: Iterable[Path], columns: Collection[str], whole: bool
) -> dict[Path, list[Row]]:
    """Read a table whose column `image` names images, and sort its rows by image.

    A name may be a path from the table's folder or from this one, or the end of a path:
    ``a/1.png`` is the image ``/data/a/1.png``.

    Parameters
    ----------
    table
        The CSV file.
    images
        Those that may be named.
    columns
        Columns that the table must have beside `image`.
    whole
        Whether every row must name one of the images; else other rows are left out.

    Raises
    ------
    FormatError
        It is no table, lacks a column, or a name fits no image or several.
    """
    try:
        headings, rows = read_table(read_text(table))
    except csv.Error as error:
        raise FormatError(f"{table} is no CSV table ({error}); save it again") from error
    absent = [name for name in ("image", *columns) if name not in headings]
    if absent:
        raise FormatError(
            f"{table} has no column {' and '.join(absent)}; its first line must name the columns "
            f"{', '.join(('image', *columns))}"
        )
    known: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        known[image.name].append(image)
    found: dict[Path, list[Row]] = defaultdict(list)
    for number, cells in enumerate(rows, start=2):
        row = Row(table, number, cells)
        named = _named(row, known)
        if named is not None:
            found[named].append(row)
        elif whole:
            raise FormatError(
                f"{row.where} names {cells['image']!r}, which is not among the images; "
                "correct the name, or name the image's folder too"
            )
    return dict(found)


def _named(row: Row, known: dict[str, list[Path]]) -> Path | None:
    name = Path((row.cells["image"] or "").strip())
    fitting = known.get(name.name, [])
    places = {(row.table.parent / name).resolve(), name.resolve()}
    if exact := [image for image in fitting if image.resolve() in places]:
        return exact[0]
    ending = [image for image in fitting if _ends(image, name)]
    if len(ending) > 1:
        raise FormatError(
            f"{row.where} names {str(name)!r}, which fits {ending[0]} and {ending[1]}; "
            "write more of the path"
        )
    return ending[0] if ending else None


def _ends(image: Path, name: Path) -> bool:
    parts = name.parts
    return image.resolve().parts[-len(parts) :] == parts
