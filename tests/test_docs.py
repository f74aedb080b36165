"""The documentation names files that exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
DOCS = HERE / "docs"
SITE = runpy.run_path(str(HERE / "tools" / "docs_site.py"))


def missing(paths: set[str]) -> set[str]:
    return {path for path in paths if not (HERE / path).exists()}


def test_the_table_of_features_names_files() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \|$", page, re.MULTILINE)
    assert len(rows) >= 20
    assert not missing(set(rows))


def test_the_architecture_page_names_every_sub_package() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = re.split(r"^## (\w+)$", page, flags=re.MULTILINE)
    told = dict(zip(rooms[1::2], rooms[2::2], strict=True))
    for room in ("dataset", "acquire", "curate", "model"):
        packages = {path.parent.name for path in (HERE / room).glob("*/__init__.py")}
        assert set(re.findall(r"^- \*\*(\w+)\*\*", told[room], re.MULTILINE)) == packages


def test_the_navigation_names_every_page_once() -> None:
    nav = (HERE / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"(\S+\.md)$", nav, re.MULTILINE)
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(named) == sorted(pages | set(SITE["PAGES"].values()))
    assert not missing(set(SITE["PAGES"]))


def test_the_page_on_benchmarks_names_every_preset() -> None:
    page = (DOCS / "benchmark.md").read_text(encoding="utf-8")
    presets = {path.stem for path in (HERE / "model" / "bench" / "presets").glob("*.toml")}
    assert set(re.findall(r"^\| `(\w+)` \| .* \| \d+ \|$", page, re.MULTILINE)) == presets


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as mkdocs makes them."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    headings = re.findall(r"^#+ (.+?)$", text, re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", each) for each in words}


@pytest.mark.parametrize(
    "page",
    [HERE / "README.md", HERE / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))],
    ids=lambda path: path.stem,
)
def test_links_name_headings_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", page.read_text(encoding="utf-8"))
    for path, anchor in links:
        named = page.parent / path if path else page
        if named.suffix == ".md":
            assert anchor in anchors(named), f"{path}#{anchor}"


def test_the_steps_for_contributors_name_files() -> None:
    page = (HERE / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:\w+/)+[\w.]+\.\w+)`", page)
    assert len(paths) > 20
    assert not missing({path for path in paths if "NAME" not in path})


RECORDS = sorted((DOCS / "decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_decision_is_short_and_listed(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 30
    assert [line for line in lines if line.startswith("## ")] == [
        "## Context",
        "## Decision",
        "## Consequences",
    ]
    assert lines[0].startswith(f"# {path.name[:4]}: ")
    listed = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    assert f"[{lines[0][8:]}]({path.name})" in listed
