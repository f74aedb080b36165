"""Keeps a chosen cell in focus: computes the drive's target from the cell's filtered height."""

from __future__ import annotations

import math
import threading
from typing import Final

from fgaf.base.errors import SettingError
from fgaf.model.live.focus import Focus
from fgaf.model.live.tracker import Track

CENTRE: Final = "centre"
"""Follow the cell nearest to the centre of the frame, and the next one when it is lost."""

_LEAST_MOVE_UM: Final = 0.1
"""Smaller moves are not made: they would add more ringing than they correct."""
_LEAD_S: Final = 0.015
"""Delay from a command to its effect in the image, besides the latency."""
_LONGEST_LEAD_S: Final = 0.15


def parse_target(text: str) -> int | None:
    """Read which cell to follow: its id, or "centre" (None).

    Raises
    ------
    SettingError
        It is neither.
    """
    if text in (CENTRE, "center"):
        return None
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise SettingError(f"--track {text!r} is not a cell: give a cell's number, or {CENTRE}")


class Autofocus:
    """Moves the drive to follow one cell.

    Parameters
    ----------
    focus
        The drive.
    shape
        Rows and columns of the frames.
    wanted
        Id of the cell; None for the one nearest to the centre.
    off_um
        The drive is kept so far from the cell's focus.

    Attributes
    ----------
    target
        Id of the cell that is followed now; None when there is none.
    """

    def __init__(
        self,
        focus: Focus,
        shape: tuple[int, int],
        wanted: int | None = None,
        off_um: float = 0.0,
    ) -> None:
        self._focus, self._shape, self._off_um = focus, shape, off_um
        self._lock = threading.Lock()
        self._wanted = wanted
        self._released = self._stands = False
        self._aim_um: float | None = None
        self.target: int | None = None

    def choose(self, wanted: int | None) -> None:
        """Follow another cell from the next frame on; None for the one nearest to the centre."""
        with self._lock:
            self._wanted, self._released = wanted, False
            self.target = None

    def release(self) -> None:
        """Follow nothing from the next frame on: a move that has begun is finished."""
        with self._lock:
            self._released = True
            self.target = self._aim_um = None
            self._focus.stay()

    def stand(self, stands: bool) -> None:
        """Let the drive stand while the cell is followed, or move again, from the next frame on.

        Parameters
        ----------
        stands
            Whether it stands; a move that has begun is finished.
        """
        with self._lock:
            if stands and not self._stands:
                self._aim_um = None
                self._focus.stay()
            self._stands = stands

    @property
    def wanted(self) -> int | str | None:
        """Id of the cell to follow, or `CENTRE`; None after `release`."""
        with self._lock:
            if self._released:
                return None
            return CENTRE if self._wanted is None else self._wanted

    def follow(self, tracks: list[Track], now_ns: int, drive_um: float) -> float | None:
        """Send the drive to where the cell will be in focus when the move takes effect.

        Parameters
        ----------
        tracks
            The cells in view.
        now_ns
            The current time.
        drive_um
            Where the drive was in the last frame.

        Returns
        -------
        Where the drive was sent, None when it stays.
        """
        with self._lock:
            self.target = None if self._released else self._chosen(tracks)
            track = next((each for each in tracks if each.number == self.target), None)
            if track is None or track.height is None or self._stands:
                return None
            measured_ns = track.height.measured_ns
            lead_ns = min(now_ns - measured_ns, round(_LONGEST_LEAD_S * 1e9))
            z_um, _, _ = track.height.at(measured_ns + lead_ns + round(_LEAD_S * 1e9))
            z_um += self._off_um
            last_um = drive_um if self._aim_um is None else self._aim_um
            if abs(z_um - last_um) < _LEAST_MOVE_UM:
                return None
            self._aim_um = z_um
            return self._focus.aim(z_um)

    def _chosen(self, tracks: list[Track]) -> int | None:
        """Number of the cell to follow, None where it is not in view."""
        wanted = self.target if self._wanted is None else self._wanted
        if any(track.number == wanted for track in tracks):
            return wanted
        measured = [track for track in tracks if track.height is not None and track.seen]
        if self._wanted is not None or not measured:
            return None
        middle = (self._shape[0] / 2, self._shape[1] / 2)
        return min(measured, key=lambda t: math.dist((t.y, t.x), middle)).number
