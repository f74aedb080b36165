"""Labels corrected by what is learned from other cells."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive, Cells, write_archive
from fgaf.dataset.derive.merge import merge
from fgaf.dataset.derive.subset import Selection, subset
from fgaf.dataset.quality.info import describe_archive
from fgaf.dataset.quality.validate_archive import archive_findings
from fgaf.dataset.splits.split import TEST
from fgaf.model.commands.refine import refine as command
from fgaf.model.metrics.depth import judge
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.refine.estimate import Estimate, estimate
from fgaf.model.refine.refine import refine
from fgaf.model.refine.ridge import _PENALTIES, RidgeReader
from fgaf.model.refine.settings import RefineSettings
from tests.model.conftest import tiny_archive

TINY = TrainSettings(backbone="shufflenet_v2_x0_5", width=16, epochs=1, tta=False, threads=1)
GRID = np.arange(-2, 2.01, 0.5)


@dataclass(frozen=True)
class Case:
    """Cells with labels that are off, read with errors; lengths in µm."""

    name: str
    offset: float = 0.2
    slope: float = 0.0
    network: float = 0.1
    noise: float = 0.05
    cells: int = 120
    gain: float = 1.0
    drop: float = 0.0


CASES = (
    Case("offsets"),
    Case("cells that climb", slope=0.15),
    Case("readings that flatten at the ends", gain=0.8),
    Case("planes missing", drop=0.3),
)


def _readings(case: Case) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(7)
    cell = np.repeat(np.arange(case.cells), len(GRID))
    label = np.tile(GRID, case.cells)
    offset = rng.normal(0, case.offset, case.cells)
    slope = rng.normal(0, case.slope, case.cells)
    true = label + offset[cell] + slope[cell] * label
    apart = np.abs(GRID[:, None] - GRID)
    alike = np.sign(GRID)[:, None] == np.sign(GRID)
    shared = case.network**2 * np.exp(-apart / 0.7) * alike + case.noise**2 * np.eye(len(GRID))
    errors = rng.multivariate_normal(np.zeros(len(GRID)), shared, case.cells).ravel()
    read = 2.2 * np.tanh(true / 2.2) if case.gain < 1 else true
    kept = rng.uniform(size=len(cell)) >= case.drop
    kept[:: len(GRID)] = True
    return (read + errors)[kept], label[kept], cell[kept], offset, slope


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_offsets_and_slopes_are_found_with_their_errors(case: Case) -> None:
    reading, label, cell, offset, slope = _readings(case)
    found = estimate(reading, label, cell, GRID)
    errors = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
    missed = found.offset_um - (offset - offset.mean())
    assert np.std(missed) < 0.5 * np.std(offset)
    assert 0.7 < np.sqrt(np.mean((missed / errors[:, 0]) ** 2)) < 1.5
    assert found.spread.offset_um == pytest.approx(case.offset, rel=0.25)
    off = found.slope - (slope - slope.mean())
    if case.slope:
        assert np.polyfit(slope, found.slope, 1)[0] == pytest.approx(1, abs=0.2)
        assert found.spread.slope == pytest.approx(case.slope, rel=0.2)
        assert 0.7 < np.sqrt(np.mean((off / errors[:, 1]) ** 2)) < 1.5
    else:
        assert np.std(off) < 0.4 * case.network


def test_right_labels_hardly_move() -> None:
    reading, label, cell, *_ = _readings(Case("right", offset=0.0, network=0.15))
    found = estimate(reading, label, cell, GRID)
    change = found.change_um(label, cell)
    assert np.sqrt(np.mean(change**2)) < 0.06
    assert np.sqrt(np.mean((change / found.error_um(label, cell)) ** 2)) < 1.2


def test_a_shift_common_to_all_labels_stays() -> None:
    reading, label, cell, *_ = _readings(Case("offsets"))
    plain, moved = (estimate(each, label, cell, GRID) for each in (reading, reading + 0.3))
    assert plain.offset_um.mean() == pytest.approx(0, abs=1e-9)
    assert moved.offset_um == pytest.approx(plain.offset_um, abs=0.02)


def test_layers_do_not_see_the_cells_that_they_read() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 5)).astype(np.float32)
    depth = features @ np.array([0.5, 0.0, -0.5, 0.2, 0.1])
    fold = np.repeat([0, 1], 100)
    reader = RidgeReader(features, fold)
    assert reader.read(depth) == pytest.approx(depth, abs=0.2)
    wrong = np.where(fold == 0, depth + rng.normal(0, 5, 200), depth)
    assert np.abs(reader.read(wrong) - depth)[fold == 0].mean() < 0.2


def test_few_patches_are_read_as_many_are() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(60, 80)).astype(np.float32)
    depth = rng.normal(size=60)
    reader = RidgeReader(features, np.repeat([0, 1], 30))
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    train, own = scaled[30:], scaled[:30]
    ways = [
        own @ np.linalg.solve(train.T @ train + penalty * 80 * np.eye(80), train.T @ centred)
        for penalty in _PENALTIES
        if (centred := depth[30:] - depth[30:].mean()) is not None
    ]
    read = reader.read(depth)[:30] - depth[30:].mean()
    assert min(np.abs(read - way).max() for way in ways) < 1e-4


def _stacks(cells: int = 40, planes: int = 9) -> Archive:
    """Cells whose labels are off by known amounts; the truth is known."""
    made = tiny_archive(cells, half_range_um=0.25 * (planes - 1))
    rng = np.random.default_rng(3)
    off = rng.normal(0, 0.2, cells)
    columns = vars(made.cells) | {
        "id": [f"cell-{k}" for k in range(cells)],
        "method": ["focus-curve"] * cells,
        "focus_um": off,
    }
    return replace(
        made,
        true_depth_um=made.depth_um,
        depth_um=made.depth_um - off[made.cell],
        center_y=1000 * made.cell,
        cells=Cells.from_columns(columns),
    )


@pytest.fixture(scope="module")
def stacks() -> Archive:
    return _stacks()


@pytest.fixture(scope="module")
def better(stacks: Archive, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("rounds")
    return refine(stacks, RefineSettings(rounds=2), folder / "out").archive


def _error(archive: Archive, cells: np.ndarray) -> float:
    of = np.isin(archive.cell, cells)
    assert archive.true_depth_um is not None
    error = (archive.depth_um - archive.true_depth_um)[of]
    return float(np.abs(error - error.mean()).mean())


def test_labels_become_better_and_test_labels_stay(stacks: Archive, better: Archive) -> None:
    others = np.flatnonzero(stacks.splits["default"] != TEST)
    tested = np.flatnonzero(stacks.splits["default"] == TEST)
    assert _error(better, others) < 0.5 * _error(stacks, others)
    table = better.refinement
    assert table is not None
    assert not table.touched[tested].any()
    assert table.touched[others].all()
    of_test = np.isin(better.cell, tested)
    assert (better.depth_um == table.depth_um_before)[of_test].all()
    assert set(better.cells.method[others]) == {"refined"}
    assert set(table.method_before[others]) == {"focus-curve"}
    moved = better.depth_um - table.depth_um_before
    changed = table.change_um[better.cell] + table.slope[better.cell] * table.depth_um_before
    assert moved == pytest.approx(changed)
    step = json.loads(better.history[-1])
    assert (step["did"], step["test"], step["rounds"]) == ("refine", False, 2)


def test_the_archive_is_stored_read_and_derived(
    stacks: Archive, better: Archive, tmp_path: Path
) -> None:
    path = write_archive(tmp_path / "better.h5", better)
    read = Archive.read(path)
    assert read.format_version == 1
    assert read.refinement is not None
    for name, values in vars(better.refinement).items():
        np.testing.assert_array_equal(getattr(read.refinement, name), values)
    assert describe_archive(read)["refined"]["cells"] == 32
    assert "method" not in {finding.name for finding in archive_findings(read)}
    part = subset(read, Selection(cells=("cell-1", "cell-2")))
    assert part.refinement is not None
    assert part.refinement.change_um == pytest.approx(read.refinement.change_um[[1, 2]])
    ids = np.array([f"other-{k}" for k in range(stacks.n_cells)], dtype=object)
    whole = merge([read, replace(stacks, cells=replace(stacks.cells, id=ids))]).archive
    assert whole.refinement is not None
    assert whole.refinement.touched.sum() == 32
    assert not whole.problem()


def test_refined_test_labels_are_told(stacks: Archive) -> None:
    table = refined_once(stacks).refinement
    assert table is not None
    surely = np.full(stacks.n_cells, 0.1)
    found = replace(stacks, refinement=replace(table, change_se_um=surely))
    rows = np.flatnonzero(found.split_of_rows() == TEST)
    chance = np.full((len(rows), found.n_classes), 1 / found.n_classes)
    assert judge(chance, found, rows)["refined_cells"] == 8
    untouched = np.flatnonzero(stacks.split_of_rows() == TEST)
    same = np.full((len(untouched), stacks.n_classes), 1 / stacks.n_classes)
    assert judge(same, stacks, untouched)["refined_cells"] == 0


BAD: tuple[tuple[str, Callable[[Archive], Archive]], ...] = (
    ("is refined already", lambda a: refined_once(a)),
    ("refining needs 20 or more", lambda a: subset(a, Selection(most=12)).loaded()),
    ("a simulation's truth", lambda _: tiny_archive(30)),
    ("fewer than 3 planes", lambda _: single_planes()),
)


def refined_once(archive: Archive) -> Archive:
    from fgaf.dataset.storage.refinement import Refinement

    cells = archive.cells
    table = Refinement.of_none(archive.depth_um, cells.focus_um, cells.method)
    return replace(archive, refinement=table)


def single_planes() -> Archive:
    made = _stacks()
    rows = np.flatnonzero(np.abs(made.true_depth_um) < 0.1)
    from fgaf.dataset.derive.subset import take_rows

    return take_rows(made, rows).loaded()


@pytest.mark.parametrize(("said", "change"), BAD, ids=[said for said, _ in BAD])
def test_what_cannot_be_refined_is_refused(
    said: str, change: Callable[[Archive], Archive], stacks: Archive, tmp_path: Path
) -> None:
    with pytest.raises(FgafError, match=said):
        refine(change(stacks), RefineSettings(), tmp_path / "out")


def test_networks_are_trained_in_rounds_and_a_stopped_refinement_goes_on(
    tmp_path: Path,
) -> None:
    few = _stacks(28, planes=3)
    settings = RefineSettings(folds=2, rounds=2, networks=TINY)
    whole = refine(few, settings, tmp_path / "whole").archive

    def stop(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt):
        refine(few, settings, tmp_path / "out", say=stop)
    assert (tmp_path / "out/round-1/readings.npz").is_file()
    with pytest.raises(FgafError, match="--resume"):
        refine(few, settings, tmp_path / "out")
    with pytest.raises(FgafError, match="another rounds"):
        refine(few, replace(settings, rounds=3), tmp_path / "out", resume=True)
    resumed = refine(few, settings, tmp_path / "out", resume=True).archive
    np.testing.assert_array_equal(resumed.depth_um, whole.depth_um)


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "data.h5", _stacks(planes=5))
    out = tmp_path / "better.h5"
    call = CliRunner().invoke(command, [str(path), "--out", str(out), "--rounds", "1"])
    assert call.exit_code == 0, call.output
    assert f"wrote {out}: labels of 32 of 40 cells changed" in call.output
    assert "round 1 of 1" in call.output
    assert not out.with_suffix(".rounds").exists()
    assert Archive.read(out).refinement is not None
    again = CliRunner().invoke(command, [str(out), "--out", str(tmp_path / "twice.h5")])
    assert again.exit_code
    assert "refined already" in again.output


def test_a_dataset_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call = CliRunner().invoke(command, ["none.h5"])
    assert call.output == "error: none.h5 does not exist; check the name\n"
    assert not list(tmp_path.iterdir())


def test_a_cell_that_climbs_like_the_planes_keeps_its_label(stacks: Archive) -> None:
    from fgaf.model.refine.refine import _applied

    k = stacks.n_cells
    reading = estimate(stacks.depth_um, stacks.depth_um, stacks.cell.astype(int), GRID)
    slope = np.zeros(k)
    slope[3] = 0.8
    found = Estimate(np.zeros(k), slope, reading.covariance, np.ones(k), reading.spread)
    given = _applied(stacks, found, np.arange(k), RefineSettings())
    table = given.archive.refinement
    assert table is not None
    assert "climbs" in table.suspect[3]
    assert not table.touched[3]
    assert given.archive.cells.method[3] == "focus-curve"
