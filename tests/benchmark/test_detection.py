"""The benchmark of detection: labels, pairing, figures, pixel sizes, and the command."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fgaf.base.errors import FgafError
from fgaf.model.bench.detection.compare import paired_f1
from fgaf.model.bench.detection.curve import Curve
from fgaf.model.bench.detection.drawn import draw_fields
from fgaf.model.bench.detection.fields import Field, Fields, open_fields
from fgaf.model.bench.detection.finders import METHODS, Finds, Method
from fgaf.model.bench.detection.judge import judge, search
from fgaf.model.bench.detection.labels import Labels
from fgaf.model.bench.detection.matching import match
from fgaf.model.bench.detection.summary import headline
from fgaf.model.commands.bench_detection import bench_detection

PIXEL_UM = 0.2
SHAPE = (240, 320)
HEADS = ((60.0, 70.0), (120.0, 200.0), (180.0, 90.0))


def field(places: tuple[tuple[float, float], ...] = HEADS) -> np.ndarray:
    """Dark ovals of a head's size on an even ground, with little noise."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.full(SHAPE, 160.0)
    for y, x in places:
        square = ((rows - y) / 8.0) ** 2 + ((columns - x) / 12.0) ** 2
        image -= 50 * np.exp(-(square**4))
    return (image + np.random.default_rng(0).normal(0, 1, SHAPE)).round().astype(np.uint8)


def box(y: float, x: float, side: float = 24.0, kind: int = 0) -> str:
    """A line of a YOLO file."""
    rows, columns = SHAPE
    return f"{kind} {(x + 0.5) / columns} {(y + 0.5) / rows} {side / columns} {side / rows}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two labelled images, one of them in a folder of its own and without heads; one unlabelled."""
    place = tmp_path / "fields"
    (place / "empty").mkdir(parents=True)
    Image.fromarray(field()).save(place / "a.png")
    (place / "a.txt").write_text("".join(box(*head) for head in HEADS))
    Image.fromarray(field(())).save(place / "empty" / "b.png")
    (place / "empty" / "b.txt").write_text("")
    Image.fromarray(field()).save(place / "c.png")
    return place


def opened(*sources: Path, **options: object) -> Fields:
    return open_fields(sources, **{"head_um": 4.7, "pixel_size": f"{PIXEL_UM}"} | options)  # type: ignore[arg-type]


def test_boxes_are_read_and_images_without_a_file_are_named(folder: Path) -> None:
    fields = opened(folder)
    first, empty = fields.fields
    np.testing.assert_allclose(np.column_stack([first.labels.y, first.labels.x]), HEADS, atol=1e-9)
    np.testing.assert_allclose(first.labels.height, 24.0)
    assert len(empty.labels) == 0
    assert fields.notices == (f"no labels, skipped: {folder / 'c.png'}",)


def test_labels_may_lie_beside_the_folder_of_images(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / name / "day").mkdir(parents=True)
    Image.fromarray(field()).save(tmp_path / "images" / "day" / "a.png")
    (tmp_path / "labels" / "day" / "a.txt").write_text(box(50, 60))
    assert opened(tmp_path / "images").heads == 1


def test_classes_choose_the_heads(folder: Path) -> None:
    (folder / "a.txt").write_text(box(50, 60) + box(90, 60, kind=3))
    assert opened(folder, classes=[3]).heads == 1
    everything = opened(folder)
    assert everything.heads == 2
    assert "classes 0, 3" in everything.notices[0]


def test_a_table_of_centres_stands_for_the_boxes(folder: Path) -> None:
    table = folder / "centres.csv"
    table.write_text(
        "image,y,x,height,width\na.png,60,70,,\na.png,120,200,10,12\nempty/b.png,,,,\n"
    )
    fields = opened(folder, table=table)
    assert [len(one.labels) for one in fields.fields] == [2, 0]
    assert np.isnan(fields.fields[0].labels.height[0])
    assert fields.fields[0].labels.width[1] == 12


def test_a_colour_image_is_read_by_its_luminance(folder: Path) -> None:
    grey = field()
    Image.fromarray(np.dstack([grey, grey, grey // 2])).save(folder / "a.png")
    fields = opened(folder / "a.png")
    assert fields.fields[0].read().shape == SHAPE
    assert fields.notices == ("1 image in colour: the luminance is used",)


@dataclass(frozen=True)
class Fault:
    """A fault in the files, and what the line about it says."""

    name: str
    make: Callable[[Path], None]
    says: str
    table: str = ""


FAULTS = [
    Fault("no head", lambda f: (f / "a.txt").write_text(""), "no head is labelled in 2 fields"),
    Fault("outside", lambda f: (f / "a.txt").write_text(box(5, 60)), "box reaches outside"),
    Fault("twice", lambda f: (f / "a.txt").write_text(2 * box(50, 60)), "line 2 repeats the box"),
    Fault("outline", lambda f: (f / "a.txt").write_text("0 .1 .1 .2 .1 .2 .2"), "7 numbers"),
    Fault("words", lambda f: (f / "a.txt").write_text("head .1 .1 .2 .1"), "not five numbers"),
    Fault("flat", lambda f: (f / "a.txt").write_text("0 .5 .5 0 .1"), "has no area"),
    Fault("damaged", lambda f: (f / "a.png").write_bytes(b"\x89PNG"), "damaged or not an image"),
    Fault(
        "nothing", lambda f: [p.unlink() for p in f.rglob("*.txt")], "none of 3 images has labels"
    ),
    Fault("absent", lambda _: None, "'z.png', which is not among", "image,y,x\nz.png,1,2\n"),
    Fault("column", lambda _: None, "has no column y", "image,x\na.png,1\n"),
    Fault("cell", lambda _: None, "row 2: y is 'one'", "image,y,x\na.png,one,2\n"),
    Fault("far", lambda _: None, "centre lies outside", "image,y,x\na.png,500,2\n"),
    Fault("again", lambda _: None, "row 3 repeats", "image,y,x\na.png,5,2\na.png,5,2\n"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_wrong_input_is_told_in_one_line(folder: Path, fault: Fault) -> None:
    fault.make(folder)
    table = folder / "labels.csv" if fault.table else None
    if table is not None:
        table.write_text(fault.table)
    with pytest.raises(FgafError) as error:
        opened(folder, table=table)
    assert fault.says in str(error.value)
    assert "\n" not in str(error.value)


def test_pixel_sizes_come_from_boxes_or_from_a_table(folder: Path) -> None:
    guessed = opened(folder, pixel_size="auto", box_per_head=1.2)
    assert guessed.fields[0].pixel_size_um == pytest.approx(1.2 * 4.7 / 24)
    table = folder / "sizes.csv"
    table.write_text("image,pixel_size_um\na.png,0.3\nb.png,0.25\nother.png,1\n")
    assert [one.pixel_size_um for one in opened(folder, pixel_size=str(table)).fields] == [
        0.3,
        0.25,
    ]
    with pytest.raises(FgafError, match="does not say its pixel size"):
        opened(folder, pixel_size=None)
    (folder / "a.txt").write_text("")
    with pytest.raises(FgafError, match="cannot be guessed"):
        opened(folder, pixel_size="auto")


def finds(*rows: tuple[float, float, float]) -> Finds:
    y, x, score = np.array(rows, np.float64).T
    return Finds.best_first(y, x, score)


def labels(*rows: tuple[float, float], side: float = np.nan, counts: bool = True) -> Labels:
    made = Labels.of([(y, x, side, side) for y, x in rows])
    return Labels(made.y, made.x, made.height, made.width, np.full(len(made), counts))


@dataclass(frozen=True)
class Pairing:
    name: str
    finds: Finds
    labels: Labels
    expected: list[int]


PAIRINGS = [
    Pairing("within reach", finds((0, 9, 0.9), (0, 11, 0.8)), labels((0, 0)), [0, -1]),
    Pairing("in the box", finds((0, 14, 0.9)), labels((0, 0), side=30), [0]),
    Pairing("second find of a head", finds((0, 1, 0.9), (0, 2, 0.8)), labels((0, 0)), [0, -1]),
    Pairing("nearest first", finds((0, 6, 0.9)), labels((0, 0), (0, 10)), [1]),
    # The first find is nearest to label 1, the only one that the second can have.
    Pairing("moves over", finds((0, 6, 0.9), (0, 15, 0.8)), labels((0, 0), (0, 10)), [0, 1]),
]


@pytest.mark.parametrize("case", PAIRINGS, ids=lambda case: case.name)
def test_finds_and_labels_are_paired_one_to_one(case: Pairing) -> None:
    assert match(case.finds, case.labels, 10).label.tolist() == case.expected


def test_a_find_on_a_head_that_does_not_count_is_neither_right_nor_false() -> None:
    found = match(finds((0, 0, 0.9), (50, 50, 0.8)), labels((0, 1), counts=False), 10)
    assert not found.right.any()
    assert found.neither.tolist() == [True, False]


def test_a_curve_counts_equal_scores_together() -> None:
    curve = Curve.of(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, True]), 4)
    np.testing.assert_allclose(curve.score, [0.9, 0.5, 0.1])
    np.testing.assert_allclose(curve.recall, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(curve.precision, [1, 2 / 3, 0.75])
    assert curve.average_precision == pytest.approx(0.25 + 0.25 * 0.75 + 0.25 * 0.75)
    assert curve.best_score == 0.1


def test_figures_at_a_score_and_by_group() -> None:
    """Three fields; the second lacks a head, the third has a false find."""
    answers = iter(
        [
            finds((60, 73, 0.9), (120, 200, 0.8), (180, 94, 0.7)),
            finds((60, 70, 0.9), (120, 200, 0.6), (180, 90, 0.2)),
            finds((60, 70, 0.9), (10, 10, 0.8)),
        ]
    )
    image = field()
    fields = Fields(
        tuple(
            Field(f"{k}", group, PIXEL_UM, labels(*HEADS[:heads]), lambda: image)
            for k, (group, heads) in enumerate((("a", 3), ("a", 3), ("b", 1)))
        ),
        "given",
    )
    method = Method("fixed", "Fixed", lambda *_: next(answers), default_score=True)
    row = judge(fields, [method], search(fields, [method], 4.7), 4.7, 0.5)["methods"][0]
    assert (row["right"], row["finds"], row["heads"]) == (6, 7, 7)
    assert row["recall"]["value"] == pytest.approx(6 / 7)
    assert 2 / 3 <= row["recall"]["low"] < 6 / 7 < row["recall"]["high"] <= 1
    assert row["centre_error"]["p90_px"] == pytest.approx(3.5)
    assert row["centre_error"]["p90_um"] == pytest.approx(0.7)
    assert {group["name"]: group["precision"]["value"] for group in row["groups"]} == {
        "a": 1.0,
        "b": 0.5,
    }


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_dark_heads(name: str) -> None:
    found = METHODS[name].find(field(), PIXEL_UM, 4.7)
    best = found.take(slice(3))
    outcome = match(best, labels(*HEADS), 4.0)
    assert sorted(outcome.label.tolist()) == [0, 1, 2]
    assert len(METHODS[name].find(np.full(SHAPE, 160, np.uint8), PIXEL_UM, 4.7)) == 0


def test_simulated_fields_count_heads_near_the_plane_only() -> None:
    one, again = (
        draw_fields(1, 5, shape=(200, 260), cells=12, depth_spread_um=8.0).fields[0]
        for _ in range(2)
    )
    assert 0 < one.labels.counts.sum() < len(one.labels)
    np.testing.assert_array_equal(one.read(), again.read())
    assert (one.labels.long_side * one.pixel_size_um < 12).all()
    assert len(one.labels.long_side) == len(one.labels)


def counts(*fields: tuple[int, int, int]) -> np.ndarray:
    return np.array(fields, np.float64)


def test_methods_are_compared_by_exchanging_them_in_whole_fields() -> None:
    good, poor = counts(*[(9, 9, 10)] * 8), counts(*[(5, 9, 10)] * 8)
    found = paired_f1(poor, good)
    assert found["value"] == pytest.approx(10 / 19 - 18 / 19)
    assert found["p"] == pytest.approx(2 / 2**8)
    assert paired_f1(good, good) == {"value": 0.0, "p": 1.0}
    assert paired_f1(poor[:1], good[:1])["p"] is None


@dataclass(frozen=True)
class Headline:
    """F1 of each method, the corrected p of all that are not the best, and what is said."""

    name: str
    f1: tuple[float, ...]
    p: float | None
    said: str


REACHED = (
    "70 % of 10 heads found in 3 fields, 90 % of the finds are heads; F1 {} at score 0.65, at best "
    "0.95 at 0.60"
)
HEADLINES = [
    Headline("alone", (0.9,), None, f"M0: {REACHED.format('0.90')}."),
    Headline(
        "best",
        (0.9, 0.5, 0.7),
        0.01,
        f"M0 is the best of 3 methods: {REACHED.format('0.90')}; the next, M2 (F1 0.70), is "
        "significantly worse.",
    ),
    Headline(
        "best by chance",
        (0.9, 0.8),
        None,
        f"M0 is the best of 2 methods: {REACHED.format('0.90')}; the next, M1 (F1 0.80), is not "
        "significantly worse.",
    ),
    Headline(
        "beaten",
        (0.6, 0.5, 0.7),
        0.01,
        f"M0 is not the best of 3 methods: {REACHED.format('0.60')}, significantly worse than M2 "
        "(F1 0.70).",
    ),
]


@pytest.mark.parametrize("case", HEADLINES, ids=lambda case: case.name)
def test_the_headline_names_the_best_of_all_methods(case: Headline) -> None:
    def rate(value: float) -> dict[str, float | None]:
        return {"value": value, "low": None, "high": None}

    methods = [
        {
            "label": f"M{k}",
            "recall": rate(0.7),
            "precision": rate(0.9),
            "f1": rate(f1),
            "score": 0.65,
            "best": {"f1": 0.95, "score": 0.6},
            "against_best": None if f1 == max(case.f1) else {"p_holm": case.p},
        }
        for k, f1 in enumerate(case.f1)
    ]
    assert headline({"methods": methods, "fields": 3, "heads": 10}) == case.said


def run(*words: object) -> subprocess.CompletedProcess[str]:
    code = "from fgaf.model.commands.bench_detection import bench_detection as run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )


def test_the_command_writes_a_page_figures_and_finds(folder: Path, tmp_path: Path) -> None:
    (folder / "a.txt").write_text(box(*HEADS[0]) + box(*HEADS[1]) + box(30, 280))
    out = tmp_path / "out"
    done = run(folder, "--pixel-size", PIXEL_UM, "--methods", "log,threshold", "--out", out)
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["methods"][0]["recall"]["value"] == pytest.approx(2 / 3)
    rows = (out / "finds.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "image,y,x,score,outcome"
    assert [row.rpartition(",")[2] for row in rows].count("missed") == 1
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count('class="label"') >= 1
    again = run(folder, "--pixel-size", PIXEL_UM, "--out", out)
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name images or a folder"),
        (("x", "--simulated", "2"), "not both"),
        (("--simulated", "0"), "out of bounds"),
        (("--simulated", "2", "--pixel-size", "auto"), "belong to images"),
        (("nowhere",), "nowhere does not exist"),
        (("nowhere", "--methods", "logs"), "did you mean log?"),
    ],
)
def test_wrong_options_are_told_in_one_line(words: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(bench_detection, words)
    assert done.exit_code != 0
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
