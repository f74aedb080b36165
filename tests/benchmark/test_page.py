"""The report as a browser shows it: nothing sticks out of a phone, nothing is fetched."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from fgaf.dataset.archive import Archive
from fgaf.model.bench.benchmark import run_benchmark
from fgaf.model.bench.detection.fields import Field, Fields
from fgaf.model.bench.detection.finders import Finds, Method
from fgaf.model.bench.detection.judge import judge, search
from fgaf.model.bench.detection.labels import Labels
from fgaf.model.bench.detection.outputs import write
from fgaf.model.bench.preset import Preset

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

MEASURE = """<script>
addEventListener("load", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const wide = [...document.querySelectorAll("body *")]
    .filter(e => !e.closest(".scroll") && e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.tagName + "." + e.className);
  document.title = JSON.stringify({
    width: innerWidth,
    page: document.documentElement.scrollWidth,
    wide: wide,
    fetched: performance.getEntriesByType("resource").map(e => e.name.slice(0, 40))
      .filter(name => !name.startsWith("data:")),
    scrolling: [...document.querySelectorAll(".scroll")]
      .filter(e => e.scrollWidth > e.clientWidth).length,
  });
});
</script>"""
"""Added by the test; the report itself runs no scripts."""


@dataclass(frozen=True)
class Screen:
    name: str
    width: int
    scrolls: bool


SCREENS = [Screen("phone", 390, True), Screen("desktop", 1280, False)]


LONG = "a-name-" * 12


def depth_report(texture_archive: Callable[..., Archive], out: Path) -> None:
    """The report of searches, with a long name."""
    methods = [
        {"id": name, "kind": "focus", "measure": name, "label": f"Focus measure called {name}"}
        for name in ("tenengrad", "laplacian", "brenner")
    ]
    preset = Preset.model_validate(
        {"name": "p", "reference": "brenner", "methods": methods, "pairs": {"brenner": "tenengrad"}}
    )
    run_benchmark(texture_archive(name=LONG, label_shift_um=0.5), preset, out)


def _fixed(places: np.ndarray, *_: object) -> Finds:
    return Finds(places, places, places[::-1] / 100)


def detection_report(_: Callable[..., Archive], out: Path) -> None:
    """The report of two methods on noise, each with misses and false finds, in two folders."""
    rng = np.random.default_rng(0)
    images = rng.integers(120, 136, (2, 80, 90), np.uint8)
    fields = Fields(
        tuple(
            Field(
                f"{LONG}{k}", f"{LONG}{k}", 0.3, Labels.of([(40, 40, 9, 9)]), lambda k=k: images[k]
            )
            for k in range(2)
        ),
        "given",
    )
    methods = [
        Method(name, f"Method {name}", partial(_fixed, np.array(places)))
        for name, places in (("near", (10.0, 40.0, 60.0)), ("far", (30.0, 50.0, 70.0)))
    ]
    found = search(fields, methods, 4.7)
    write(out, judge(fields, methods, found, 4.7, 0.5), found["near"], overwrite=False)


@pytest.fixture(scope="module", params=[depth_report, detection_report])
def page(
    request: pytest.FixtureRequest, texture_archive: Callable[..., Archive], tmp_path_factory
) -> Path:
    """A report as a file that measures itself."""
    out = tmp_path_factory.mktemp("page") / "out"
    request.param(texture_archive, out)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in report
    path = out / "measured.html"
    path.write_text(report.replace("</head>", f"{MEASURE}</head>"), encoding="utf-8")
    return path


FRAME = """<!doctype html><title></title><iframe src="/report"
style="position:absolute;left:0;top:0;border:0;width:{width}px;height:2000px"
onload="document.title = this.contentDocument.title"></iframe>"""
"""Windows cannot be as narrow as a phone."""


class Site(HTTPServer):
    """Serves the report, and a page that shows it in a frame; remembers what was asked for."""

    def __init__(self, report: Path, width: int) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.pages = {"/": FRAME.format(width=width).encode(), "/report": report.read_bytes()}
        self.asked: set[str] = set()


class Answer(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.add(self.path)
        body = self.server.pages.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@needs_chromium
@pytest.mark.parametrize("case", SCREENS, ids=lambda case: case.name)
def test_the_report_fits_the_screen_and_fetches_nothing(
    page: Path, tmp_path: Path, case: Screen
) -> None:
    assert CHROMIUM is not None
    with Site(page, case.width) as site:
        Thread(target=site.serve_forever, daemon=True).start()
        command = [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1400,2000",
            "--dump-dom",
            f"http://127.0.0.1:{site.server_port}/",
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        site.shutdown()
    title = re.search(r"<title>(.*?)</title>", done.stdout, flags=re.DOTALL)
    assert title is not None
    found = json.loads(html.unescape(title.group(1)))
    assert found["width"] == case.width
    assert found["page"] <= case.width
    assert found["wide"] == []
    assert found["fetched"] == []
    assert site.asked <= {"/", "/report", "/favicon.ico"}
    assert (found["scrolling"] > 0) is case.scrolls
