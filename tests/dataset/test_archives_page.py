"""The page on archives names every finding, and its code runs."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fgaf.dataset.archive import Archive, write_archive

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "archives.md").read_text(encoding="utf-8")
SOURCES = [
    *(ROOT / "dataset" / "quality").glob("validate*.py"),
    ROOT / "dataset" / "quality" / "leaks.py",
]
ROWS = re.findall(r"^\| (`[a-z`, -]+`) \| ([a-z, ]+) \|", PAGE, re.MULTILINE)
TOLD = {name: severity for names, severity in ROWS for name in re.findall(r"`([a-z-]+)`", names)}


def findings() -> set[tuple[str, str]]:
    """Name and severity of every finding that is written out in the sources."""
    calls = [
        node
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding"
    ]
    return {
        (str(name.value), str(severity.value))
        for name, severity in (call.args[:2] for call in calls)
        if isinstance(name, ast.Constant) and isinstance(severity, ast.Constant)
    }


def test_every_finding_is_in_the_table_with_its_severity() -> None:
    assert len(findings()) > 30
    assert {(n, s) for n, s in findings() if s not in TOLD.get(n, "").split(", ")} == set()


def test_the_table_names_no_other_findings() -> None:
    text = "".join(source.read_text(encoding="utf-8") for source in SOURCES)
    assert [name for name in TOLD if f'"{name}"' not in text] == []


def test_the_code_of_the_page_runs(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks, batches = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    held = replace(archive, masks=(archive.images % 3).astype(np.uint8))
    write_archive(tmp_path / "dataset.h5", held)
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(masks, found)
    np.testing.assert_array_equal(found["heads"], archive.images % 3 > 0)
    exec(batches, found)
    assert len(found["depth_um"]) == len(found["images"])  # type: ignore[arg-type]
