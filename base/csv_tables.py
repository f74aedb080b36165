"""CSV tables that no spreadsheet takes for programs.

A spreadsheet computes a cell that begins with ``=``, ``+``, ``-`` or ``@``, and names of samples,
cells and files may begin so. Such text is written with an apostrophe before it, as is text that
would come back as another one otherwise; reading takes it away. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

# With the wide forms, which some spreadsheets in East Asia take for the same.
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
        Cells in their order; None is left empty.
    """
    writer = csv.writer(file)
    writer.writerow(headings)
    writer.writerows([_guarded(cell) for cell in row] for row in rows)


def read_table(text: str) -> tuple[list[str], list[dict[str | None, Any]]]:
    """Read what `write_table` wrote, or another program.

    Returns
    -------
    tuple
        Headings, and for each row heading to text, as `csv.DictReader` has it.

    Raises
    ------
    csv.Error
        No table.
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
