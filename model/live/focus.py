"""The focus drive during live work: its position at each exposure, and its target."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from typing import Final

from fgaf.acquire.control.drive import Drive
from fgaf.acquire.devices import DeviceError
from fgaf.base.errors import FgafError

_REMEMBERED: Final = 256
_REST_S: Final = 0.004


class Focus:
    """Reads the drive's position repeatedly, and sends the drive to the newest target.

    A new target is sent only when the drive stands, because controllers differ in how they treat a
    command during a move. Targets beyond the limits become the limit. It is an error when the drive
    is not where its moves can have brought it; it is then not moved any more.

    In real time a separate thread communicates with the drive (`start`, `stop`), since a serial
    drive takes about a frame to answer; in simulated time the loop calls `look`.

    Parameters
    ----------
    drive
        The drive; its limits hold, and its clock stamps the positions.
    play_um
        Backlash of the drive: after a change of direction to down, the objective starts to move
        only after this distance. Positions are then those of the objective, as if pushed from
        below, and moves down go lower by this distance.

    Attributes
    ----------
    at_limit
        Whether the newest target was beyond the limits.
    """

    def __init__(self, drive: Drive, play_um: float = 0.0) -> None:
        self._drive, self._clock, self._limits_um = drive, drive.clock, drive.limits_um
        self._seen: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()
        self._target_um: float | None = None
        self._play_um = play_um
        self._objective_um: float | None = None
        self._ended = threading.Event()
        self._error: FgafError | None = None
        self._thread: threading.Thread | None = None
        self.at_limit = False

    def aim(self, z_um: float) -> float:
        """Set a target; an older target that was not sent yet is dropped.

        Returns
        -------
        float
            The target within the limits, in µm.
        """
        low, high = self._limits_um
        with self._lock:
            down = self._objective_um is not None and z_um < self._objective_um
            drive_um = z_um - self._play_um if down else z_um
            self._target_um = min(max(drive_um, low), high)
            self.at_limit = self._target_um != drive_um
            return self._target_um

    def stay(self) -> None:
        """Forget the target, unless the drive is on its way already."""
        with self._lock:
            self._target_um = None
            self.at_limit = False

    def at(self, time_ns: int) -> float:
        """Position of the drive at a time, µm, interpolated between the two readings around it.

        Raises
        ------
        DeviceError
            The drive is gone.
        """
        if self._error is not None:
            raise self._error
        with self._lock:
            seen = list(self._seen)
        after = bisect_left(seen, time_ns, key=lambda reading: reading[0])
        if after in (0, len(seen)):
            return seen[min(after, len(seen) - 1)][1]
        (t0, z0), (t1, z1) = seen[after - 1], seen[after]
        return z0 + (z1 - z0) * (time_ns - t0) / max(1, t1 - t0)

    def look(self) -> None:
        """Read the position once, and send the newest target if the drive stands.

        Raises
        ------
        DeviceError
            The drive is gone, gives no number, or is not where its moves have brought it.
        """
        try:
            asked_ns = self._clock.now_ns()
            z_um = self._drive.position_um()
            answered_ns = self._clock.now_ns()
            with self._lock:
                before_um = z_um if self._objective_um is None else self._objective_um
                self._objective_um = min(max(before_um, z_um), z_um + self._play_um)
                self._seen.append(((asked_ns + answered_ns) // 2, self._objective_um))
                wanted = self._target_um
            if wanted is not None and not self._drive.moving():
                with self._lock:
                    if self._target_um == wanted:
                        self._target_um = None
                self._drive.send(wanted, seen_um=z_um)
        except FgafError:
            raise
        except Exception as error:
            raise DeviceError(f"the drive failed: {type(error).__name__}: {error}") from error

    def start(self) -> None:
        """Read once, then go on in a thread."""
        self.look()
        self._thread = threading.Thread(target=self._run, name="focus drive", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the drive may still be on its last move."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self.look()
                self._clock.sleep(_REST_S)
        except FgafError as error:
            self._error = error
