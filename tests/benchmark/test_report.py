import json
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fgaf.dataset.archive import Archive
from fgaf.model.bench.benchmark import run_benchmark
from fgaf.model.bench.preset import Preset
from fgaf.model.bench.report.figures import signed
from fgaf.model.bench.report.page import difference, number
from fgaf.model.bench.report.report import TABLE, render_report

SPITE = "<script>alert('x')</script> & \"$\\frac$\""


def preset(label: str = "Tenengrad") -> Preset:
    measures = [
        {"id": "tenengrad", "kind": "focus", "measure": "tenengrad", "label": label},
        {"id": "entropy", "kind": "focus", "measure": "entropy", "label": "Entropy"},
        {"id": "phase", "kind": "focus", "rule": "phase", "label": "Phase-object rule"},
        {"id": "constant", "kind": "constant", "label": "Constant"},
    ]
    return Preset.model_validate({"name": "search", "reference": "constant", "methods": measures})


@dataclass
class Page(HTMLParser):
    """What a test asks of a page: its tags, its references and the cells of its tables."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    cell: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.cell = True

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.tables[-1][-1][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def parse(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


@dataclass(frozen=True)
class Report:
    html: str
    page: Page
    results: dict
    archive: Archive


@pytest.fixture(scope="module")
def report(texture_archive: Callable[..., Archive], tmp_path_factory) -> Report:
    archive = texture_archive(label_shift_um=0.5, name=SPITE)
    out = tmp_path_factory.mktemp("secret-folder") / "out"
    results = run_benchmark(archive, preset(SPITE), out)
    html = (out / "report.html").read_text(encoding="utf-8")
    return Report(html, parse(html), results, archive)


def test_nothing_outside_is_referred_to(report: Report) -> None:
    for tag, attrs in report.page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for key in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert (attrs.get(key) or "#").startswith(("#", "data:image/png;base64,"))
    for text in re.findall(r"url\(([^)]*)\)", report.html):
        assert text.startswith("#")
    assert "@import" not in report.html
    assert "http" not in report.html


def test_every_picture_says_what_it_shows(report: Report) -> None:
    drawings = report.page.attributes("svg")
    pictures = report.page.attributes("img")
    assert len(drawings) == 8
    assert pictures
    for attrs in drawings:
        assert attrs["role"] == "img"
        assert len(attrs["aria-label"] or "") > 20
    for attrs in pictures:
        assert re.search(r"at .+ µm, answer .+ µm", attrs["alt"] or "")


def test_the_table_holds_the_numbers_of_the_results(report: Report) -> None:
    _, *lines = report.page.tables[0]
    for line, row in zip(lines, report.results["methods"], strict=True):
        seen = " all planes" if row["sees"] == "stack" else ""
        assert line[0].strip() == f"{row['label']}{seen}"
        for cell, (key, _heading, _unit, factor, decimals) in zip(line[1:], TABLE, strict=True):
            metric = {end: number(factor * v, decimals) for end, v in row["metrics"][key].items()}
            expected = f"{metric['value']} {metric['low']} to {metric['high']}"
            assert cell.split() == expected.split()


def test_differences_and_label_errors_are_in_tables(report: Report) -> None:
    texts = [" ".join(" ".join(line).split()) for table in report.page.tables for line in table]
    row = report.results["methods"][0]
    against = row["against_reference"]["mae_um"]
    shown = f"{difference(against['value'], 3)} {difference(against['low'], 3)} to"
    assert any(text.startswith(row["label"]) and shown in text for text in texts)
    error = report.results["label_error"]["test"]
    assert f"test ({error['patches']}) 0.50 0.50 +0.50 88.9" in texts


def test_what_a_person_wrote_is_escaped(report: Report) -> None:
    assert "<script" not in report.html
    assert "&lt;script&gt;" in report.html


def test_neither_host_nor_folders_are_given_away(report: Report) -> None:
    assert "secret-folder" not in report.html
    assert platform.node() not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", report.html)
    text = json.dumps(report.results)
    assert platform.node() not in text
    assert "secret-folder" not in text


def test_the_page_fits_phones_and_both_colour_schemes(report: Report) -> None:
    names = {attrs.get("name"): attrs.get("content") for attrs in report.page.attributes("meta")}
    assert names["viewport"] == "width=device-width, initial-scale=1"
    assert names["color-scheme"] == "light dark"
    assert "prefers-color-scheme: dark" in report.html
    assert "@media print" in report.html
    drawings = "".join(re.findall(r"<svg.*?</svg>", report.html, flags=re.DOTALL))
    assert "var(--accent)" in drawings
    assert re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", drawings) == []


def test_colours_have_a_value_in_every_scheme(report: Report) -> None:
    style = report.html[report.html.index("<style>") : report.html.index("</style>")]
    for name in set(re.findall(r"var\(--([a-z-]+)\)", report.html)):
        assert style.count(f"--{name}:") >= 3, name


def test_one_test_cell_has_no_intervals(texture_archive, tmp_path: Path) -> None:
    sides = np.array([0, 0, 0, 2], np.int8)
    archive = replace(texture_archive(cells=4, truth=False), splits={"default": sides})
    results = run_benchmark(archive, preset(), tmp_path / "out")
    assert results["methods"][0]["metrics"]["mae_um"]["low"] is None
    html = render_report(results, archive)
    parse(html)
    assert "Only 1 test cell:" in html
    assert "None" not in html


def test_a_report_is_made_again_from_results_json(report: Report) -> None:
    results = json.loads(json.dumps(report.results))
    assert render_report(results, report.archive) == report.html


@dataclass(frozen=True)
class Written:
    value: float
    number: str
    difference: str
    signed: str


WRITTEN = [
    Written(0.0, "0.00", "0.00", "0"),
    Written(-0.001, "0.00", "0.00", "0"),
    Written(-1.5, "−1.50", "−1.50", "−1.5"),
    Written(0.256, "0.26", "+0.26", "+0.26"),
]


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: str(case.value))
def test_numbers_are_written_with_true_signs(case: Written) -> None:
    assert number(case.value, 2) == case.number
    assert difference(case.value, 2) == case.difference
    assert signed(case.value) == case.signed
