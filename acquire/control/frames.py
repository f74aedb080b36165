"""Checks of frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from fgaf.acquire.control.error_context import error_context
from fgaf.acquire.device_tables import CameraTable
from fgaf.acquire.devices import Camera, DeviceError, Frame


@contextmanager
def stopping(camera: Camera) -> Iterator[None]:
    """Stop the camera after the block, also after an error.

    Raises
    ------
    DeviceError
        It cannot stop, after a block without error. After an error in the block, that error is
        raised: a broken camera cannot stop either.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):
            camera.stop()
        raise
    with error_context("the camera cannot stop"):
        camera.stop()


class FrameCheck:
    """Refuses frames of another shape or type, repeated, lost, or exposed too early.

    Parameters
    ----------
    camera
        Gives the shape and type of its frames.
    settings
        Its settings.
    """

    def __init__(self, camera: Camera, settings: CameraTable) -> None:
        self._camera, self._settings = camera, settings
        self._last: Frame | None = None
        self._missing = 0

    def begin(self) -> None:
        """Forget earlier frames: the camera restarts its counter."""
        self._last = None
        self._missing = 0

    def skip(self) -> None:
        """Expect that one frame number was used by an incomplete frame."""
        self._missing += 1

    def check(self, frame: Frame, ready_ns: int | None = None) -> None:
        """Check a frame, also against the previous one.

        Parameters
        ----------
        frame
            The frame.
        ready_ns
            When the drive had settled; the exposure must not start earlier. None for no check.

        Raises
        ------
        DeviceError
            The frame is not valid; the message says why.
        """
        self._check_form(frame)
        if self._last is not None:
            self._check_next(self._last, frame)
        begun_ns = frame.time_host_ns - round(frame.exposure_us * 1e3 / 2)
        if ready_ns is not None and begun_ns < ready_ns:
            raise DeviceError(
                f"the frame was exposed {(ready_ns - begun_ns) / 1e6:.1f} ms before the drive had "
                "settled; the camera must wait for its trigger"
            )
        self._last = frame
        self._missing = 0

    def _check_form(self, frame: Frame) -> None:
        pixels, bits = frame.pixels, self._camera.bit_depth
        kind = np.dtype(np.uint8 if bits <= 8 else np.uint16)
        if pixels.shape != self._camera.shape or pixels.dtype != kind:
            raise DeviceError(
                f"the camera gave {_kind(pixels)}, not {kind}{list(self._camera.shape)}; "
                "check its pixel format and region"
            )
        if bits not in (8, 16) and int(pixels.max()) >> bits:
            raise DeviceError(
                f"the camera gave a value of {int(pixels.max())}, more than {bits} bits hold; "
                "check its pixel format"
            )

    def _check_next(self, last: Frame, frame: Frame) -> None:
        if frame.frame_id == last.frame_id:
            raise DeviceError(f"the camera gave frame {frame.frame_id} twice; restart it")
        if not 1 <= frame.frame_id - last.frame_id <= 1 + self._missing:
            raise DeviceError(
                f"frame {frame.frame_id} came after frame {last.frame_id}: the camera lost or "
                "mixed frames; check its cable and bandwidth"
            )
        if last.time_device_ns and frame.time_device_ns <= last.time_device_ns:
            raise DeviceError("the camera's clock did not advance between two frames; restart it")
        if not self._settings.allow_identical and _identical(last.pixels, frame.pixels):
            raise DeviceError(
                "the camera gave the same image twice; restart it, or set camera.allow_identical = "
                "true if its images have no noise"
            )


def _identical(last: np.ndarray[Any, Any], now: np.ndarray[Any, Any]) -> bool:
    """Compare every 64th row first: noise makes two exposures differ there already.

    Images of one value (no light, or too much) are not compared.
    """
    if not np.array_equal(last[::64], now[::64]) or not np.array_equal(last, now):
        return False
    return bool(now.min() != now.max())


def _kind(pixels: object) -> str:
    if isinstance(pixels, np.ndarray):
        return f"{pixels.dtype}{list(pixels.shape)}"
    return type(pixels).__name__
