"""The manipulator during trials: its position at each exposure, and its moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fgaf.acquire.control.error_context import failures_of
from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.devices import Place3
from fgaf.acquire.trace import Trace
from fgaf.model.live.polled import Attached

_REST_S: Final = 0.004


class HeldPipette(Attached):
    """Reads the manipulator repeatedly, and sends it to the newest place when it stands.

    Parameters
    ----------
    mover
        The manipulator, with its limits, its floor and its highest speed.
    """

    def __init__(self, mover: PipetteMover) -> None:
        super().__init__("pipette", mover.clock, _REST_S)
        self._mover = mover
        self._trace = Trace()
        self._commands = threading.Lock()
        self._wanted: Place3 | None = None
        self._speed_um_s: float | None = None
        self._closed = False
        self._moves = False

    def go_to(self, place: Place3, speed_um_s: float | None = None) -> None:
        """Take a new target; returns at once. A move that has begun is finished first.

        Parameters
        ----------
        place
            x, y and z in µm.
        speed_um_s
            Speed, by default the highest.

        Raises
        ------
        SettingError
            It is outside the limits or under the floor.
        """
        self._mover.check([place])
        with self._commands:
            self._wanted, self._speed_um_s = place, speed_um_s

    @property
    def moving(self) -> bool:
        """Whether it moves, or is about to."""
        with self._commands:
            return self._moves or self._wanted is not None

    def at(self, time_ns: int) -> Place3:
        """Position at a time: x, y and z in µm.

        Raises
        ------
        DeviceError
            The manipulator is gone.
        """
        self._require_well()
        x, y, z = self._trace.at(time_ns)
        return x, y, z

    def look(self) -> None:
        """Read the position once, and begin the newest move if the pipette stands.

        Raises
        ------
        DeviceError
            The manipulator is gone, or is not where its moves have brought it.
        """
        with self._commands:
            if self._closed:
                return
            with failures_of("the manipulator"):
                asked_ns = self._clock.now_ns()
                here = self._mover.position_um()
                self._trace.add((asked_ns + self._clock.now_ns()) // 2, here)
                self._moves = self._mover.moving()
                if self._wanted is not None and not self._moves:
                    self._mover.send(self._wanted, self._speed_um_s)
                    self._wanted, self._moves = None, True

    @contextmanager
    def working(self) -> Iterator[None]:
        """Make the block in which it is moved; after it, the pipette is raised.

        Raises
        ------
        FgafError
            See `PipetteMover.retreating`.
        """
        with self._mover.retreating():
            try:
                yield
            finally:
                with self._commands:
                    self._closed, self._wanted = True, None
