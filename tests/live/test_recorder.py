"""Results on disk: whole when published, readable when the run was killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from fgaf import ExistsError, FgafError
from fgaf.model.live import LiveFrame
from fgaf.model.live.growing_file import PART
from fgaf.model.live.recorder import Recorder
from tests.growing import kill_while_growing

ENDLESS = """
import sys, time
from pathlib import Path
import numpy as np
from fgaf.model.live.message import LiveCell, LiveFrame
from fgaf.model.live.recorder import Recorder

cell = LiveCell(1, True, 1.0, 2.0, 0.0, 0.0, 0.9, 0.1, 0.5, 0.2, True, -0.5, 0.1, 0.0)
with Recorder(Path(sys.argv[1]), {"model": "x"}) as recorder:
    number = 0
    while True:
        recorder.put(
            LiveFrame(
                number, number, number, 1.0, 0.0, 0, 41.0, 1.0, 2.0, None, None, False,
                (cell,), np.zeros((4, 4), np.uint8),
            )
        )
        number += 1
        time.sleep(0.001)
"""


def test_a_recording_holds_every_frame_and_cell(
    result: Callable[..., LiveFrame], tmp_path: Path
) -> None:
    path = tmp_path / "swim.h5"
    with Recorder(path, {"model": "run", "rig": "x = 1"}) as recorder:
        for number in range(7):
            recorder.put(result(number))
        assert not path.exists()
    assert not (tmp_path / ("swim.h5" + PART)).exists()
    with h5py.File(path) as file:
        assert file.attrs["format"] == "fgaf-live"
        assert file.attrs["complete"]
        assert file.attrs["model"] == "run"
        assert file["frames/frame_id"][:].tolist() == list(range(7))
        assert file["frames/n_cells"][:].tolist() == [2] * 7
        assert file["frames/target"][0] == 0
        assert np.isnan(file["frames/aim_um"][0])
        assert file["cells/frame"][:].tolist() == [n for n in range(7) for _ in range(2)]
        assert file["cells/id"][:4].tolist() == [1, 2, 1, 2]
        assert file["cells/z_um"][0] == -0.4
        assert file["cells/segmented"][:4].tolist() == [True, False, True, False]
        assert np.isnan(file["cells/depth_um"][1])


def test_a_run_that_failed_is_published_as_incomplete(
    result: Callable[..., LiveFrame], tmp_path: Path
) -> None:
    path = tmp_path / "swim.h5"
    recorder = Recorder(path, {})
    with pytest.raises(RuntimeError, match="broke"), recorder:
        fail_after(recorder, result())
    with h5py.File(path) as file:
        assert not file.attrs["complete"]
        assert len(file["frames/frame_id"]) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_without_a_frame_leaves_nothing(fails: bool, tmp_path: Path) -> None:
    path = tmp_path / "new" / "swim.h5"
    with suppress(RuntimeError), Recorder(path, {}):
        if fails:
            raise RuntimeError("the camera broke")
    assert list(tmp_path.iterdir()) == []


def fail_after(recorder: Recorder, frame: LiveFrame) -> None:
    recorder.put(frame)
    raise RuntimeError("the camera broke")


def test_a_file_that_is_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "swim.h5"
    path.write_bytes(b"mine")
    with pytest.raises(FgafError, match="exists already"):
        Recorder(path, {})
    path.with_name("swim.h5.part").write_bytes(b"left")
    path.unlink()
    with pytest.raises(FgafError, match="left from a killed run"):
        Recorder(path, {})


def test_a_recording_under_way_is_not_taken_for_one_that_broke(tmp_path: Path) -> None:
    path = tmp_path / "swim.h5"
    with Recorder(path, {}), pytest.raises(ExistsError, match="is being written by another"):
        Recorder(path, {}, overwrite=True)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_run_leaves_a_readable_part(tmp_path: Path) -> None:
    part = kill_while_growing(ENDLESS, tmp_path / "swim.h5", "cells")
    with h5py.File(part) as file:
        assert len(file["frames/frame_id"]) > 0
        assert not file.attrs["complete"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_ends_a_recording_with_one_line(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
    command = [sys.executable, "-c", limit + ENDLESS, str(tmp_path / "swim.h5")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "FgafError: cannot write " in last
    assert "File too large" in last
    assert not (tmp_path / "swim.h5").exists()
