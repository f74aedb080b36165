"""Positions on the specimen where stacks are taken: a list in a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgaf.base.bounds import PositionUm, require
from fgaf.base.console import count
from fgaf.base.csv_tables import read_table
from fgaf.base.errors import FormatError, SettingError
from fgaf.base.files import publishing, reason
from fgaf.base.inputs import read_text
from fgaf.base.names import nearest, require_distinct

_NUMBERS = {"x_um": True, "y_um": True, "z_um": False}
_SHOWN = 9
_COLUMNS = (*_NUMBERS, "name")


@dataclass(frozen=True)
class Position:
    """One position of a list.

    Attributes
    ----------
    name
        Part of the file's name and of the field's; unique in its list.
    x_um, y_um
        Position of the stage, in µm.
    z_um
        Middle plane there; None for that of the plan.
    """

    name: str
    x_um: float
    y_um: float
    z_um: float | None = None

    def describe(self) -> str:
        """Format it for reading."""
        z = "" if self.z_um is None else f", z = {self.z_um:g}"
        return f"{self.name} at x = {self.x_um:g}, y = {self.y_um:g}{z} µm"


def read_positions(path: Path) -> tuple[Position, ...]:
    """Read a list of positions.

    Parameters
    ----------
    path
        A CSV file with a header line: ``x_um`` and ``y_um``, and optionally ``z_um`` (the middle
        plane there) and ``name``; unnamed positions are called p01, p02, ...

    Raises
    ------
    SettingError
        The file cannot be read, or a column, a number or a name is wrong; the message says where.
    """
    try:
        headings, rows = read_table(read_text(path))
    except OSError as error:
        raise SettingError(
            f"{path} cannot be read as a list of positions ({reason(error)}); check the name"
        ) from error
    except FormatError as error:
        raise SettingError(str(error)) from error
    except csv.Error as error:
        raise SettingError(f"{path} is not a CSV file ({error}); save it as CSV") from error
    if not rows:
        raise SettingError(
            f"{path} has no position; write a header line x_um,y_um and then one line for each "
            "position"
        )
    for heading in headings:
        if re.search(r"[;\t]", heading):
            raise SettingError(f"{path}: separate columns by commas, and write decimal points")
        if heading not in _COLUMNS:
            raise SettingError(f"{path}: unknown column {heading!r}; {nearest(heading, _COLUMNS)}")
    digits = max(2, len(str(len(rows))))
    found = tuple(
        _position(row, f"p{number:0{digits}}", f"{path}, line {number + 1}")
        for number, row in enumerate(rows, 1)
    )
    try:
        require_distinct(position.name for position in found)
    except SettingError as error:
        raise SettingError(f"{path}, positions: {error}") from error
    return found


def write_positions(path: Path, positions: Sequence[Position]) -> None:
    """Write a list that `read_positions` reads; an older file is replaced.

    Parameters
    ----------
    path
        A CSV file.
    positions
        The positions.
    """
    with publishing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, _COLUMNS)
        table.writeheader()
        for position in positions:
            z_um = "" if position.z_um is None else position.z_um
            table.writerow(vars(position) | {"z_um": z_um})


def describe_all(positions: Sequence[Position]) -> str:
    """List the positions in one line; if there are many, the first and the last."""
    shown = [position.describe() for position in positions]
    if len(shown) > _SHOWN:
        shown[3:-1] = ["..."]
    return f"{count(len(positions), 'position')}: {'; '.join(shown)}"


def _position(row: Mapping[str | None, str | None], name: str, where: str) -> Position:
    values: dict[str, float | None] = {}
    for column, needed in _NUMBERS.items():
        text = (row.get(column) or "").strip()
        if not text and not needed:
            continue
        try:
            values[column] = require(PositionUm, float(text), f"{where}: {column}")
        except ValueError:
            raise SettingError(f"{where}: {column} is {text!r}; give a number of µm") from None
    if None in row:
        raise SettingError(f"{where}: more values than columns; write decimal points, not commas")
    name = (row.get("name") or "").strip() or name
    if re.search(r"[^\w.-]", name) or name.strip(".") != name:
        raise SettingError(
            f"{where}: {name!r} is not a plain name; use letters, digits, '-' and '_'"
        )
    return Position(name, **values)  # type: ignore[arg-type]
