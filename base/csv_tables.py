"""CSV tables whose text no spreadsheet evaluates as a formula.

A spreadsheet evaluates a cell that begins with ``=``, ``+``, ``-`` or ``@``, and names of samples,
cells and files may begin with these. Such text is written with an apostrophe before it, and so is
text that would be read back differently; reading removes it. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

# With the full-width forms, which some spreadsheets in East Asia treat as equal.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def write_table(file: TextIO, headings: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a line of headings and one line for each row.

    Parameters
    ----------
    file
        Open for writing, with ``newline=""``.
    headings
        Names of the columns.
    rows
        Cells in the order of the headings; None becomes an empty cell.
    """
    writer = csv.writer(file)
    writer.writerow(headings)
    writer.writerows([_guarded(cell) for cell in row] for row in rows)


def read_table(text: str) -> tuple[list[str], list[dict[str | None, Any]]]:
    """Read a table that `write_table` or another program wrote.

    Returns
    -------
    tuple
        Headings, and for each row a dictionary from heading to text, as in `csv.DictReader`.

    Raises
    ------
    csv.Error
        It is not a table.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = [{name: _plain(cell) for name, cell in row.items()} for row in reader]
    return list(reader.fieldnames or ()), rows


def _guarded(cell: Any) -> Any:
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def _plain(cell: Any) -> Any:
    if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell):
        return cell[1:]
    return cell
