"""Two processes under torchrun against one: the same batches, the same curve."""

import csv
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.training.parallel import DistributedContext

TEAM = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

DEPTH = (
    "--backbone", "shufflenet_v2_x0_5", "--set", "width=32", "--set", "stem_stride=2", "--set",
    "lr=0.005", "--set", "ema=0.9",
)  # fmt: skip
HEADS = ("--task", "heads", "--backbone", "unext_s", "--set", "shift_px=2", "--set", "lr=0.0005")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


STEPS = """
import gc, json, sys, torch
from torch.nn.parallel import DistributedDataParallel
from fgaf.model.networks.backbones import DepthNetwork
from fgaf.model.networks.fgaf import FGAFSettings
from fgaf.model.training.parallel import distributed_context

with distributed_context() as team:
    torch.manual_seed(0)
    network = DepthNetwork("shufflenet_v2_x0_5", 5, module=FGAFSettings(width=32)).double()
    stepping = team.wrap(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(4):
        images, classes = torch.randn(9, 1, 48, 48).double(), torch.randint(5, (9,))
        mine, truth = team.part(images), team.part(classes)
        loss = torch.nn.functional.cross_entropy(stepping(mine), truth)
        optimizer.zero_grad()
        (loss * (team.size * len(mine) / 9)).backward()
        optimizer.step()
        losses += team.sum([loss.item() * len(mine) / 9], "cpu")
    buffers = sum(float(b.double().sum()) for b in network.buffers())
left = sum(isinstance(each, DistributedDataParallel) for each in gc.get_objects())
try:
    stepping(mine)
    refusal = ""
except RuntimeError as error:
    refusal = str(error)
if team.leads:
    with open(sys.argv[1], "w") as told:
        json.dump({"curve": [*losses, buffers], "left": left, "refusal": refusal}, told)
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one process says of its steps, and the first of two."""
    folder = tmp_path_factory.mktemp("steps")
    script, one, two = (folder / name for name in ("steps.py", "one.json", "two.json"))
    script.write_text(STEPS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), str(one)])
        runpy.run_path(str(script))
    run(*TEAM, script, two)
    first, second = (json.loads(told.read_text()) for told in (one, two))
    return first, second


def test_steps_of_two_processes_are_those_of_one(
    steps: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """In double precision, where only a mistake could tell them apart; 9 samples part 5 to 4."""
    one, two = steps
    assert two["curve"] == pytest.approx(one["curve"], rel=1e-8)


def test_nothing_of_a_team_outlives_it_though_its_network_is_held(
    steps: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """What is left of it aborts the process at its end, in a third of all runs."""
    one, two = steps
    assert (one["left"], one["refusal"]) == (0, "")
    assert two["left"] == 0
    assert "has ended" in two["refusal"]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [DEPTH, HEADS], ids=["depth", "heads"])
def test_a_training_of_two_processes_follows_one(
    flags: tuple[str, ...], make_archive: Callable[..., Archive], tmp_path: Path
) -> None:
    """In single precision rounding grows from step to step: 1e-4 at first, a tenth later."""
    data = write_archive(tmp_path / "data.h5", make_archive(cells=10, masks=True))
    curves = []
    for name, start in (("one", []), ("two", TEAM)):
        out = tmp_path / name
        done = run(
            *start, "-m", "fgaf.model.commands.train", data, "--out", out, "--epochs", 3,
            "--threads", 1, "--set", "batch=15", *flags,
        )  # fmt: skip
        assert done.stdout.count("wrote ") == 1
        with (out / "history.csv").open() as file:
            curves.append([float(row["train_loss"]) for row in csv.DictReader(file)])
    assert curves[1][0] == pytest.approx(curves[0][0], rel=1e-4)
    assert curves[1] == pytest.approx(curves[0], rel=0.1)
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert {path.name for path in (tmp_path / "two").iterdir()} == names


def test_parts_of_a_batch_make_it_whole() -> None:
    batch = torch.arange(7)
    parts = [DistributedContext(rank, 3).part(batch) for rank in range(3)]
    assert torch.equal(torch.cat(parts), batch)
    assert np.ptp([len(part) for part in parts]) == 1
