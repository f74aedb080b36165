"""From raw stacks to an archive, headless, judged by the simulator's truth."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

from fgaf.curate.auto import AutoReport, StackReport
from fgaf.curate.commands import reasons
from fgaf.curate.commands.main import main
from fgaf.curate.compile import compile_archive
from fgaf.curate.detection.crop import AT_BORDER
from fgaf.curate.focus import suggest
from fgaf.curate.session.fields import coincide, same_fields
from fgaf.curate.session.journal import JOURNAL, read_journal
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import read_state
from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.importers.stacks import import_stacks
from fgaf.dataset.raw import RawStack
from fgaf.dataset.truth import head_masks
from tests.terminal import commands_on_terminal, percents

BEADS = Path(__file__).parents[3] / "shared" / "real" / "idpt_beads"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="session")
def curated(raw_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("curated") / "dataset.h5"
    result = run("auto", raw_folder, "--out", out, "--log", out.with_name("a.log"))
    assert result.exit_code == 0, result.output
    return out, result


def test_the_log_holds_what_became_of_each_stack(curated: tuple[Path, Result]) -> None:
    text = curated[0].with_name("a.log").read_text(encoding="utf-8")
    for name in set(Archive.read(curated[0]).cells.source):
        stem = re.escape(name.removesuffix(".stack.h5"))
        assert re.search(rf"fgaf\.curate\.auto: {stem}: \d+ found, \d+ kept", text)
    assert f"published {curated[0]}" in text


def test_most_cells_are_kept_and_their_depth_is_right(curated: tuple[Path, Result]) -> None:
    archive = Archive.read(curated[0])
    assert archive.n_cells >= 9
    assert archive.n_classes == 9
    assert archive.true_depth_um is not None
    error = np.abs(archive.depth_um - archive.true_depth_um)
    assert np.median(error) <= 0.15
    assert np.percentile(error, 80) <= 0.4
    np.testing.assert_array_equal(np.bincount(archive.depth_class), archive.n_cells)


def test_masks_come_from_a_truth_with_outlines(
    stack_taker: Callable[..., Path], tmp_path: Path
) -> None:
    raw, out = tmp_path / "masked.stack.h5", tmp_path / "dataset.h5"
    stack_taker(raw, 71, "brightfield", shape=(320, 360), cells=5, outlines=True)
    assert run("auto", raw, "--out", out).exit_code == 0
    archive = Archive.read(out)
    assert archive.masks is not None
    with RawStack.open(raw) as stack:
        truth, shape = stack.truth(), stack.shape[1:]
    assert truth is not None
    half = archive.header.patch_px // 2
    for row, mask in enumerate(archive.masks):
        y, x = int(archive.center_y[row]), int(archive.center_x[row])
        labels = head_masks(truth.frames[archive.plane[row]].cells, shape)
        window = labels[y - half : y + half, x - half : x + half]
        np.testing.assert_array_equal(mask > 0, window > 0)
        (number,) = np.unique(window[mask == 1])
        assert not (window[mask == 2] == number).any()
        np.testing.assert_allclose(np.argwhere(mask == 1).mean(axis=0), (half, half), atol=12)


def test_the_output_counts_and_names_the_next_command(curated: tuple[Path, Result]) -> None:
    output = curated[1].output
    assert "first: " in output
    assert " kept" in output
    assert "next: fgaf-train" in output
    assert "one field, cells in the same places: first, second" in output


def test_provenance_is_carried(curated: tuple[Path, Result]) -> None:
    cells = Archive.read(curated[0]).cells
    assert set(cells.source) <= {"first.stack.h5", "second.stack.h5", "third.stack.h5"}
    assert set(cells.method) == {"focus-curve"}
    assert set(cells.annotator) == {"auto"}
    assert set(cells.sample_id) == {"donor 1"}
    assert all(len(digest) == 64 for digest in cells.source_sha256)


def test_repeats_of_a_cell_share_a_side(curated: tuple[Path, Result]) -> None:
    archive = Archive.read(curated[0])
    sides: dict[tuple[int, int], set[int]] = {}
    for cell in range(archive.n_cells):
        if archive.cells.field[cell] == "field of first":
            row = archive.rows_of(cell).start
            place = (round(archive.center_y[row] / 12), round(archive.center_x[row] / 12))
            sides.setdefault(place, set()).add(int(archive.splits["default"][cell]))
    assert sides
    assert all(len(side) == 1 for side in sides.values())


def test_crops_are_the_pixels_of_the_raw_frame(
    curated: tuple[Path, Result], raw_folder: Path
) -> None:
    archive = Archive.read(curated[0])
    row = 4
    source = archive.cells.source[archive.cell[row]]
    top, left = archive.center_y[row] - 48, archive.center_x[row] - 48
    with h5py.File(raw_folder / source) as file:
        frame = file["frames"][archive.plane[row]]
    np.testing.assert_array_equal(archive.images[row], frame[top : top + 96, left : left + 96])


def test_the_same_journal_gives_the_same_archive(
    curated: tuple[Path, Result], tmp_path: Path
) -> None:
    with Session.look(curated[0].with_suffix(".session")) as session:
        path = write_archive(tmp_path / "again.h5", compile_archive(session.state))
    assert path.read_bytes() == curated[0].read_bytes()


def test_export_and_status_read_the_session(curated: tuple[Path, Result], tmp_path: Path) -> None:
    session = curated[0].with_suffix(".session")
    out = tmp_path / "again.h5"
    result = run("export", session, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert Archive.read(out).n_cells == Archive.read(curated[0]).n_cells
    counts = json.loads(run("status", session, "--json").output)
    assert counts["kept"] == Archive.read(out).n_cells
    assert counts["stacks"] == 3


def test_overwriting_sets_the_old_journal_aside(raw_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "d.h5"
    stack = raw_folder / "third.stack.h5"
    assert run("auto", stack, "--out", out).exit_code == 0
    assert run("auto", stack, "--out", out).exit_code == 1
    assert run("auto", stack, "--out", out, "--overwrite").exit_code == 0
    names = {p.name for p in (tmp_path / "d.session").iterdir()}
    assert names == {JOURNAL, "journal-1.jsonl", "journal.lock"}


@dataclass(frozen=True)
class Wrong:
    name: str
    arguments: tuple[str, ...]
    says: str
    code: int


WRONG = (
    Wrong("step", ("--step", "0.75", "--half-range", "1.5"), "not a multiple of the 0.5", 2),
    Wrong("range", ("--half-range", "1.8"), "not a whole number of steps", 2),
    Wrong("patch", ("--patch", "2000"), "is larger than the images", 1),
    Wrong("nothing kept", ("--patch", "510"), "no cell of", 1),
)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_impossible_settings_are_one_line(case: Wrong, raw_folder: Path, tmp_path: Path) -> None:
    stack = raw_folder / "third.stack.h5"
    result = run("auto", stack, "--out", tmp_path / "d.h5", *case.arguments)
    assert result.exit_code == case.code
    assert case.says in result.output.splitlines()[-1]
    assert not (tmp_path / "d.h5").exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    result = run("auto", tmp_path, "--out", tmp_path / "d.h5")
    assert result.exit_code == 1
    assert "contains no raw stacks" in result.output


def frame_of(raw_folder: Path, plane: int) -> np.ndarray:
    with h5py.File(raw_folder / "third.stack.h5") as file:
        return np.asarray(file["frames"][plane])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_detect_writes_boxes_of_heads(suffix: str, raw_folder: Path, tmp_path: Path) -> None:
    image = tmp_path / f"plane{suffix}"
    Image.fromarray(frame_of(raw_folder, 1)).save(image)
    out = tmp_path / "found.csv"
    result = run("detect", image, "--pixel-size", 0.1465, "--out", out)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["image", "y", "x", "height", "width", "score", "plane"]
    assert {row["plane"] for row in rows} == {"1"}
    truth = json.loads((raw_folder / "third.truth.json").read_text())["frames"][1]["cells"]
    heads = np.array([(c["y_px"], c["x_px"]) for c in truth if c["kind"] == "sperm"])
    found = np.array([(float(row["y"]), float(row["x"])) for row in rows])
    distance = np.hypot(*(heads[:, None] - found[None]).transpose(2, 0, 1))
    assert (distance.min(axis=1) < 10).all()
    assert all(2.0 < float(row["height"]) * 0.1465 < 7.0 for row in rows)


def test_of_colour_images_the_luminance_is_searched(raw_folder: Path, tmp_path: Path) -> None:
    grey = frame_of(raw_folder, 1)
    colour = np.repeat(grey[..., None], 3, axis=2)
    Image.fromarray(colour).save(tmp_path / "grey.png")
    options = ("--pixel-size", 0.1465, "--out", tmp_path / "a.csv")
    plain = run("detect", tmp_path / "grey.png", *options, "--json")
    assert "colour" not in plain.stderr
    colour[..., 0] //= 2
    Image.fromarray(colour).save(tmp_path / "colour.png")
    result = run("detect", tmp_path / "colour.png", *options, "--overwrite", "--json")
    assert result.stderr == "notice: 1 image in colour: the luminance is used\n"
    assert json.loads(result.stdout)["heads"] == json.loads(plain.stdout)["heads"] > 0
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([colour, colour]), photometric="rgb")
    result = run("detect", tmp_path / "pages.tif", *options, "--overwrite")
    assert result.exit_code == 1
    assert "convert it to 8 or 16 bit grey" in result.output


def test_doubts_name_the_page_as_the_table_does(raw_folder: Path, tmp_path: Path) -> None:
    field = frame_of(raw_folder, 1)
    tifffile.imwrite(
        tmp_path / "f.tif",
        np.stack([field, np.full_like(field, 100), field]),
        photometric="minisblack",
    )
    out = tmp_path / "a.csv"
    result = run("detect", tmp_path / "f.tif", "--pixel-size", 0.1465, "--out", out)
    assert "f.tif, page 2: no head" in result.stderr
    with out.open(encoding="utf-8") as file:
        assert {row["plane"] for row in csv.DictReader(file)} == {"1", "3"}


@pytest.mark.parametrize("fill", [0.5, np.nan])
def test_float_images_are_refused(fill: float, tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), fill, dtype=np.float32)).save(tmp_path / "f.tif")
    result = run("detect", tmp_path / "f.tif", "--pixel-size", 0.15, "--out", tmp_path / "a.csv")
    assert result.exit_code == 1
    assert "convert it to 8 or 16 bit" in result.output


def test_images_need_a_pixel_size(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "f.png")
    result = run("detect", tmp_path / "f.png", "--out", tmp_path / "a.csv")
    assert result.exit_code == 2
    assert "--pixel-size" in result.output


def test_constellations_are_recognised() -> None:
    rng = np.random.default_rng(1)
    field = rng.uniform(0, 500, (10, 2))
    moved = field + rng.normal(0, 1, field.shape)
    other = rng.uniform(0, 500, (10, 2))
    assert coincide(field, moved[3:], 4.0)
    assert not coincide(field, other, 4.0)
    assert not coincide(field[:2], field[:2], 4.0)
    assert same_fields([field, other, moved], [(9, 9)] * 3, [4.0] * 3) == [[0, 2]]


@pytest.mark.skipif(not BEADS.exists(), reason="the bead stacks are not here")
def test_real_beads(tmp_path: Path) -> None:
    from fgaf.dataset.commands.main import main as data

    files = [str(path) for path in sorted(BEADS.glob("*.ome.tif"))]
    imported = CliRunner().invoke(data, ["import", *files, "--out", str(tmp_path / "raw")])
    assert imported.exit_code == 0, imported.output
    out = tmp_path / "dataset.h5"
    arguments = ("--patch", 48, "--step", 4, "--half-range", 16, "--out", out)
    result = run("auto", tmp_path / "raw", "--head-length", 12, *arguments, "--json")
    assert result.exit_code == 0, result.output
    archive = Archive.read(out)
    assert archive.n_cells >= 40
    assert np.abs(archive.cells.focus_plane - 16).max() <= 2
    assert set(archive.cells.field) == {"field of beads_repeat1"}
    session = read_state(read_journal(out.with_suffix(".session"))[0])
    listed = np.genfromtxt(BEADS / "bead_centres.csv", delimiter=",", skip_header=1)[:, 1:3]
    for stack in session.stacks:
        places = np.array([(c.y[16], c.x[16]) for c in session.cells.values() if c.stack == stack])
        away = np.hypot(*(listed[:, None] - places[None]).transpose(2, 0, 1)).min(axis=1)
        assert np.count_nonzero(away < 3) >= 58
    shutil.rmtree(tmp_path / "raw")


def test_a_wrong_step_leaves_nothing_in_the_way_of_the_right_one(
    flat_stack: Callable[..., Path], tmp_path: Path
) -> None:
    flat_stack(tmp_path / "raw.stack.h5", step_um=1.0, shape=(5, 120, 120))
    words = ["auto", str(tmp_path / "raw.stack.h5"), "--out", str(tmp_path / "d.h5")]
    wrong = CliRunner().invoke(main, [*words, "--step", "1.5", "--half-range", "3"])
    assert wrong.exit_code == 2
    assert "not a multiple" in wrong.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["raw.stack.h5"]


def test_a_stack_exported_downwards_gives_the_same_labels(raw_folder: Path, tmp_path: Path) -> None:
    """ImageJ writes a stack taken downwards with a negative spacing."""
    with RawStack.open(raw_folder / "third.stack.h5") as stack:
        frames, pixel = stack.frames[:], stack.header.optics.pixel_size_um
    assert pixel is not None
    found = []
    for name, pixels, spacing in (("up", frames, 0.5), ("down", frames[::-1], -0.5)):
        folder = tmp_path / name
        folder.mkdir()
        told = {"axes": "ZYX", "spacing": spacing, "unit": "um"}
        source, scale = folder / "cells.tif", (1 / pixel, 1 / pixel)
        tifffile.imwrite(source, pixels, imagej=True, resolution=scale, metadata=told)
        list(import_stacks([source], folder))
        out = folder / "d.h5"
        assert run("auto", folder / "cells.stack.h5", "--out", out).exit_code == 0
        found.append(Archive.read(out))
    up, down = found
    assert up.n_cells > 0
    np.testing.assert_array_equal(up.images, down.images)
    np.testing.assert_array_equal(up.depth_um, down.depth_um)
    np.testing.assert_array_equal(up.cells.focus_um, down.cells.focus_um)


COUNTS = {AT_BORDER: 3, suggest.DISAGREES: 5, "a reason of later": 2}


def test_reasons_are_counted_over_all_stacks_with_what_helps() -> None:
    stacks = [StackReport("a", 16, 10, {}, COUNTS), StackReport("b", 4, 3, {}, {AT_BORDER: 1})]
    rows = list(reasons.rows(AutoReport(stacks, [], None)))
    assert [row[:3] for row in rows] == [
        ("found", "20", "100 %"),
        ("kept", "13", "65 %"),
        (f"rejected: {suggest.DISAGREES}", "5", "25 %"),
        (f"rejected: {AT_BORDER}", "4", "20 %"),
        ("rejected: a reason of later", "2", "10 %"),
    ]
    assert [bool(row[3]) for row in rows] == [False, False, True, True, False]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are of Unix")
def test_on_a_terminal_the_reasons_are_a_table(raw_folder: Path, tmp_path: Path) -> None:
    stack = next(raw_folder.glob("*.stack.h5"))
    words = ["auto", stack, "--out", "d.h5", "--workers", "1"]
    [shown] = commands_on_terminal([("fgaf.curate.commands.main", "main", words)], tmp_path)
    table = [re.split(r"\s{2,}", line.strip()) for line in shown.splitlines()]
    assert ["cells", "number", "share", "what to do"] in table
    found, kept = (next(line for line in table if line[0] == name) for name in ("found", "kept"))
    assert found[2] == "100 %"
    assert f"wrote d.h5: {kept[1]} of {found[1]} cells" in shown
    assert "curate  [" in shown
    assert " found, " not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are of Unix")
def test_bars_move_within_a_file(raw_folder: Path, tmp_path: Path) -> None:
    stacks = sorted(raw_folder.glob("*.stack.h5"))[:2]
    frame = frame_of(raw_folder, 1)
    tifffile.imwrite(tmp_path / "f.tif", np.stack([frame] * 4), photometric="minisblack")
    main = ("fgaf.curate.commands.main", "main")
    detect = ["detect", "--out", "h.csv", "--overwrite"]
    images, one, two, auto = commands_on_terminal(
        [
            (*main, [*detect, "f.tif", "--pixel-size", 0.1465]),
            (*main, [*detect, stacks[0]]),
            (*main, [*detect, *stacks, "--workers", 2]),
            (*main, ["auto", stacks[0], "--out", "d.h5", "--workers", 1]),
        ],
        tmp_path,
    )
    assert {25, 50, 75, 100} <= set(percents(images, "detect"))
    shown = [(one, "detect"), (two, "detect"), (auto, "curate"), (auto, "compile")]
    for text, label in shown:
        numbers = percents(text, label)
        assert numbers == sorted(numbers)
        assert numbers[-1] == 100
        assert len(set(numbers) - {0, 50, 100}) >= 3, text
