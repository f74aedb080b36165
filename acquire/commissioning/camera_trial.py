"""Tests of the camera at full speed, and of the disk."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from fgaf.acquire.device_tables import CameraTable
from fgaf.acquire.devices import DeviceError, Devices, Frame
from fgaf.acquire.interrupt import Interrupt
from fgaf.base.errors import FgafError
from fgaf.base.files import reason

_FAILURES_IN_A_ROW = 3
_BLOCK = 4 << 20


@dataclass(frozen=True)
class FrameTrial:
    """Result of triggering frames as fast as the camera allows.

    Attributes
    ----------
    frames
        Number of complete frames.
    seconds
        Time from the first to the last, by the rig's clock.
    lost
        Frames that failed, did not arrive, or are missing in the camera's count.
    repeated
        Frames that arrived twice.
    failure
        Error of the last failed frame; empty when none failed.
    mean, saturated
        For the last frame: mean in units of full scale, and share of pixels at full scale.
    """

    frames: int
    seconds: float
    lost: int
    repeated: int
    failure: str
    mean: float
    saturated: float

    @property
    def rate_hz(self) -> float:
        """Frames per second."""
        return (self.frames - 1) / self.seconds if self.seconds > 0 else 0.0


def try_frames(
    devices: Devices, settings: CameraTable, seconds: float, interrupt: Interrupt
) -> FrameTrial:
    """Trigger frames for a time and count faults.

    The time is of the rig's clock, and at most the same real time: a simulated camera takes longer
    to draw a frame than to expose it. At least two frames are taken.

    Parameters
    ----------
    devices
        The opened rig.
    settings
        Exposure and time-out.
    seconds
        How long to trigger.
    interrupt
        Checked before every frame.

    Raises
    ------
    DeviceError
        The camera does not start, or gives no frame at all.
    """
    clock, camera = devices.clock, devices.camera
    timeout_s = settings.exposure_ms / 1e3 + settings.timeout_s
    until_ns = clock.now_ns() + round(seconds * 1e9)
    until_s = time.monotonic() + seconds
    first: Frame | None = None
    last: Frame | None = None
    frames = lost = repeated = in_a_row = 0
    failure = ""
    camera.start()
    try:
        while frames < 2 or (clock.now_ns() < until_ns and time.monotonic() < until_s):
            interrupt.check()
            try:
                frame = camera.trigger(timeout_s)
            except DeviceError as error:
                lost, in_a_row, failure = lost + 1, in_a_row + 1, str(error)
                if in_a_row == _FAILURES_IN_A_ROW:
                    break
                continue
            frames, in_a_row = frames + 1, 0
            if last is not None and frame.frame_id > last.frame_id:
                lost += frame.frame_id - last.frame_id - 1
            elif last is not None:
                repeated += 1
            first, last = first or frame, frame
    finally:
        camera.stop()
    if first is None or last is None:
        raise DeviceError(f"the camera gave no frame: {failure}")
    full = 2**camera.bit_depth - 1
    return FrameTrial(
        frames=frames,
        seconds=(last.time_host_ns - first.time_host_ns) / 1e9,
        lost=lost,
        repeated=repeated,
        failure=failure,
        mean=float(last.pixels.mean()) / full,
        saturated=float(np.mean(last.pixels >= full)),
    )


def disk_rate(folder: Path, megabytes: int) -> float:
    """Write and fsync a temporary file in `folder`, which must exist; return bytes per second.

    Parameters
    ----------
    folder
        Folder for stacks.
    megabytes
        How much to write, in units of 2**20 bytes.

    Raises
    ------
    FgafError
        The folder cannot be written, or its disk is full.
    """
    block = np.random.default_rng(0).bytes(_BLOCK)
    begun = time.perf_counter()
    written = 0
    try:
        with TemporaryFile(dir=folder) as file:
            while written < megabytes << 20:
                written += file.write(block)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FgafError(f"cannot write in {folder} ({reason(error)}); choose another") from error
    return written / (time.perf_counter() - begun)
