"""The focus drive during live work: its position at each exposure, and its target."""

from __future__ import annotations

import threading
from typing import Final

from fgaf.acquire.control.drive import Drive
from fgaf.acquire.control.error_context import failures_of
from fgaf.acquire.trace import Trace
from fgaf.model.live.polled import Polled

_REST_S: Final = 0.004


class Focus(Polled):
    """Reads the drive's position repeatedly, and sends the drive to the newest target.

    A new target is sent only when the drive stands, because controllers differ in how they treat a
    command during a move. Targets beyond the limits become the limit. It is an error when the drive
    is not where its moves can have brought it; it is then not moved any more.

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
        super().__init__("focus drive", drive.clock, _REST_S)
        self._drive, self._limits_um = drive, drive.limits_um
        self._trace = Trace()
        self._lock = threading.Lock()
        self._target_um: float | None = None
        self._play_um = play_um
        self._objective_um: float | None = None
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
        self._require_well()
        (z_um,) = self._trace.at(time_ns)
        return z_um

    def look(self) -> None:
        """Read the position once, and send the newest target if the drive stands.

        Raises
        ------
        DeviceError
            The drive is gone, gives no number, or is not where its moves have brought it.
        """
        with failures_of("the drive"):
            asked_ns = self._clock.now_ns()
            z_um = self._drive.position_um()
            answered_ns = self._clock.now_ns()
            with self._lock:
                before_um = z_um if self._objective_um is None else self._objective_um
                self._objective_um = min(max(before_um, z_um), z_um + self._play_um)
                self._trace.add((asked_ns + answered_ns) // 2, (self._objective_um,))
                wanted = self._target_um
            if wanted is not None and not self._drive.moving():
                with self._lock:
                    if self._target_um == wanted:
                        self._target_um = None
                self._drive.send(wanted, seen_um=z_um)
