"""Both reports as a browser shows them: on phone and desktop, light and dark."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

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
from tests.browser import Browser

pytestmark = pytest.mark.long

LONG = "a-name-" * 12


def depth_report(texture_archive: Callable[..., Archive], out: Path) -> None:
    """The report of a network and of searches, with a long name."""
    network = {
        "backbone": "shufflenet_v2_x0_5",
        "epochs": 1,
        "width": 8,
        "tta": False,
        "threads": 1,
    }
    methods: list[dict[str, object]] = [
        {"id": name, "kind": "focus", "measure": name, "label": f"Focus measure called {name}"}
        for name in ("tenengrad", "laplacian", "brenner")
    ]
    methods.append({"id": "fgaf", "kind": "classifier", "settings": network})
    preset = Preset.model_validate(
        {"name": "p", "reference": "brenner", "methods": methods, "pairs": {"brenner": "tenengrad"}}
    )
    run_benchmark(texture_archive(cells=10, name=LONG, label_shift_um=0.5), preset, out)


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
def report(
    request: pytest.FixtureRequest, texture_archive: Callable[..., Archive], tmp_path_factory
) -> Path:
    """A report, as it is written."""
    out = tmp_path_factory.mktemp("page") / "out"
    request.param(texture_archive, out)
    return out / "report.html"


@pytest.fixture
def page(report: Path, browser: Browser) -> Browser:
    """A browser that shows it with all its parts open."""
    browser.visit(report.as_uri())
    browser.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    return browser


@pytest.mark.parametrize(
    ("width", "dark"),
    [
        pytest.param(390, False, id="phone-light"),
        pytest.param(1440, True, id="desktop-dark"),
        pytest.param(390, True, id="phone-dark", marks=pytest.mark.slow),
        pytest.param(1440, False, id="desktop-light", marks=pytest.mark.slow),
    ],
)
def test_the_page_fits_the_screen_and_is_accessible(page: Browser, width: int, dark: bool) -> None:
    page.screen(width, dark=dark)
    assert page.run("return document.documentElement.scrollWidth") == width
    assert page.wide() == []
    assert page.accessibility_faults() == []
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(19, 23, 26)") is dark


TABLES = """return [...document.querySelectorAll('.scroll')].map(box => {
  const place = e => e.getBoundingClientRect();
  const figure = place(box.querySelector('tbody td'));
  box.scrollLeft = 10000;
  return {
    scrolls: box.scrollLeft > 0,
    shown: figure.right <= place(box).right + 1,
    kept: [...box.querySelectorAll('tbody th, thead tr:first-child th:first-child')]
      .every(name => Math.abs(place(name).left - place(box).left) < 1),
  };
})"""
"""Of every table: whether it scrolls, shows the figure that matters, keeps the names in view."""


def test_on_a_phone_tables_scroll_beside_their_names(page: Browser) -> None:
    page.screen(390)
    tables = page.run(TABLES)
    assert any(table["scrolls"] for table in tables)
    assert all(table["shown"] and table["kept"] for table in tables)
    assert page.small_targets() == []
    heads = page.run(
        "return [...document.querySelectorAll('#methods thead th')].map(e => e.innerText)"
    )
    assert heads[1].split()[0] in ("Mean", "F1")


def test_the_page_runs_and_fetches_nothing(report: Path, page: Browser) -> None:
    assert "<script" not in report.read_text(encoding="utf-8")
    fetched = "performance.getEntriesByType('resource').map(e => e.name.slice(0, 5))"
    assert set(page.run(f"return {fetched}")) <= {"data:"}
