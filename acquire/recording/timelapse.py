"""Start times of the stacks of a time-lapse."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from fgaf.acquire.devices import Clock
from fgaf.acquire.interrupt import Interrupt
from fgaf.base.errors import SettingError

_log = logging.getLogger(__name__)

_LATE_S = 0.1
_LOOK_S = 0.1


@dataclass(frozen=True)
class Late:
    """A stack that started late, because the previous one took too long.

    Attributes
    ----------
    number
        Its number, counted from 1.
    seconds
        Delay.
    """

    number: int
    seconds: float


class Timelapse:
    """Starts stacks at fixed intervals from the first: delays do not add up.

    Parameters
    ----------
    every_s
        Interval in seconds; 0 for no pause.
    clock, interrupt
        Clock of the waits, and their interrupt.

    Attributes
    ----------
    late
        Late stacks so far.

    Raises
    ------
    SettingError
        The interval is negative.
    """

    def __init__(self, every_s: float, clock: Clock, interrupt: Interrupt) -> None:
        if not every_s >= 0:
            raise SettingError(
                f"an interval of {every_s:g} s is not possible; give 0 or more seconds"
            )
        self.late: list[Late] = []
        self._every_s, self._clock, self._interrupt = every_s, clock, interrupt
        self._first_ns: int | None = None

    def wait(self, number: int) -> None:
        """Wait until stack `number` (from 1) is due; returns at once if this time is past.

        Raises
        ------
        InterruptError
            A stop was requested.
        """
        if self._first_ns is None:
            self._first_ns = self._clock.now_ns()
        due_ns = self._first_ns + round((number - 1) * self._every_s * 1e9)
        while (rest_s := (due_ns - self._clock.now_ns()) / 1e9) > 0:
            self._interrupt.check()
            self._clock.sleep(min(rest_s, _LOOK_S))
        self._interrupt.check()
        if self._every_s and -rest_s > _LATE_S:
            _log.info("stack or round %d starts %.1f s late", number, -rest_s)
            self.late.append(Late(number, -rest_s))
