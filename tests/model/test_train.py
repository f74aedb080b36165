"""Training: complete runs, repeatable, resumable after a kill, blind to test cells and truth."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fgaf.base.errors import ExistsError, FgafError
from fgaf.dataset.archive import Archive
from fgaf.model.inference.checkpoint import Checkpoint, load_state, save_state
from fgaf.model.networks.settings import TrainSettings, preset, read_settings
from fgaf.model.training.compute import Compute, choose_compute
from fgaf.model.training.defaults import resolve_settings
from fgaf.model.training.optimise import Average, learning_rate, step_seconds
from fgaf.model.training.run import at_plateau
from fgaf.model.training.run_folder import files_of
from fgaf.model.training.sides import Data
from fgaf.model.training.tasks import DepthTask
from fgaf.model.training.train import train as train_and_draw

train = partial(train_and_draw, pictures=False)

QUICK: dict[str, Any] = {
    "backbone": "shufflenet_v2_x0_5", "width": 32, "epochs": 2, "batch": 16, "threads": 1,
    "shift_px": 2, "view": 1.0, "stem_stride": 2,
}  # fmt: skip


def quick(**values: Any) -> TrainSettings:
    return preset("default").with_values({**QUICK, **values})


def numbers(metrics: dict[str, Any]) -> str:
    """All of the metrics but the times."""
    return json.dumps({key: value for key, value in metrics.items() if key != "timing"})


def same_weights(one: Path, other: Path) -> bool:
    a, b = (Checkpoint.load(run / "checkpoint.pt").weights for run in (one, other))
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_all_its_files(archive: Archive, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    metrics = train_and_draw(archive, quick(), run)
    assert {path.name for path in run.iterdir()} == files_of("depth")
    assert json.loads((run / "metrics.json").read_text()) == metrics
    wanted = {"top1", "top3", "mae_um", "expected_mae_um", "p95_um", "split", "n_cells", "seed"}
    assert wanted <= metrics.keys()
    assert (metrics["train_cells"], metrics["validation_cells"], metrics["n_cells"]) == (6, 2, 2)
    assert metrics["judged_by"] == "truth"
    assert 0 < metrics["label_mae_um"] < 0.1
    assert read_settings(run / "settings.toml") == quick(lr=0.05)
    assert (run / "history.csv").read_text().count("\n") == 3
    for name in ("history.png", "confusion.png", "reliability.png", "depths.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG")


def test_it_learns(make_archive: Callable[..., Archive], tmp_path: Path) -> None:
    archive = make_archive(cells=20, truth=False)
    settings = quick(epochs=15, seed=1, gain=0.0, offset=0.0)
    metrics = train(archive, settings, tmp_path / "run")
    assert metrics["top1"] > 0.5
    assert metrics["expected_mae_um"] < 0.4
    assert metrics["judged_by"] == "label"
    assert "by_label" not in metrics


def test_the_same_seed_gives_the_same_numbers(archive: Archive, tmp_path: Path) -> None:
    first, again = (train(archive, quick(), tmp_path / name) for name in ("a", "b"))
    assert numbers(first) == numbers(again)
    assert same_weights(tmp_path / "a", tmp_path / "b")
    other = train(archive, quick(seed=1), tmp_path / "c")
    assert numbers(first) != numbers(other)


def test_test_cells_and_truth_do_not_reach_the_weights(archive: Archive, tmp_path: Path) -> None:
    images = np.array(archive.images)
    tested = archive.split_of_rows("default") == 2
    images[tested] = 255 - images[tested]
    assert archive.true_depth_um is not None
    altered = replace(archive, images=images, true_depth_um=-archive.true_depth_um)
    train(archive, quick(), tmp_path / "a")
    train(altered, quick(), tmp_path / "b")
    assert same_weights(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    "values",
    [
        {"loss": "corn", "ema": 0.9, "self_norm": True, "cross_norm": "depth", "tta": False},
        {
            "loss": "soft",
            "balance": True,
            "select": "best",
            "patience": 1,
            "normalise": "dataset",
            "fgaf": False,
        },
        {"residual": False, "pooling": "halve", "insertion": "every", "precision": "bf16"},
        {"head": "place", "loss": "ce", "importance": True, "focus_features": True},
    ],
    ids=["corn", "best", "bf16", "rivals"],
)
def test_settings_work_together(values: dict[str, Any], archive: Archive, tmp_path: Path) -> None:
    metrics = train(archive, quick(**values), tmp_path / "run")
    assert 0 <= metrics["top1"] <= metrics["top3"] <= 1


def test_training_stops_when_validation_stops_improving(archive: Archive, tmp_path: Path) -> None:
    metrics = train(archive, quick(epochs=60, patience=3, select="best"), tmp_path)
    with (tmp_path / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    errors = [float(row["val_expected_mae_um"]) for row in history]
    best = errors.index(min(errors))
    assert len(errors) == best + 1 + 3 < 60
    assert Checkpoint.load(tmp_path / "checkpoint.pt").epoch == best + 1
    assert (metrics["best_epoch"], metrics["trained_epochs"]) == (best + 1, len(errors))
    assert metrics["at_plateau"] == (3 / len(errors) >= 0.2)
    worked = sum(float(row["core_seconds"]) for row in history)
    assert metrics["timing"]["core_s"] == pytest.approx(worked, abs=0.01)


@pytest.mark.parametrize(
    ("best", "epochs", "expected"), [(8, 10, True), (9, 10, False), (48, 60, True), (1, 1, False)]
)
def test_a_plateau_is_a_fifth_of_the_run(best: int, epochs: int, expected: bool) -> None:
    assert at_plateau(best, epochs) is expected


def test_sixteen_bits_and_no_validation_cells(
    make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    archive = make_archive(dtype="u2")
    sides = np.where(archive.splits["default"] == 1, 0, archive.splits["default"])
    archive = replace(archive, splits={"default": sides.astype(np.int8)})
    metrics = train(archive, quick(patience=1), tmp_path / "run")
    assert (metrics["temperature"], metrics["validation_cells"]) == (1.0, 0)
    assert not {"best_epoch", "at_plateau"} & set(metrics)
    assert not (tmp_path / "run" / "best.pt").exists()


KILLED = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from conftest import tiny_archive
from test_train import quick, train

def bar(items, label, length):
    for k in items:
        if k == 2:
            kill = getattr(signal, "SIGKILL", signal.SIGTERM)
            threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), kill)).start()
        if k == 3:
            threading.Event().wait()  # it was quicker than the signal
        yield k

train(tiny_archive(), quick(epochs=4, ema=0.9), Path(sys.argv[2]), progress=bar)
"""


def test_a_killed_run_resumes_bit_for_bit(archive: Archive, tmp_path: Path) -> None:
    """Killed by the system somewhere in its third epoch or later."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    here = str(Path(__file__).parent)
    child = subprocess.run(
        [sys.executable, "-c", KILLED, here, str(killed), "0.05"],
        check=False, capture_output=True, timeout=120,
    )  # fmt: skip
    assert child.returncode == (-signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    assert 2 <= load_state(killed / "last.pt")["epoch"] < 4
    assert not (killed / "metrics.json").exists()
    settings = quick(epochs=4, ema=0.9)
    resumed = train(archive, settings, killed, resume=True)
    assert numbers(resumed) == numbers(train(archive, settings, whole))
    assert same_weights(killed, whole)


def test_a_run_ends_when_its_hours_are_over(archive: Archive, tmp_path: Path) -> None:
    settings = quick(epochs=50, hours=1e-6)
    first = train(archive, settings, tmp_path)
    assert first["trained_epochs"] == 1
    assert numbers(train(archive, settings, tmp_path, resume=True)) == numbers(first)


def test_the_rate_falls_with_the_time_that_is_used(archive: Archive, tmp_path: Path) -> None:
    train(archive, quick(epochs=4, hours=1.0), tmp_path)
    state = load_state(tmp_path / "last.pt")
    rates = []
    for used_s in (1800.0, 3400.0):  # three quarters of the epochs, and of the hour a half, more
        seconds = (used_s - 2, 1.0, 1.0)
        rows = [{**row, "seconds": s} for row, s in zip(state["history"], seconds, strict=False)]
        save_state(tmp_path / "last.pt", {**state, "epoch": 3, "history": rows})
        train(archive, quick(epochs=4, hours=1.0), tmp_path, resume=True)
        rates.append(load_state(tmp_path / "last.pt")["history"][3]["lr"])
    assert rates[1] < rates[0] == state["history"][3]["lr"]


def test_resuming_a_finished_or_absent_run(archive: Archive, tmp_path: Path) -> None:
    first = train(archive, quick(), tmp_path / "run", resume=True)
    assert numbers(train(archive, quick(), tmp_path / "run", resume=True)) == numbers(first)


def test_a_run_begun_with_the_schedule_s_old_word_goes_on(archive: Archive, tmp_path: Path) -> None:
    first = train(archive, quick(), tmp_path)
    state = load_state(tmp_path / "last.pt")
    state["settings"]["schedule"] = "onecycle"
    save_state(tmp_path / "last.pt", state)
    assert numbers(train(archive, quick(), tmp_path, resume=True)) == numbers(first)


def test_a_run_is_resumed_as_it_was_started(
    archive: Archive, make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    train(archive, quick(), tmp_path)
    with pytest.raises(FgafError, match="started with epochs = 2, not 3"):
        train(archive, quick(epochs=3), tmp_path, resume=True)
    with pytest.raises(FgafError, match="another archive"):
        train(make_archive(seed=5), quick(), tmp_path, resume=True)


def test_a_run_is_not_overwritten_unless_asked(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    train(archive, quick(), tmp_path)
    with pytest.raises(ExistsError, match="--resume"):
        train(archive, quick(), tmp_path)
    train(archive, quick(seed=3), tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def with_sides(archive: Archive, *sides: int) -> Archive:
    return replace(archive, splits={"default": np.resize(np.array(sides, "i1"), archive.n_cells)})


@pytest.mark.parametrize(
    ("cells", "sides", "values", "needle"),
    [
        (0, (), {}, "has no cells"),
        (1, (0,), {}, "has one cell"),
        (4, (0, 1), {}, "no test cells"),
        (4, (1, 2), {}, "no training cells"),
        (4, (0, 2), {"split": "mine"}, "no split 'mine'"),
        (10, (0, 0, 2), {"lr": 1000.0, "epochs": 5}, "diverged"),
    ],
)
def test_refuses(
    cells: int,
    sides: tuple[int, ...],
    values: dict[str, Any],
    needle: str,
    make_archive: Callable[..., Archive],
    tmp_path: Path,
) -> None:
    archive = make_archive(cells=max(cells, 1))
    if cells == 0:
        archive = replace(archive, cells=archive.cells.take(slice(0, 0)))
    else:
        archive = with_sides(archive, *sides)
    with pytest.raises(FgafError, match=needle) as caught:
        train(archive, quick(**values), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_one_cycle() -> None:
    settings = quick(lr=0.5, warmup=0.2)
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == rates[20] == 0.5
    assert rates[60] == pytest.approx(0.25)
    assert rates[-1] < 0.001
    assert learning_rate(7, 100, quick(schedule="constant", lr=0.3)) == 0.3


def test_average_of_weights() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    average = Average(layer, 0.5)
    torch.nn.init.ones_(layer.weight)
    average.update(layer, 1000)
    average.update(layer, 1001)
    assert average.network.weight.item() == pytest.approx(0.75)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is always used")
def test_automatic_machine_is_the_fastest() -> None:
    """Of thread counts, precisions and memory formats, by the times given."""
    timed: list[Compute] = []

    def seconds(machine: Compute) -> float:
        timed.append(machine)
        return 2.0 - machine.bf16 - 0.5 * (not machine.channels_last)

    assert choose_compute(quick(precision="auto"), seconds) == Compute("cpu", 1, True, False)
    assert len(timed) == 4
    assert choose_compute(quick(), seconds) == Compute("cpu", 1, False)


def test_timing_a_step_leaves_the_run_as_it_was(archive: Archive) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    assert step_seconds(Compute("cpu", 1, False), DepthTask(archive, quick(batch=4))) > 0
    assert torch.equal(torch.rand(1), expected)


def test_balance_draws_every_class_equally() -> None:
    classes = torch.tensor([0] * 40 + [1] * 8 + [2] * 2)
    data = Data(torch.zeros(50, 1, 1), classes, classes, np.arange(50))
    order = data.order(torch.Generator().manual_seed(0), balance=True)
    assert len(order) == 50
    assert classes[order].bincount().tolist() == pytest.approx([17, 17, 17], abs=1)
    assert len(order[classes[order] == 0].unique()) >= 16
    plain = data.order(torch.Generator().manual_seed(0), balance=False)
    assert sorted(plain.tolist()) == list(range(50))


def test_zeros_are_settled_by_the_archive(make_archive: Callable[..., Archive]) -> None:
    open_settings = preset("default")
    small = resolve_settings(open_settings, make_archive(cells=10))
    assert (small.view, small.stem_stride, small.epochs) == (1, 1, 600)
    large = resolve_settings(
        open_settings.with_values({"batch": 2}), make_archive(cells=20, side=64)
    )
    assert (large.view, large.stem_stride, large.epochs) == (0.75, 1, 60)
    whole = resolve_settings(open_settings.with_values({"view": 1.0}), make_archive(side=96))
    assert (whole.view, whole.stem_stride) == (1, 2)
    tuned = resolve_settings(open_settings.with_values({"start": "sim"}), make_archive(side=96))
    assert (tuned.view, tuned.stem_stride, tuned.lr) == (0.5, 1, 0.03)
    assert resolve_settings(quick(), make_archive()) == quick(lr=0.05)
