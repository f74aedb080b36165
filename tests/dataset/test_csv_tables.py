"""Tables of names that a spreadsheet would compute, and their way back."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from click.testing import CliRunner

from fgaf.base.csv_tables import read_table, write_table
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.commands.main import main
from fgaf.dataset.importers.exported import import_export

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"]


def written(*cells: object) -> str:
    file = io.StringIO(newline="")
    write_table(file, ["a"], [[cell] for cell in cells])
    return file.getvalue()


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_text_is_computed(text: str) -> None:
    _, row = csv.reader(io.StringIO(written(text), newline=""))
    assert row == [f"'{text}"]


@pytest.mark.parametrize("number", [-1.5, 3, "-1.5", "+2", "-0.5e-07", float("-inf")])
def test_numbers_stay_numbers(number: object) -> None:
    assert written(number) == f"a\r\n{number}\r\n"


def test_text_comes_back_as_it_was() -> None:
    texts = [*FORMULAS, "", "plain", "'quoted", "'=1", "''=1", "'", "a=b", 'a"b,c', "-1.5"]
    headings, rows = read_table(written(*texts))
    assert headings == ["a"]
    assert [row["a"] for row in rows] == texts


def test_an_export_is_safe_and_comes_back(archive: Archive, tmp_path: Path) -> None:
    archive.cells.sample_id[:] = '=HYPERLINK("http://x")'
    archive.cells.id[0] = "@cell"
    source, out = tmp_path / "a.h5", tmp_path / "out"
    write_archive(source, archive)
    words = ["export", str(source), "--to", "imagefolder", "--out", str(out)]
    assert CliRunner().invoke(main, words).exit_code == 0
    with (out / "metadata.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+@" and cell]
    assert "'@cell" in cells
    assert import_export(out).fingerprint == archive.fingerprint
    assert import_export(out).cells.sample_id.tolist() == archive.cells.sample_id.tolist()
