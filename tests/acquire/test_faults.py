"""Faults that have no other place, and the page that lists them all."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgaf import FgafError, SettingError
from fgaf.acquire import (
    Frame,
    IncompleteFrameError,
    Interrupt,
    Rig,
    StackPlan,
    WallClock,
    load_rig,
    open_rig,
    record_stacks,
    stack_paths,
)
from fgaf.acquire.recording.timelapse import Timelapse
from fgaf.dataset import RawHeader, RawStack, RawWriter, recover

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
PLAN = StackPlan(0.5, 1.0)


class IncompleteAt:
    """The rig's camera, of which some exposures come in half."""

    def __init__(self, camera: Any, *numbers: int) -> None:
        self._camera, self._numbers, self._count = camera, numbers, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)

    def trigger(self, timeout_s: float) -> Frame:
        frame: Frame = self._camera.trigger(timeout_s)
        self._count += 1
        if self._count in self._numbers:
            raise IncompleteFrameError("half a frame came")
        return frame


def test_incomplete_frames_are_exposed_again_and_counted(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fgaf")
    (path,) = stack_paths(tmp_path, name="x")
    with open_rig(rig) as devices:
        devices.camera = IncompleteAt(devices.camera, 2, 5, 6)
        recorded = record_stacks(devices, rig, PLAN, [path])
    assert recorded.retried == 3
    again = [line[-12:] for line in caplog.messages if "half a frame came; exposed" in line]
    assert again == [f"retry {each} of 2" for each in (1, 1, 2)]
    with RawStack.open(path) as stack:
        assert stack.planes["frame_id"].tolist() == [0, 2, 3, 6, 7]
        assert np.abs(stack.z_um - list(PLAN)).max() < 0.1


@pytest.mark.parametrize("retries", [0, 2])
def test_frames_that_stay_incomplete_are_an_error(
    retries: int, small: tuple[str, ...], tmp_path: Path
) -> None:
    rig = load_rig("sim", (*small, f"camera.retries={retries}"))
    with open_rig(rig) as devices:
        devices.camera = IncompleteAt(devices.camera, 2, 3, 4)
        says = rf"plane 2 of 5 .*half a frame came \(after {retries} more\); 1 plane is kept"
        with pytest.raises(FgafError, match=says):
            record_stacks(devices, rig, PLAN, stack_paths(tmp_path, name="x"))


def test_a_stepping_system_clock_neither_shifts_stamps_nor_breaks_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = WallClock()
    before = clock.now_ns()
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600_000_000_000)
    clock.sleep(0.001)
    assert 1_000_000 <= clock.now_ns() - before < 5_000_000_000


def test_a_stack_that_begins_late_is_told_and_none_is_left_out(rig: Rig, tmp_path: Path) -> None:
    paths = stack_paths(tmp_path, 3, "x")
    with open_rig(rig) as devices:
        on_time = record_stacks(devices, rig, PLAN, paths, every_s=5.0)
        begun = []
        for path in paths:
            with RawStack.open(path) as stack:
                begun.append(int(stack.planes["time_host_ns"][0]))
        late = record_stacks(devices, rig, PLAN, paths, every_s=0.01, overwrite=True)
    assert on_time.late == ()
    assert np.allclose(np.diff(begun) / 1e9, 5.0, atol=0.2)
    assert [each.number for each in late.late] == [2, 3]
    assert late.late[1].seconds > late.late[0].seconds > 0.1


def test_the_drive_rests_where_it_was_between_stacks(rig: Rig, tmp_path: Path) -> None:
    with open_rig(rig) as devices:
        stage: Any = devices.stage
        seen: list[float] = []

        class Watched:
            def now_ns(self) -> int:
                return devices.clock.now_ns()

            def sleep(self, seconds: float) -> None:
                if seconds == 0.1:
                    seen.append(stage.objective_um(devices.clock.now_ns()))
                devices.clock.sleep(seconds)

        watched = replace(devices, clock=Watched())
        record_stacks(watched, rig, PLAN, stack_paths(tmp_path, 2, "x"), every_s=5.0)
    assert len(seen) > 10
    assert max(map(abs, seen)) < 0.2


def test_a_negative_interval_is_refused() -> None:
    with pytest.raises(SettingError, match="give 0 or more seconds"):
        Timelapse(-1.0, WallClock(), Interrupt())


def test_a_series_that_fills_the_disk_says_how_many_were_done(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([10**9] * 4 + [10**4] * 2 + [0] * 9)
    monkeypatch.setattr("fgaf.base.files.free_bytes", lambda _path: next(left))
    paths = stack_paths(tmp_path, 4, "x")
    says = r"free some space.*; \d of 4 stacks were done; the drive is back"
    with open_rig(rig) as devices, pytest.raises(FgafError, match=says):
        record_stacks(devices, rig, PLAN, paths)


PLANES, SHAPE = 6, (64, 64)


def broken_run(folder: Path, compress: bool = False) -> tuple[Path, np.ndarray]:
    """A .part with all planes written, as a power loss finds it before publication."""
    pixels = np.random.default_rng(1).integers(0, 255, (PLANES, *SHAPE), dtype=np.uint8)
    header = RawHeader.new(step_um=0.5, half_range_um=1.25, center_um=0.0, bit_depth=8)
    path = folder / "x.stack.h5"
    with RawWriter(path, header, pixels.shape, np.uint8, compress=compress) as writer:
        for plane, frame in enumerate(pixels):
            writer.write(
                plane,
                frame,
                z_requested_um=plane / 2,
                z_measured_um=plane / 2 + 0.01,
                time_device_ns=1000 + plane,
                time_host_ns=2000 + plane,
                frame_id=plane + 3,
                exposure_us=5000.0,
            )
        return writer.part, pixels


def check_recovered(part: Path, pixels: np.ndarray) -> int:
    """Recover what there is: nothing, or planes that are exactly right."""
    try:
        found = recover(part, overwrite=True)
    except FgafError:
        return 0
    with RawStack.open(found.path) as stack:
        stack.verify()
        held = stack.n_planes
        assert stack.header.complete == (held == PLANES)
        np.testing.assert_array_equal(stack.frames[:], pixels[:held])
        columns = {name: stack.planes[name].tolist() for name in stack.planes}
    assert columns["z_measured_um"] == [plane / 2 + 0.01 for plane in range(held)]
    assert columns["z_requested_um"] == [plane / 2 for plane in range(held)]
    assert columns["time_host_ns"] == [2000 + plane for plane in range(held)]
    assert columns["frame_id"] == [3 + plane for plane in range(held)]
    return held


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("losses", [30, pytest.param(120, marks=pytest.mark.slow)])
def test_after_a_power_loss_what_is_recovered_is_exactly_right(
    losses: int, compress: bool, tmp_path: Path
) -> None:
    """The system had not yet written some blocks: they are zero, or beyond the file's end."""
    part, pixels = broken_run(tmp_path, compress)
    whole = part.read_bytes()
    random = np.random.default_rng(2026)
    held = []
    for run in range(losses):
        folder = tmp_path / str(run)
        folder.mkdir()
        damaged = bytearray(whole)
        if run % 3 == 0:
            del damaged[int(random.integers(len(whole))) :]
        elif run % 3 == 1:
            start = int(random.integers(len(whole)))
            damaged[start:] = bytes(len(whole) - start)
        else:
            block = 512 * int(random.integers(len(whole) // 512))
            damaged[block : block + 512] = bytes(len(whole[block : block + 512]))
        copy = folder / part.name
        copy.write_bytes(damaged)
        held.append(check_recovered(copy, pixels))
        shutil.rmtree(folder)
    assert len(set(held)) > 3


def test_a_single_lost_value_ends_what_is_recovered(tmp_path: Path) -> None:
    part, pixels = broken_run(tmp_path)
    whole = part.read_bytes()
    value = np.float64(2 / 2 + 0.01).tobytes()
    assert whole.count(value) == 1
    part.write_bytes(whole.replace(value, bytes(8)))
    assert check_recovered(part, pixels) == 2


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    defined = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^\s*def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
    }
    assert len(named) > 20
    assert named <= defined, named - defined
