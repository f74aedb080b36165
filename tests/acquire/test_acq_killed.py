"""A real `acq stack` process, ended from outside."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import pytest

from fgaf import FgafError
from fgaf.dataset import RawStack, recover

KILLS, MANY_KILLS = 3, 20
EMPTY = (
    "simulation.shape=[48, 64]",
    "simulation.cells=0",
    "simulation.debris=0",
    "simulation.round_cells=0",
)
PLANES = 481
LONG = ("--range", "120")
PATIENCE_S = 60.0

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


@contextmanager
def running(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `acq stack --out folder --name x` on an empty field; it never outlives the block."""
    program = [Path(sys.executable).with_name("acq"), "stack", "--out", folder, "--name", "x"]
    overrides = [word for setting in EMPTY for word in ("--set", setting)]
    process = subprocess.Popen(
        [*program, *overrides, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYLON_CAMEMU": "0"},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something the process does, or for its end."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def held_by_a_copy(part: Path, folder: Path) -> int:
    """Count the planes that are in the file now, seen through a copy: never too many."""
    copy = folder / part.name
    try:
        shutil.copyfile(part, copy)
        with h5py.File(copy) as file:
            return int((file["planes/frame_id"][:] >= 0).sum())
    except (KeyError, OSError):
        return 0


@pytest.mark.parametrize(
    ("words", "kills"),
    [
        pytest.param((), KILLS, id="plain"),
        pytest.param(("--compress",), KILLS, id="compressed"),
        pytest.param((), MANY_KILLS, id="plain, many", marks=pytest.mark.slow),
        pytest.param(("--compress",), MANY_KILLS, id="compressed, many", marks=pytest.mark.slow),
    ],
)
def test_sigkill_at_random_moments_publishes_no_part_and_loses_no_plane(
    words: tuple[str, ...], kills: int, tmp_path: Path
) -> None:
    moments = random.Random(2026)
    recovered = []
    for run in range(kills):
        folder, copies = tmp_path / f"{run}", tmp_path / f"{run}-copies"
        folder.mkdir()
        copies.mkdir()
        stack, part = folder / "x.stack.h5", folder / "x.stack.h5.part"
        with running(folder, *LONG, *words) as process:
            wait_for(part.exists, process)
            seen, enough = 0, min(moments.randint(0, PLANES + 40), PLANES)
            while seen < enough and process.poll() is None:
                seen = max(seen, held_by_a_copy(part, copies))
            process.kill()
        if not stack.exists():
            try:
                recovered.append(recover(part).planes)
            except FgafError:
                recovered.append(0)
            assert recovered[-1] >= seen
        if stack.exists():
            with RawStack.open(stack) as published:
                published.verify()
                assert published.header.complete == (published.n_planes == PLANES)
                frames = published.planes["frame_id"].tolist()
            assert frames == list(range(recovered[-1] if len(frames) < PLANES else PLANES))
    assert sum(0 < planes < PLANES for planes in recovered) >= max(1, kills // 4)


SIGNALS = [
    pytest.param(("SIGINT",), id="Ctrl-C"),
    pytest.param(("SIGTERM",), id="SIGTERM", marks=pytest.mark.slow),
    pytest.param(("SIGHUP",), id="a closed terminal"),
    pytest.param(("SIGINT", "SIGINT"), id="Ctrl-C twice", marks=pytest.mark.slow),
    pytest.param(("SIGTERM", "SIGTERM", "SIGHUP", "SIGINT"), id="SIGTERM twice and more"),
]


@pytest.mark.parametrize("names", SIGNALS)
def test_a_signal_stops_the_run_politely(names: tuple[str, ...], tmp_path: Path) -> None:
    part, copies = tmp_path / "x.stack.h5.part", tmp_path / "copies"
    copies.mkdir()
    number = signal.Signals[names[0]]
    with running(tmp_path, "--range", "60", "--realtime", "--center", "1") as process:
        wait_for(lambda: held_by_a_copy(part, copies) > 2, process)
        for each in names:
            process.send_signal(signal.Signals[each])
            time.sleep(0.03)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number, errors
    assert errors.startswith(f"error: stopped by {number.name} at plane ")
    assert errors.endswith("; the drive is back at 0.000 µm\n")
    assert errors.count("\n") == 1
    assert f"acq recover {part}" in errors
    assert not (tmp_path / "x.stack.h5").exists()
    found = recover(part)
    assert f"; {found.planes} planes are kept" in errors


def test_ctrl_c_before_the_first_frame_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "raw"
    with running(folder, "--realtime", "--exposure-ms", "20000") as process:
        wait_for((folder / "x.stack.h5.part").exists, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, errors
    assert "no plane was kept" in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [("--set", "camera.driver=basler"), ("--set", "camera.driver=mmcore"), ("--range", "1e6")],
    ids=["no Basler camera", "no Micro-Manager camera", "beyond the limits"],
)
def test_a_start_that_fails_leaves_neither_file_nor_folder(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    with running(tmp_path / "new" / "raw", *words) as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (1, 2)
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
