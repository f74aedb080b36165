"""A camera as fast as it goes, and the disk that has to take it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from fgaf.acquire.devices import DeviceError, Devices, Frame
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import CameraTable
from fgaf.base.errors import FgafError
from fgaf.base.files import reason

_FAILURES_IN_A_ROW = 3
_BLOCK = 4 << 20


@dataclass(frozen=True)
class FrameTrial:
    """Frames triggered one after another, as fast as the camera goes.

    Attributes
    ----------
    frames
        Whole frames that came.
    seconds
        From the first to the last, by the rig's clock.
    lost
        Frames that failed, did not come, or are missing in the camera's count.
    repeated
        Frames that came twice.
    failure
        What the camera said of the last that failed; empty when none did.
    mean, saturated
        Of the last frame: mean in units of the full scale, and the part of its pixels at it.
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
    """Trigger frames for a time and count what does not come as it should.

    The time is that of the rig's clock, and at most as much real time: a simulated camera takes
    longer to draw a frame than to expose it. Two frames are taken at least.

    Parameters
    ----------
    devices
        The opened rig.
    settings
        Exposure and longest wait.
    seconds
        How long to trigger.
    interrupt
        Asked before every frame.

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
        raise DeviceError(f"no frame came: {failure}")
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
        Where stacks will be written.
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
