"""Trials on disk: readable when the run was killed, bounded, whole when published."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fgaf.model.aspirate import trial_file
from fgaf.model.aspirate.command import Command, Event, Outcome, Result, State
from fgaf.model.aspirate.loop import Step
from fgaf.model.aspirate.observation import Observation, Tip
from fgaf.model.aspirate.trial_file import TrialFile
from fgaf.model.live.message import LiveCell, LiveFrame
from tests.growing import kill_while_growing

ENDLESS = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_trial_file import step
from fgaf.model.aspirate.trial_file import TrialFile

with TrialFile(Path(sys.argv[1]), {}) as file:
    number = 0
    while True:
        file.record(step(number))
        number += 1
        time.sleep(0.001)
"""


def step(number: int, state: State = State.WATCH, **more: Any) -> Step:
    """One frame of a trial."""
    cell = LiveCell(5, True, 40.0, 50.0, 1.0, 2.0, 0.9, 1.0, z_um=3.0, z_error_um=0.1)
    pixels = np.full((300, 400), number % 256, np.uint8)
    frame = LiveFrame(
        *(number, 10 * number, 10 * number + 5, 5.0, 1.0, 0, 41.0, 5.0, 6.0, 5, None, False),
        (cell,),
        pixels,
    )
    tip = Tip(150.0, 390.0, 2.5, 0.0, 1.0)
    seen = Observation(10 * number, (cell,), tip, 40.0, False, 1.2)
    command = Command(state, 1, target=5, flow_nl_s=1.2, **more)
    return Step(frame, seen, command, (1.0, 2.0, 40.0), 10 * number + 6)


def test_a_file_holds_frames_results_events_and_video(tmp_path: Path) -> None:
    path = tmp_path / "trials.h5"
    result = Result(1, 5, Outcome.ASIDE, "it passed", 0, 90, miss_um=0.5)
    with TrialFile(path, {"rig": "x = 1"}) as file:
        file.record(step(0, State.CHOOSE))
        for number in range(1, 9):
            file.record(step(number))
        event = Event(90, 1, State.RETREAT, "missed aside: it passed")
        file.record(step(9, State.RETREAT, result=result, events=(event,)))
    with h5py.File(path) as read:
        assert read.attrs["complete"]
        assert read.attrs["rig"] == "x = 1"
        assert read["frames/state"].asstr()[:].tolist() == [
            *("choose", *["watch"] * 8, "retreat"),
        ]
        assert read["frames/cell_z_um"][:].tolist() == [3.0] * 10
        assert np.isnan(read["frames/wanted_height_um"][:]).all()
        assert read["trials/outcome"].asstr()[0] == "missed aside"
        assert read["trials/miss_um"][0] == 0.5
        assert read["trials/entered_ns"][0] == -1
        assert read["events/text"].asstr()[0] == "missed aside: it passed"
        video = read["video/0001"]
        assert video["frame"][:].tolist() == list(range(1, 10))
        assert video["pixels"][:, 0, 0].tolist() == list(range(1, 10))
        assert video["corner"][0].tolist() == [22, 144]


def test_the_video_of_a_trial_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_file, "_MOST_FRAMES", 4)
    path = tmp_path / "trials.h5"
    with TrialFile(path, {}) as file:
        for number in range(10):
            file.record(step(number))
    with h5py.File(path) as read:
        video = read["video/0001"]
        assert len(read["frames/frame_id"]) == 10
        assert sorted(video["frame"][:]) == [6, 7, 8, 9]
        assert (video["pixels"][:, 0, 0] == video["frame"][:]).all()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_run_leaves_a_readable_part(tmp_path: Path) -> None:
    part = kill_while_growing(ENDLESS, tmp_path / "trials.h5", "frames", str(Path(__file__).parent))
    with h5py.File(part) as file:
        assert not file.attrs["complete"]
        assert len(file["frames/frame_id"]) > 0
        assert len(file["video/0001/pixels"]) > 0
