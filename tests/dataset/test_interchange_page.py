"""The page on other formats names every format there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgaf.dataset.exporters.export import FORMATS
from fgaf.dataset.importers.zstack import AXES

PAGE = (Path(__file__).parents[2] / "docs" / "interchange.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_export_is_described(kind: str) -> None:
    assert f"| `{kind}` |" in PAGE


@pytest.mark.parametrize("axis", AXES)
def test_every_axis_is_shown(axis: str) -> None:
    assert f"`{axis}=" in PAGE
