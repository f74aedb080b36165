"""A thread that writes planes while the drive moves on."""

from __future__ import annotations

import logging
import queue
import threading
from types import TracebackType
from typing import Self

from fgaf.acquire.control.engine import Exposure
from fgaf.base.errors import FgafError
from fgaf.dataset.raw import RawWriter

_log = logging.getLogger(__name__)

_WAITING_BYTES = 128_000_000
_FEWEST, _MOST = 4, 64


class BackgroundWriter:
    """Passes exposures to a `RawWriter` in its own thread, in order.

    While the queue is more than half full, planes are written uncompressed, so that compression
    never causes a lost frame.

    Leaving the ``with`` block waits until all queued planes are written, also after an error:
    earlier exposures are kept.

    Parameters
    ----------
    writer
        The open file; used by the thread only, until the block ends.
    depth
        Maximum number of waiting frames: it sets the memory use and the longest disk delay it can
        bridge. By default as many as fit into 128 MB, but from 4 to 64.
    timeout_s
        Longest wait, in real time, for space in the queue and for its end.
    """

    def __init__(
        self, writer: RawWriter, depth: int | None = None, timeout_s: float = 30.0
    ) -> None:
        self._writer = writer
        self._timeout_s = timeout_s
        self._waiting: queue.Queue[Exposure | None] = queue.Queue(
            depth or min(max(_WAITING_BYTES // writer.plane_bytes, _FEWEST), _MOST)
        )
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="plane writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._finish()
        except FgafError:
            if error is None:
                raise

    @property
    def n_waiting(self) -> int:
        """Exposures in memory that are not yet written."""
        return self._waiting.qsize()

    def put(self, exposure: Exposure) -> None:
        """Queue the next plane.

        Raises
        ------
        FgafError
            An earlier plane could not be written, or the disk is too slow.
        """
        self._check()
        self._enqueue(exposure)

    def _finish(self) -> None:
        self._enqueue(None)
        self._thread.join(self._timeout_s)
        if self._thread.is_alive():
            raise self._too_slow()
        self._check()

    def _enqueue(self, exposure: Exposure | None) -> None:
        try:
            self._waiting.put(exposure, timeout=self._timeout_s)
        except queue.Full:
            raise self._too_slow() from None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _too_slow(self) -> FgafError:
        return FgafError(
            f"the disk of {self._writer.path} has not taken a plane for {self._timeout_s:g} s; "
            "write to a faster one"
        )

    def _run(self) -> None:
        """Write until the end mark; after an error only empty the queue, so that nothing blocks."""
        while (exposure := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self._write(exposure)
                except Exception as error:
                    _log.info("plane %d cannot be written", exposure.plane + 1, exc_info=True)
                    self._error = error

    def _write(self, exposure: Exposure) -> None:
        frame = exposure.frame
        self._writer.write(
            exposure.plane,
            frame.pixels,
            z_requested_um=exposure.z_requested_um,
            z_measured_um=exposure.z_measured_um,
            time_device_ns=frame.time_device_ns,
            time_host_ns=frame.time_host_ns,
            frame_id=frame.frame_id,
            exposure_us=frame.exposure_us,
            hurry=self.n_waiting > self._waiting.maxsize // 2,
        )
