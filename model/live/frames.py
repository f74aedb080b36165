"""Frames from the camera to the loop: only a few wait, and the oldest are dropped."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, Self

from fgaf.acquire.control.error_context import failures_of
from fgaf.acquire.control.frames import FrameCheck
from fgaf.acquire.device_tables import CameraTable
from fgaf.acquire.devices import (
    Camera,
    Clock,
    DeviceError,
    Devices,
    Frame,
    IncompleteFrameError,
    StreamingCamera,
    WallClock,
)
from fgaf.acquire.interrupt import Interrupt
from fgaf.model.live.polled import Polled

_log = logging.getLogger(__name__)

WAITING: Final = 2
"""Maximum number of waiting frames."""

_LOOK_S: Final = 0.05
_STEP_S: Final = 0.002


@dataclass(frozen=True)
class Arrival:
    """A frame, and the number of frames lost before it.

    Attributes
    ----------
    frame
        The frame from the camera.
    arrived_ns
        When it came, ns since the epoch.
    dropped
        Frames dropped or lost since the last one that was returned.
    """

    frame: Frame
    arrived_ns: int
    dropped: int


class Frames(Protocol):
    """Source of frames for the loop; it runs while its ``with`` block lasts."""

    def next(self) -> Arrival:
        """Wait for the next frame.

        Raises
        ------
        DeviceError
            The camera or the drive is gone, does not answer, or gives invalid data.
        InterruptError
            A stop was requested.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def frames_of(
    devices: Devices,
    settings: CameraTable,
    polled: Sequence[Polled],
    interrupt: Interrupt,
    processing_s: float | None = None,
) -> Frames:
    """Choose how frames are taken: by a thread in real time, by the loop in simulated time.

    Parameters
    ----------
    devices
        The open devices.
    settings
        How the camera is used.
    polled
        Drive and stage, whose positions are read while frames are awaited.
    interrupt
        Ends the waits.
    processing_s
        Simulated time from one returned frame to the next request; None for the real time that
        passed.
    """
    feed = _Feed(devices.camera, settings)
    if isinstance(devices.clock, WallClock):
        return GrabbedFrames(feed, devices.clock, polled, interrupt)
    return SteppedFrames(feed, devices.clock, polled, interrupt, processing_s)


class _Feed:
    """One camera, streaming where possible, else triggered; incomplete frames are skipped."""

    def __init__(self, camera: Camera, settings: CameraTable) -> None:
        self._camera = camera
        self._streaming = camera if isinstance(camera, StreamingCamera) else None
        self._check = FrameCheck(camera, settings)
        self.timeout_s = settings.timeout_s + settings.exposure_ms / 1e3
        if self._streaming is not None:
            self.timeout_s += self._streaming.frame_interval_s

    def start(self) -> None:
        if self._streaming is not None:
            self._streaming.stream(latest=True)
        else:
            self._camera.start()

    def stop(self) -> None:
        with suppress(Exception):  # a camera that is gone cannot stop either
            self._camera.stop()

    def take(self, patience_s: float) -> Frame | None:
        """Take a frame within the timeout, or None; a triggered camera always gives one."""
        try:
            with failures_of("the camera"):
                if self._streaming is None:
                    frame: Frame | None = self._camera.trigger(self.timeout_s)
                else:
                    frame = self._streaming.next_frame(patience_s)
        except IncompleteFrameError as error:
            _log.info("%s", error)
            return None
        if frame is not None:
            self._check.begin()  # frame numbers may skip here: missing frames are counted
            self._check.check(frame)
        return frame

    def silent(self) -> DeviceError:
        return DeviceError(
            f"the camera gave no frame for {self.timeout_s:g} s; check its cable and its trigger"
        )


class _Counter:
    """Counts the frames missing between the returned ones."""

    def __init__(self) -> None:
        self._last: int | None = None

    def missing(self, frame: Frame) -> int:
        missing = 0 if self._last is None else max(0, frame.frame_id - self._last - 1)
        self._last = frame.frame_id
        return missing


class GrabbedFrames:
    """A thread takes frames as they come; when the loop is late, the oldest is dropped.

    Parameters
    ----------
    feed, clock, polled, interrupt
        See `frames_of`.
    """

    def __init__(
        self, feed: _Feed, clock: Clock, polled: Sequence[Polled], interrupt: Interrupt
    ) -> None:
        self._feed, self._clock = feed, clock
        self._polled, self._interrupt = polled, interrupt
        self._waiting: deque[tuple[Frame, int]] = deque(maxlen=WAITING)
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._counter = _Counter()
        self._thread = threading.Thread(target=self._grab, name="frames", daemon=True)

    def __enter__(self) -> Self:
        for device in self._polled:
            device.start()
        self._feed.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(self._feed.timeout_s)
        self._feed.stop()
        for device in self._polled:
            device.stop()

    def next(self) -> Arrival:
        """Wait for the next frame; see `Frames`."""
        deadline_s = time.monotonic() + self._feed.timeout_s + 1
        while True:
            self._interrupt.check()
            with self._news:
                if not self._waiting and self._error is None:
                    self._news.wait(_LOOK_S)
                if self._error is not None:
                    raise self._error
                if self._waiting:
                    frame, arrived_ns = self._waiting.popleft()
                    return Arrival(frame, arrived_ns, self._counter.missing(frame))
            if time.monotonic() > deadline_s:  # the driver itself hangs
                raise self._feed.silent()

    def _grab(self) -> None:
        last_s = time.monotonic()
        try:
            while not self._ended.is_set():
                frame = self._feed.take(_LOOK_S)
                if frame is not None:
                    last_s = time.monotonic()
                    with self._news:
                        self._waiting.append((frame, self._clock.now_ns()))
                        self._news.notify()
                elif time.monotonic() - last_s > self._feed.timeout_s:
                    raise self._feed.silent()
        except Exception as error:
            with self._news:
                self._error = error
                self._news.notify()


class SteppedFrames:
    """In simulated time the newest frame is taken on request.

    Parameters
    ----------
    feed, clock, polled, interrupt, processing_s
        See `frames_of`.
    """

    def __init__(
        self,
        feed: _Feed,
        clock: Clock,
        polled: Sequence[Polled],
        interrupt: Interrupt,
        processing_s: float | None,
    ) -> None:
        self._feed, self._clock = feed, clock
        self._polled, self._interrupt = polled, interrupt
        self._processing_s = processing_s
        self._handed_s: float | None = None
        self._counter = _Counter()

    def __enter__(self) -> Self:
        self._look()
        self._feed.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.stop()

    def next(self) -> Arrival:
        """Advance the clock by the last frame's processing time, then wait; see `Frames`."""
        if self._handed_s is not None and self._processing_s is None:
            self._clock.sleep(time.perf_counter() - self._handed_s)
        deadline_ns = self._clock.now_ns() + round(self._feed.timeout_s * 1e9)
        frame = None
        while frame is None:
            self._interrupt.check()
            self._look()
            frame = self._feed.take(_STEP_S)
            if frame is None and self._clock.now_ns() > deadline_ns:
                raise self._feed.silent()
        self._look()
        arrived_ns = self._clock.now_ns()
        if self._processing_s is not None:
            self._clock.sleep(self._processing_s)
        self._handed_s = time.perf_counter()
        return Arrival(frame, arrived_ns, self._counter.missing(frame))

    def _look(self) -> None:
        for device in self._polled:
            device.look()
