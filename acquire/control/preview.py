"""The newest frame, with its sharpness and exposure."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.control.frames import FrameCheck
from fgaf.acquire.device_tables import CameraTable
from fgaf.acquire.devices import (
    DeviceError,
    Devices,
    Frame,
    IncompleteFrameError,
    StreamingCamera,
)
from fgaf.acquire.interrupt import Interrupt, InterruptError

_log = logging.getLogger(__name__)

_BINS = 48
_SHADES = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Look:
    """Statistics of a frame.

    Attributes
    ----------
    sharpness
        Mean squared gradient over the squared mean: the same for any exposure; largest in focus.
    counts
        Histogram over the camera's whole range, 48 bins.
    median
        Median value.
    saturated
        Share of pixels at the highest value, 0 to 1.
    """

    sharpness: float
    counts: npt.NDArray[np.int64]
    median: float
    saturated: float

    @classmethod
    def at(cls, pixels: npt.NDArray[Any], bit_depth: int) -> Look:
        """Compute the statistics of an image (Y, X).

        Parameters
        ----------
        pixels
            (Y, X) image.
        bit_depth
            Bit depth of the image.
        """
        values = np.bincount(pixels.ravel(), minlength=1 << bit_depth)
        image = pixels.astype(np.float32)
        gradient = np.mean(np.diff(image, axis=0) ** 2) + np.mean(np.diff(image, axis=1) ** 2)
        edges = np.arange(_BINS) * len(values) // _BINS
        return cls(
            sharpness=float(gradient / max(float(image.mean()) ** 2, 1e-12)),
            counts=np.add.reduceat(values, edges),
            median=float(np.searchsorted(np.cumsum(values), pixels.size / 2)),
            saturated=float(values[-1] / pixels.size),
        )

    def bars(self) -> str:
        """Draw the histogram in one line of text, heights by the square root of the counts."""
        heights = np.sqrt(self.counts / max(1, self.counts.max()))
        return "".join(_SHADES[round(height * (len(_SHADES) - 1))] for height in heights)


class Preview:
    """Shows the live camera image: only the newest frame, older ones are dropped.

    A camera that cannot run free is triggered. Incomplete frames are skipped.

    Parameters
    ----------
    devices
        The open devices; the drive is not used.
    camera
        Settings of the camera.
    interrupt
        Ends the preview.

    Attributes
    ----------
    incomplete
        Number of incomplete frames so far.
    """

    def __init__(self, devices: Devices, camera: CameraTable, interrupt: Interrupt) -> None:
        self.incomplete = 0
        self._camera, self._settings, self._interrupt = devices.camera, camera, interrupt
        self._check = FrameCheck(devices.camera, camera)

    def frames(self, limit: int | None = None) -> Iterator[Frame]:
        """Yield the newest frame repeatedly, until `limit` or until a stop is requested.

        Raises
        ------
        DeviceError
            The camera gives no frame within the time-out, or fails.
        """
        streaming = self._camera if isinstance(self._camera, StreamingCamera) else None
        timeout_s = self._settings.exposure_ms / 1e3 + self._settings.timeout_s
        shown = 0
        try:
            if streaming is not None:
                streaming.stream(latest=True)
            else:
                self._camera.start()
            while limit is None or shown < limit:
                self._interrupt.check()
                self._check.begin()
                try:
                    frame = (
                        streaming.next_frame(timeout_s + streaming.frame_interval_s)
                        if streaming is not None
                        else self._camera.trigger(timeout_s)
                    )
                except IncompleteFrameError as error:
                    self.incomplete += 1
                    _log.info("%s", error)
                    continue
                if frame is None:
                    raise DeviceError(f"the camera gave no frame for {timeout_s:g} s")
                self._check.check(frame)
                shown += 1
                yield frame
        except InterruptError:
            return
        finally:
            with suppress(DeviceError):  # a camera that is gone cannot stop either
                self._camera.stop()
