"""Frames from the camera to the loop: drops counted, oldest first, faults in one line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fgaf.acquire import DeviceError, Devices, Interrupt, InterruptError, Rig, load_rig, open_rig
from fgaf.acquire.control.drive import Drive
from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.model.live.focus import Focus
from fgaf.model.live.frames import WAITING, Frames, frames_of

SETTINGS = CameraTable(driver="memory", timeout_s=0.3)


def focus_of(devices: Devices) -> Focus:
    settings = StageTable(driver="memory")
    return Focus(Drive(devices.stage, devices.clock, settings, Interrupt()))


def frames(devices: Devices, interrupt: Interrupt | None = None, **more: Any) -> Frames:
    focus = focus_of(devices)
    return frames_of(devices, SETTINGS, (focus,), interrupt or Interrupt(), **more)


def test_a_late_loop_drops_the_oldest_frames_and_counts_them(
    in_memory: Callable[..., Devices],
) -> None:
    devices = in_memory(interval_s=0.002)
    camera: Any = devices.camera
    got, dropped = [], 0
    with frames(devices) as source:
        for _ in range(5):
            arrival = source.next()
            dropped += arrival.dropped
            got.append(arrival.frame.frame_id)
            newest = camera.given[-1]
            deadline = time.monotonic() + 10
            while camera.given[-1] < newest + 10:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            arrival = source.next()
            dropped += arrival.dropped
            assert arrival.frame.frame_id >= newest + 10 - WAITING
    assert got == sorted(got)
    assert dropped > 0


def test_every_frame_is_handed_out_or_counted(in_memory: Callable[..., Devices]) -> None:
    devices = in_memory(interval_s=0.001)
    handed, dropped, first, last = 0, 0, None, 0
    with frames(devices) as source:
        for number in range(30):
            arrival = source.next()
            first = arrival.frame.frame_id if first is None else first
            last = arrival.frame.frame_id
            handed, dropped = handed + 1, dropped + arrival.dropped
            time.sleep(0.004 if number % 3 == 0 else 0)
    assert handed + dropped == last - (first or 0) + 1


def take_all(source: Frames) -> None:
    while True:
        source.next()


@dataclass(frozen=True)
class Fault:
    """A camera that breaks at its third frame, and what is said of it."""

    name: str
    says: str
    camera: dict[str, Any]


FAULTS = [
    Fault("gone", "unplugged", {"error": DeviceError("the camera was unplugged")}),
    Fault("foreign error", r"the camera failed: OSError", {"error": OSError("no such device")}),
    Fault("silent", r"gave no frame for 0\.31 s; check its cable", {}),
    Fault(
        "another size",
        r"gave uint8\[64, 64\], not uint8\[128, 160\]; check its pixel format and region",
        {"instead": np.zeros((64, 64), np.uint8)},
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_camera_that_fails_ends_the_run_in_one_line(
    fault: Fault, in_memory: Callable[..., Devices]
) -> None:
    devices = in_memory(breaks_at=3, **fault.camera)
    with pytest.raises(DeviceError, match=fault.says), frames(devices) as source:
        take_all(source)


def test_a_stop_ends_the_wait(in_memory: Callable[..., Devices]) -> None:
    interrupt = Interrupt()
    with frames(in_memory(), interrupt) as source:
        source.next()
        interrupt.request()
        with pytest.raises(InterruptError):
            source.next()


def test_in_simulated_time_slow_processing_drops_frames(rig: Rig) -> None:
    interval_s = 0.024
    for processing_s, most in ((0.005, 0), (0.1, 6)):
        with open_rig(rig) as devices, frames(devices, processing_s=processing_s) as source:
            arrivals = [source.next() for _ in range(4)]
        dropped = sum(arrival.dropped for arrival in arrivals)
        assert dropped == 0 if most == 0 else dropped > most
        ages = [(a.arrived_ns - a.frame.time_host_ns) / 1e9 for a in arrivals]
        assert max(ages) < 2.2 * interval_s


def test_where_the_drive_was_is_known_in_simulated_time() -> None:
    rig = load_rig(
        "sim", ["simulation.shape=[96, 96]", "simulation.cells=0", "stage.options.start_um=7"]
    )
    with open_rig(rig) as devices:
        focus = focus_of(devices)
        with frames_of(devices, SETTINGS, (focus,), Interrupt(), 0.001) as source:
            arrival = source.next()
            assert focus.at(arrival.frame.time_host_ns) == pytest.approx(7.0, abs=0.1)
