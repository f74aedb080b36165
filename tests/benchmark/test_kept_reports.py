"""Reports that are kept beside their tables: the page that is written again is the one kept."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fgaf.model.bench.report.pictures import as_source

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def reports() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reports", RESULTS.with_name("reports.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_report_comes_back_byte_for_byte(reports: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = [rng.integers(0, 256, (3, 8, 8), dtype=np.uint8) for _ in range(2)]
    figures = [
        '<figure class="cell">'
        + "".join(f'<img src="{as_source(plane)}" alt="µ">\n' for plane in cell)
        + "</figure>"
        for cell in (*cells, cells[0])
    ]
    html = f"<svg></svg>{''.join(figures)}<p>end</p>"
    reports.keep(html, tmp_path / "one")
    assert reports.kept(tmp_path / "one") == html
    assert len(list((tmp_path / "cells").iterdir())) == 2


@pytest.mark.parametrize(
    "page", sorted(RESULTS.glob("*/page.html.xz")), ids=lambda p: p.parent.name
)
def test_every_kept_report_is_whole(reports: ModuleType, page: Path) -> None:
    html = reports.kept(page.parent)
    assert html.endswith("</html>")
    assert f"../{reports.CELLS}/" not in html
    assert (page.parent / "results.csv").is_file()
