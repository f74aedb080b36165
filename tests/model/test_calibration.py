"""Calibration without labels: the foci of cells, the sign, refusals, and a whole run."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf.acquire import load_rig
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.base.errors import FgafError
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.focus.curves import Curves
from fgaf.curate.focus.suggest import Suggestion
from fgaf.curate.session.network import Network
from fgaf.dataset.archive import Archive
from fgaf.dataset.quality.validate_archive import archive_findings
from fgaf.dataset.raw import RawHeader, RawWriter
from fgaf.dataset.storage.optics import Optics
from fgaf.dataset.truth import FrameTruth, StackTruth, write_truth
from fgaf.model.calibration.calibrate import Calibration
from fgaf.model.calibration.cells import Cell, CellSearch, Searched, Usable, search_stacks, usable
from fgaf.model.calibration.check import compare
from fgaf.model.calibration.offsets import Foci, estimate
from fgaf.model.calibration.result import Result
from fgaf.model.calibration.settings import CalibrationSettings
from fgaf.model.calibration.steps import measure_steps, require_proportional, sign_of
from fgaf.model.commands.calibrate import calibrate as command
from fgaf.model.commands.predict import predict
from fgaf.model.deploy.export import export_model
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.predict import Predictor, load_checkpoint
from fgaf.model.live import LiveSettings, live
from fgaf.model.networks.settings import preset
from fgaf.model.training.train import train

HEIGHTS = np.arange(-2.0, 2.1, 0.5)


@dataclass(frozen=True)
class Case:
    """Cells whose foci are to be found: the network's scale and zero, and how cells drift."""

    scale: float = 1.0
    zero_um: float = 0.0
    drift: float = 0.0
    drifts: bool = False


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(scale=0.65),
        Case(zero_um=0.4),
        Case(drifts=True),
        Case(drift=0.3, drifts=True),
        Case(scale=0.65, zero_um=-0.3, drift=0.3, drifts=True),
    ],
    ids=str,
)
def test_foci_and_drifts_are_found(case: Case) -> None:
    rng = np.random.default_rng(0)
    n = 30
    shift, slope = rng.normal(0, 0.4, n), case.drift * (-1.0) ** np.arange(n)
    shift -= shift.mean()
    height, cell = np.tile(HEIGHTS, n), np.repeat(np.arange(n), len(HEIGHTS))
    true = height * (1 - slope[cell]) - shift[cell]
    own = case.scale * rng.normal(0, 0.05, n)[cell]
    read = case.zero_um + case.scale * true + own + rng.normal(0, 0.05, len(true))
    foci = estimate(height, read, cell, np.full(n, 0.3), drifts=case.drifts)
    assert foci.scale == pytest.approx(case.scale, rel=0.1)
    assert np.std(foci.shift_um - shift) < 0.12
    assert abs(np.mean(foci.shift_um - shift)) < 0.1  # the network's zero does not matter
    if case.drift:
        assert np.abs(foci.slope - slope).mean() < 0.2 * case.drift
    else:
        assert np.abs(foci.slope).max() < 0.05
    found = foci.depth_um(height, cell)
    assert np.abs(found - true).mean() < 0.12


def test_a_cell_that_tells_little_keeps_the_focus_of_the_rule() -> None:
    height, cell = np.r_[np.tile(HEIGHTS, 5), 0.0], np.r_[np.repeat(np.arange(5), 9), 5]
    read = height - 0.2 * (cell - 2) + np.random.default_rng(1).normal(0, 0.05, len(height))
    foci = estimate(height, read, cell, np.full(6, 0.3), drifts=False)
    assert foci.shift_um[5] == 0
    assert foci.error_um[5] > foci.error_um[:5].max()


@pytest.mark.parametrize("cells", [4, 5, 20])
def test_twice_the_stated_error_holds_the_zero(cells: int) -> None:
    """However few cells tell how much the rule scatters."""
    rng = np.random.default_rng(1)
    height, cell = np.tile(np.linspace(-2, 2, 9), cells), np.repeat(np.arange(cells), 9)
    held = 0
    for _ in range(300):
        prior = rng.uniform(0.2, 0.8, cells)
        shift = rng.normal(0, prior)
        read = height - shift[cell] + rng.normal(0, 0.05, len(cell))
        foci = estimate(height, read, cell, prior, drifts=False)
        held += abs(np.median(foci.shift_um - shift)) < 2 * foci.zero_error_um
    assert 0.9 < held / 300 < 0.995


def test_without_planes_nothing_is_known() -> None:
    none = np.zeros(0)
    foci = estimate(none, none, np.zeros(0, np.intp), np.full(3, 0.3))
    assert np.isinf(foci.error_um).all()
    assert (foci.depth_um(np.ones(3), np.arange(3)) == 1).all()


@pytest.mark.parametrize(
    ("signs", "expected"),
    [((1, 1, 1, 1), 1), ((-1, -1, -1, -1), -1), ((1, 1, 1, -1), 1), ((1, 1, -1, -1), None)],
)
def test_the_sign_is_what_most_cells_say(signs: tuple[int, ...], expected: int | None) -> None:
    height, cell = np.tile(HEIGHTS, 4), np.repeat(np.arange(4), 9)
    depth = np.array(signs)[cell] * height
    if expected is not None:
        assert sign_of(height, depth, cell, 4) == expected
        return
    with pytest.raises(FgafError, match=r"rise with the drive in 2 of 4 cells"):
        sign_of(height, depth, cell, 4)


@pytest.mark.parametrize(
    ("read", "refused"),
    [
        (lambda height: 0.9 * height + 0.5, False),
        (lambda height: 0.3 * height, True),
        (lambda height: 2 * height, True),
        (lambda height: np.abs(height), True),
        (lambda height: np.zeros_like(height), True),
    ],
    ids=["nearly", "compressed", "stretched", "unsigned", "blind"],
)
def test_depths_that_are_not_proportional_are_refused(
    read: Callable[[np.ndarray], np.ndarray], refused: bool
) -> None:
    height, cell = np.tile(HEIGHTS, 4), np.repeat(np.arange(4), 9)
    steps = measure_steps(height, read(height), cell, 4)
    if refused:
        with pytest.raises(FgafError, match="not proportional"):
            require_proportional(steps)
    else:
        require_proportional(steps)
        assert steps.error_um == pytest.approx(np.abs(0.1 * HEIGHTS).mean())


def spots(depth_um: np.ndarray, seed: int, sign: int = 1) -> np.ndarray:
    """Patches of a spot that widens, and flips its sign with depth, as in `tiny_archive`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32] - 15.5
    stretch = rng.uniform(0.8, 1.2)
    images = []
    for depth in sign * depth_um:
        width = 2 + 1.5 * abs(depth)
        spot = np.exp(-(y**2 * stretch + x**2 / stretch) / (2 * width**2))
        images.append(100 + 60 * (depth + 0.3) * spot + rng.normal(0, 1, (32, 32)))
    return np.clip(images, 0, 255).astype("u1")


def stacks_of(
    sign: int, origin_um: float = 0.0, shuffled: bool = False, n: int = 6, drift: float = 0.0
) -> tuple[list[Searched], Usable]:
    """Stacks of one cell each; the rule's focus is off by 0.2 µm, and drifts, this way and that."""
    z = np.arange(-1.75, 1.76, 0.25)
    stacks, foci = [], []
    for number in range(n):
        rng = np.random.default_rng([number, 5])
        focus = float(rng.uniform(-0.3, 0.3))
        shown = rng.permutation(z) if shuffled else z
        where = np.zeros(len(z), np.int32)
        cell = Cell(
            id=f"cell-{number}",
            stack=number,
            planes=np.arange(len(z)),
            z_um=z + origin_um,
            y=where,
            x=where,
            images=spots((1 - drift * (-1) ** (number // 2)) * (shown - focus), number, sign),
            curves=Curves(z, np.ones((len(z), 5, 12)), np.ones(5), 1.0),
            overlaps=np.zeros(len(z), bool),
        )
        path, optics = Path(f"{number}.stack.h5"), Optics(pixel_size_um=0.1465)
        stacks.append(Searched(path, str(number), "", optics, (cell,)))
        off = 0.2 * (-1) ** number
        foci.append(Suggestion(focus + off + origin_um, 0.9, 0.3, "phase"))
    return stacks, Usable(tuple(s.cells[0] for s in stacks), tuple(foci), {})


@pytest.fixture(scope="module")
def start(
    make_archive: Callable[..., Archive], tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    """A network that knows the spots."""
    run = tmp_path_factory.mktemp("start")
    settings = preset("default").with_values(
        {"backbone": "shufflenet_v2_x0_5", "width": 32, "epochs": 8, "batch": 8, "threads": 1,
         "tta": False}
    )  # fmt: skip
    train(make_archive(), settings, run, pictures=False)
    return load_checkpoint(run)


QUICK = CalibrationSettings(steps=12, threads=1)


def calibrated(start: Checkpoint, *arguments: object, **named: object) -> Result:
    return Calibration(start, QUICK, *stacks_of(*arguments, **named)).run(lambda items, *_: items)


@pytest.fixture(scope="module")
def turned(start: Checkpoint) -> Result:
    """Calibrated on a stand that turns the sign of depth."""
    return calibrated(start, -1)


def test_a_turned_sign_is_found_and_learned(turned: Result, tmp_path: Path) -> None:
    metrics = turned.metrics
    assert metrics["sign_of_start"] == -1
    assert metrics["held_out"]["error_um"] < 0.3
    assert metrics["calibrated_without_labels"]
    turned.write(tmp_path)
    with Archive.open(tmp_path / "cells.h5") as archive:
        assert archive.problem() == ""
        assert archive.n_cells == 6
        assert set(archive.cells.method) == {"steps"}
        assert "method" not in {finding.name for finding in archive_findings(archive)}
    run = Predictor.load(tmp_path)
    assert run.card.archive_fingerprint == archive.fingerprint
    assert run.card.tells_range
    depth, _ = run.predict(spots(HEIGHTS[2:7], 77, -1))
    assert np.corrcoef(depth, HEIGHTS[2:7])[0, 1] > 0.9
    table = (tmp_path / "cells.csv").read_text().splitlines()
    assert len(table) == 7
    assert (tmp_path / "metrics.json").is_file()


@pytest.fixture(scope="module")
def run(turned: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that run."""
    folder = tmp_path_factory.mktemp("calibrated")
    turned.write(folder)
    return folder


@pytest.mark.slow
def test_it_exports_like_any_run(run: Path, tmp_path: Path) -> None:
    files, _ = export_model(run, run / "cells.h5", tmp_path / "model.onnx")
    assert [file.name for file in files] == ["model.onnx"]


def test_it_predicts_like_any_run(run: Path, tmp_path: Path) -> None:
    table = tmp_path / "depths.csv"
    call = CliRunner().invoke(predict, [str(run), str(run / "cells.h5"), "--csv", str(table)])
    assert call.exit_code == 0, call.output
    with table.open(newline="") as file:
        depth = [float(row["depth_um"]) for row in csv.DictReader(file)]
    assert np.corrcoef(depth, Archive.read(run / "cells.h5").depth_um)[0, 1] > 0.9


def test_it_suggests_foci_in_curation_like_any_run(run: Path) -> None:
    network, header = Network.load(run), Archive.read(run / "cells.h5").header
    settings = PatchSettings(header.patch_px, header.step_um, header.half_range_um)
    suggested = network.suggest(spots(HEIGHTS - 0.4, 78, -1), HEIGHTS, settings)
    assert suggested.focus_um == pytest.approx(0.4, abs=0.3)


def test_it_runs_live_like_any_run(run: Path) -> None:
    rig = load_rig("sim", ["simulation.shape=[240, 320]", "simulation.cells=2"])
    seen = list(live(rig, run, LiveSettings(processing_s=0.01), limit=3))
    assert len(seen) == 3
    assert any(frame.cells for frame in seen)


def test_a_network_is_checked_as_it_is(start: Checkpoint, run: Path) -> None:
    _, found = stacks_of(-1)
    raw = compare(start, found, drifts=False)
    assert raw["sign"] == -1
    better = compare(load_checkpoint(run), found, drifts=False)
    assert better["sign"] == 1
    assert better["steps"]["error_um"] < raw["steps"]["error_um"]
    assert better["out_of_range"] < 0.1
    assert 0.05 < better["offset_spread_um"] < 0.4  # the rule is off by 0.2 µm
    _, strange = stacks_of(-1)
    inverted = [replace(cell, images=255 - cell.images) for cell in strange.cells]
    other = compare(load_checkpoint(run), replace(strange, cells=tuple(inverted)), drifts=False)
    assert other["out_of_range"] > 0.9


def test_drifting_cells_are_found_in_their_images(start: Checkpoint) -> None:
    rows = calibrated(start, 1, n=8, drift=0.3).rows
    drift = 0.3 * (-1.0) ** (np.arange(8) // 2)
    found = np.array([row["drift"] for row in rows])
    assert np.polyfit(drift, found, 1)[0] == pytest.approx(1, abs=0.3)


def test_foci_of_cells_are_better_than_the_rule(turned: Result) -> None:
    known = [float(np.random.default_rng([k, 5]).uniform(-0.3, 0.3)) for k in range(6)]
    found = [row["focus_um"] for row in turned.rows]
    assert np.abs(np.array(found) - known).mean() < 0.15  # 0.2 by the rule


def test_only_the_steps_count(turned: Result, start: Checkpoint) -> None:
    """The position of the drive at the focus, all that a label would say, changes nothing."""
    moved = calibrated(start, -1, origin_um=100.0)
    for name, weight in turned.checkpoint.weights.items():
        assert np.allclose(weight, moved.checkpoint.weights[name], atol=1e-3), name


def test_scrambled_steps_are_refused(start: Checkpoint) -> None:
    with pytest.raises(FgafError, match=r"sign of depth is undecided|not proportional"):
        calibrated(start, 1, shuffled=True)


@pytest.mark.parametrize("values", [{"loss": "corn"}, {"head": "place", "loss": "ce"}])
def test_a_network_without_a_logit_per_class_is_refused(
    values: dict[str, str], start: Checkpoint
) -> None:
    other = replace(start, settings=start.settings.with_values(values))
    with pytest.raises(FgafError, match=r"trained with (loss = corn|head = place) cannot be"):
        calibrated(other, 1)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a raw stack of two cells, and its truth."""
    folder = tmp_path_factory.mktemp("raw")
    settings = SimulationSettings(
        seed=3, cells=2, shape=(220, 300), motile=False, debris=0, depth_spread_um=0.5
    )
    scene = Scene(settings)
    path = folder / "field.stack.h5"
    header = RawHeader.new(
        step_um=0.5, half_range_um=3.0, center_um=0.0, optics=settings.optics, bit_depth=8
    )
    truth = []
    with RawWriter(path, header, (13, *settings.shape), np.uint8) as writer:
        for k, z in enumerate(0.5 * np.arange(-6, 7)):
            pixels, cells = scene.expose(0.0, 5e-3, float(z))
            truth.append(FrameTruth(time_ns=k, cells=cells))
            writer.write(
                k, pixels, z_requested_um=float(z), z_measured_um=float(z), time_device_ns=k,
                time_host_ns=k, frame_id=k, exposure_us=5000.0,
            )  # fmt: skip
        writer.publish()
    write_truth(path, StackTruth(stack_uuid=header.uuid, frames=tuple(truth)))
    return folder


def test_no_label_is_read(field: Path, tmp_path: Path) -> None:
    """The same cells are found where the truth beside the stack is scrambled, or is missing."""
    search = CellSearch(96, 2.0, None, 4.7)
    (one,) = search_stacks([field / "field.stack.h5"], search)
    scrambled = shutil.copytree(field, tmp_path / "copy")
    (scrambled / "field.truth.json").write_text("scrambled")
    (other,) = search_stacks([scrambled / "field.stack.h5"], search)
    assert 1 <= len(one.cells) <= 2
    for mine, its in zip(one.cells, other.cells, strict=True):
        assert np.array_equal(mine.images, its.images)
        assert np.array_equal(mine.z_um, its.z_um)
    first, second = usable([one], 2.0), usable([other], 2.0)
    assert first.foci == second.foci


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        ([], "at least 4 are needed: take more stacks"),
        (["--from", "nowhere"], "nowhere does not exist"),
        (["--head-length", "0"], "0"),
        (["--check"], "--check writes nothing; leave out --out"),
    ],
)
def test_what_cannot_be_calibrated_is_said_in_one_line(
    field: Path, tmp_path: Path, arguments: list[str], needle: str
) -> None:
    call = CliRunner().invoke(
        command, [str(field), "--out", str(tmp_path / "run"), "--workers", "1", *arguments]
    )
    assert call.exit_code != 0
    assert needle in call.stderr
    assert "Traceback" not in call.stderr
    assert not (tmp_path / "run").exists()


def test_stacks_of_two_microscopes_are_refused(field: Path) -> None:
    search = CellSearch(96, 2.0, None, 4.7)
    (one,) = search_stacks([field / "field.stack.h5"], search)
    other = replace(
        one,
        fingerprint="other",
        optics=one.optics.model_copy(update={"numerical_aperture": 0.25}),
    )

    def both(path: Path) -> Searched:
        return one if path.name == "a" else other

    with pytest.raises(FgafError, match="calibrate each microscope by itself"):
        search_stacks([Path("a"), Path("b")], both)  # type: ignore[arg-type]


def test_unknown_foci_are_the_prior() -> None:
    assert (Foci.unknown(2).depth_um(np.array([1.0, 2.0]), np.array([0, 1])) == [1.0, 2.0]).all()
