"""The benchmark of segmentation: methods, differences, whole fields, and the command."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.bench.detection.fields import open_fields
from fgaf.model.bench.segmentation.judge import differences, moved
from fgaf.model.bench.segmentation.methods import Method, ellipses, local, otsu
from fgaf.model.bench.segmentation.whole_fields import in_tiles, judge_fields
from fgaf.model.commands.bench_heads import bench_heads
from fgaf.model.metrics.heads import compare
from tests.model.conftest import tiny_archive

PIXEL_UM = 0.1465
QUICK = ("--epochs", "12", "--set", "batch=10", "--set", "shift_px=2", "--set", "threads=1")
HEADS = ((60.0, 70.0), (130.0, 200.0), (180.0, 90.0))


def field() -> np.ndarray:
    """Dark ovals of a head's size on an even ground, with little noise."""
    rows, columns = np.mgrid[:240, :320]
    image = np.full((240, 320), 160.0)
    for y, x in HEADS:
        square = ((rows - y) / 10.0) ** 2 + ((columns - x) / 16.0) ** 2
        image -= 50 * np.exp(-(square**4))
    return (image + np.random.default_rng(0).normal(0, 1, image.shape)).round().astype(np.uint8)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder with one field and its centres."""
    Image.fromarray(field()).save(tmp_path / "a.png")
    lines = "".join(f"a.png,{y},{x}\n" for y, x in HEADS)
    (tmp_path / "centres.csv").write_text(f"image,y,x\n{lines}")
    return tmp_path


def call(*words: object) -> Result:
    return CliRunner().invoke(bench_heads, [str(word) for word in words])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive and a finished benchmark of it."""
    folder = tmp_path_factory.mktemp("bench")
    archive = replace(tiny_archive(masks=True), fingerprint="")
    write_archive(folder / "tiny.h5", archive)
    done = call(
        folder / "tiny.h5",
        "--methods",
        "unext_s,finder,otsu,local",
        *QUICK,
        "--out",
        folder / "out",
    )
    assert done.exit_code == 0, done.output
    return folder


def test_the_figures_are_those_of_the_training(place: Path) -> None:
    """On the same test cells the benchmark and the training judge a network alike."""
    results = json.loads((place / "out" / "results.json").read_text())
    metrics = json.loads((place / "out" / "models" / "unext_s" / "metrics.json").read_text())
    first = results["methods"][0]
    assert first["metrics"]["iou"] == pytest.approx(metrics["iou"])
    assert first["metrics"]["intervals"]["recall"] == metrics["intervals"]["recall"]
    assert (results["epochs"], first["chosen_epoch"]) == (12, metrics["epochs"])
    assert first["parameters"] == metrics["parameters"]
    assert results["least_px"] == metrics["least_px"]
    assert [row["id"] for row in results["methods"]] == ["unext_s", "finder", "otsu", "local"]
    assert all(row["latency_ms"] > 0 for row in results["methods"])
    otsu_row = results["methods"][2]
    assert otsu_row["against_reference"]["iou"]["value"] == pytest.approx(
        otsu_row["metrics"]["iou"] - first["metrics"]["iou"]
    )


def test_the_table_has_a_line_for_each_distance(place: Path) -> None:
    with (place / "out" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["distance_um"] for row in rows] == ["", "0.0", "0.5", "1.0"] * 4
    for k in range(0, len(rows), 4):
        assert int(rows[k]["patches"]) == sum(int(row["patches"]) for row in rows[k + 1 : k + 4])


def test_the_report_has_all_inside(place: Path) -> None:
    page = unescape((place / "out" / "report.html").read_text(encoding="utf-8"))
    results = json.loads((place / "out" / "results.json").read_text())
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", page)
    rows = re.findall(r'<th scope="row">([^<]*)</th>\s*<td>([^ <]*)', page)
    shown = [(row["label"], f"{row['metrics']['iou']:.3f}") for row in results["methods"]]
    assert rows[:4] == shown


def test_finished_networks_are_used_again(place: Path) -> None:
    """Here by the same command; a trained run gives the same figures in another folder."""
    before = json.loads((place / "out" / "results.json").read_text())
    run = place / "out" / "models" / "unext_s"
    history = (run / "history.csv").stat().st_mtime_ns
    assert (
        call(place / "tiny.h5", "--methods", "unext_s", *QUICK, "--out", place / "out").exit_code
        == 0
    )
    assert (run / "history.csv").stat().st_mtime_ns == history
    other = call(
        *(place / "tiny.h5", "--methods", "otsu", "--trained", run),
        *("--out", place / "other", "--json"),
    )
    assert other.exit_code == 0, other.output
    after = json.loads(other.stdout)["methods"]
    assert [row["id"] for row in after] == ["otsu", "unext_s"]
    assert after[1]["metrics"] == before["methods"][0]["metrics"]


@dataclass(frozen=True)
class Refused:
    """What is given beside the archive, and a part of the one line that answers."""

    words: tuple[str, ...]
    answer: str


REFUSED = {
    "method": Refused(("--methods", "unet"), "there is no method 'unet'"),
    "twice": Refused(("--methods", "otsu,otsu"), "named twice"),
    "nothing": Refused(("--methods", ""), "nothing to compare"),
    "labels": Refused(("--labels", "a.csv"), "give --fields too"),
    "settings": Refused(
        ("--methods", "unext_s", *QUICK, "--seed", "7"), "was started with seed = 0, not 7"
    ),
    "split": Refused(("--split", "none"), "none"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_wrong_request_is_one_line(place: Path, case: Refused) -> None:
    kept = (place / "out" / "results.json").read_bytes()
    done = call(place / "tiny.h5", *case.words, "--out", place / "out")
    assert done.exit_code in (1, 2)
    assert case.answer in done.output.splitlines()[-1]
    assert (place / "out" / "results.json").read_bytes() == kept


def test_an_archive_without_masks_is_told_how_to_get_them(tmp_path: Path) -> None:
    write_archive(tmp_path / "bare.h5", replace(tiny_archive(), fingerprint=""))
    done = call(tmp_path / "bare.h5", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "bare.h5 has no masks of heads" in done.output
    assert "acq simulate-cells --masks" in done.output
    assert not (tmp_path / "out").exists()


def test_a_network_that_may_know_the_test_cells_is_refused(place: Path, tmp_path: Path) -> None:
    write_archive(tmp_path / "b.h5", replace(tiny_archive(masks=True, seed=1), fingerprint=""))
    run = place / "out" / "models" / "unext_s"
    done = call(tmp_path / "b.h5", "--methods", "otsu", "--trained", run, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "was trained on another archive" in done.output
    done = call(tmp_path / "b.h5", "--methods", "otsu", "--out", place / "out")
    assert "holds a benchmark with another archive" in done.output


def test_differences_are_paired(archive_with_masks: Archive) -> None:
    truth = archive_with_masks.masks
    exact = [compare(mask, mask) for mask in truth]
    off = [compare(np.roll(mask, 1, axis=1), mask) for mask in truth]
    found = differences(off, exact, archive_with_masks.cell)
    assert found["recall"] == {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    assert found["centre_px"]["value"] == pytest.approx(1.0)
    overlaps = [one.overlap_px / one.union_px for one in off]
    assert found["iou"]["value"] == pytest.approx(np.mean(overlaps) - 1)
    assert found["iou"]["low"] <= found["iou"]["value"] <= found["iou"]["high"] < 0
    nothing = [compare(np.zeros_like(mask), mask) for mask in truth]
    assert differences(nothing, exact, archive_with_masks.cell)["centre_px"] is None


@pytest.fixture
def archive_with_masks() -> Archive:
    return tiny_archive(masks=True)


def test_moves_take_mask_and_patch_together(archive_with_masks: Archive) -> None:
    bright = replace(archive_with_masks, images=200 * archive_with_masks.masks)
    shifted = moved(bright, 5, seed=0)
    np.testing.assert_array_equal(shifted.images > 0, shifted.masks > 0)
    assert (shifted.masks != bright.masks).any()
    assert moved(bright, 0, seed=0) is bright


@dataclass
class Brightness:
    """A network that calls dark pixels heads."""

    card: Any = None
    seen: int = 0

    def shares(self, images: np.ndarray) -> np.ndarray:
        self.seen = images.shape[-1]
        return (images < 135).astype(np.float32)


@pytest.mark.parametrize("side", [32, 33, 96])
def test_tiles_cover_every_pixel_once(side: int) -> None:
    model = Brightness(card=type("Card", (), {"threshold": 0.5}))
    image = field()[:201, :307]
    np.testing.assert_array_equal(in_tiles(model, image, side), image < 135)  # type: ignore[arg-type]
    assert model.seen == side


@pytest.mark.parametrize("pixel_um", [PIXEL_UM, 0.2])
@pytest.mark.parametrize(
    "segment",
    [lambda image: ellipses(image, PIXEL_UM), otsu, lambda image: local(image, PIXEL_UM)],
    ids=["finder", "otsu", "local"],
)
def test_heads_in_a_field_are_where_they_are(
    labelled: Path, segment: Callable[..., Any], pixel_um: float
) -> None:
    """Also where the field has other pixels than the archive."""
    fields = open_fields(
        [labelled], table=labelled / "centres.csv", pixel_size=f"{pixel_um}", head_um=4.7
    )
    told, (figures,) = judge_fields([Method("it", "It", segment)], fields, PIXEL_UM, 96, 50, 4.7)
    assert (told["heads"], figures["right"], figures["finds"]) == (3, 3, 3)
    assert figures["centre_error"]["p95_px"] < 1
    assert figures["against_reference"] is None


def test_the_command_searches_fields(place: Path, labelled: Path) -> None:
    done = call(
        *(place / "tiny.h5", "--methods", "finder,otsu", "--fields", labelled),
        *("--labels", labelled / "centres.csv", "--pixel-size", PIXEL_UM),
        *("--out", labelled / "out", "--json"),
    )
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    assert results["fields"]["heads"] == 3
    assert [row["fields"]["right"] for row in results["methods"]] == [3, 3]
    assert "Whole fields" in (labelled / "out" / "report.html").read_text(encoding="utf-8")
