"""Moves that are verified by read-back: before a move, at its end and after a fault.

The position is read before every move. A restarted controller, a changed counter or a move by hand
shows as a position that the commanded moves cannot explain. The axes are then not moved any more,
because the coordinates are no longer valid.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fgaf.acquire.device_tables import ManipulatorTable, StageTable, XYStageTable
from fgaf.acquire.devices import Clock, DeviceError
from fgaf.acquire.interrupt import Interrupt

_log = logging.getLogger(__name__)

_STANDSTILL_S = 1.0
_PATIENCE_S = 0.3

Place = tuple[float, ...]


class DisplacedError(DeviceError):
    """The axes are not where they were last read: their zero may have changed."""


@dataclass(frozen=True)
class Axes:
    """A device that moves along one to three axes.

    Attributes
    ----------
    name
        Name in errors.
    go, moving, read, halt
        Start a move to a position, ask whether it moves, read the position, stop.
    reopen
        Reopen the link to the device; None where its driver cannot.
    table
        The rig's table of its settings, for errors.
    """

    name: str
    go: Callable[[Place], None]
    moving: Callable[[], bool]
    read: Callable[[], Place]
    halt: Callable[[], None]
    reopen: Callable[[], None] | None
    table: str


class Mover:
    """Moves axes, and checks that each position read is possible after the moves so far.

    Parameters
    ----------
    axes
        The device.
    settings
        Gives the time-out, the polling interval, and the tolerance: smaller changes count as no
        motion.
    clock
        Clock of the waits.
    interrupt
        Ends the waits; may be replaced.

    Attributes
    ----------
    displaced
        Whether the axes were found at an impossible position. An error was raised; they are not
        moved.
    """

    def __init__(
        self,
        axes: Axes,
        settings: StageTable | XYStageTable | ManipulatorTable,
        clock: Clock,
        interrupt: Interrupt,
    ) -> None:
        self.interrupt = interrupt
        self.displaced = False
        self._axes, self._settings, self._clock = axes, settings, clock
        self._last: Place | None = None
        self._end: Place | None = None
        self._lost = False

    def anchor(self) -> Place:
        """Accept the current position, independent of earlier reads; returns it."""
        self._last = self._end = None
        self.displaced = self._lost = False
        here = self.read()
        _log.info("%s is at %s and will return there", self._axes.name, shown(here))
        return here

    def read(self) -> Place:
        """Read the position of the axes.

        Raises
        ------
        DeviceError
            There is no answer, or it is not a number.
        """
        with self._asking():
            place = self._axes.read()
            if not all(map(math.isfinite, place)):
                given = ", ".join(f"{each}" for each in place)
                raise DeviceError(
                    f"{self._axes.name} gives {given} as its position; check its connection"
                )
        if self._last is None or self._end is None:
            self._last = self._end = place
        elif self._can_be(place):
            self._last = place
        return place

    def moving(self) -> bool:
        """Whether the axes move."""
        with self._asking():
            return self._axes.moving()

    def confirm(self, seen: Place | None = None) -> Place:
        """Check that the axes are where the moves so far can have brought them.

        One reading at an expected position is enough: others may be noise, or from a drive that was
        still moving.

        Parameters
        ----------
        seen
            Position read just before; by default it is read now.

        Returns
        -------
        tuple of float
            The position, in µm.

        Raises
        ------
        DisplacedError
            They are at another position, for a third of a second.
        DeviceError
            The position cannot be read.
        """
        deadline_ns = self._clock.now_ns() + round(_PATIENCE_S * 1e9)
        here = self.read() if seen is None else seen
        while not self._can_be(here):
            if self._clock.now_ns() > deadline_ns:
                raise self.displacement(here, self._last or here)
            self._clock.sleep(self._settings.poll_ms / 1e3)
            here = self.read()
        return here

    def displacement(self, here: Place, last: Place) -> DisplacedError:
        """Make the error for axes at an impossible position; they are not moved any more.

        Parameters
        ----------
        here, last
            The current and the previous position.
        """
        self.distrust()
        hand = "it was moved by hand, or continued after the error"
        return DisplacedError(
            f"{self._axes.name} stands at {shown(here)}, but {shown(last)} was last read: its "
            "controller was restarted, its counter was set, "
            f"{hand if self._lost else 'or it was moved by hand'}"
        )

    def distrust(self) -> None:
        """Stop moving the axes: their readings contradict each other."""
        self.displaced = True
        _log.info("%s gives contradicting positions and is not moved any more", self._axes.name)

    def accept(self, place: Place) -> None:
        """Accept the final position of a move, although it is not the target."""
        self._last = self._end = place

    def send(
        self, target: Place, go: Callable[[], None] | None = None, seen: Place | None = None
    ) -> Place:
        """Start a move from a confirmed position; returns that position.

        Parameters
        ----------
        target
            Target, in µm.
        go
            Starts the move; by default the axes' own method.
        seen
            See `confirm`.

        Raises
        ------
        DeviceError
            See `confirm`; or the move cannot be started.
        """
        self._last = self.confirm(seen)
        self._end, self._lost = target, False
        _log.debug("%s is at %s, goes to %s", self._axes.name, shown(self._last), shown(target))
        with self._asking():
            if go is None:
                self._axes.go(target)
            else:
                go()
        return self._last

    def arrive(
        self, target: Place, tolerance_um: float, go: Callable[[], None] | None = None
    ) -> Place:
        """Go to a position, and wait until the axes are at rest there.

        A device may report the end too early, so a wrong position is an error only if it has not
        changed for a second.

        Parameters
        ----------
        target
            Target, in µm.
        tolerance_um
            Largest distance between the target and the position read back, along each axis.
        go
            See `send`.

        Returns
        -------
        tuple of float
            The position read back, in µm.

        Raises
        ------
        DeviceError
            See `send`; or they did not arrive within the time-out, or came to rest elsewhere.
        """
        axes, clock, timeout_s = self._axes, self._clock, self._settings.timeout_s
        self.send(target, go)
        begun_ns = clock.now_ns()
        deadline_ns = begun_ns + round(timeout_s * 1e9)
        stood_ns, stood = deadline_ns, tuple(math.inf for _ in target)
        while True:
            self.interrupt.check()
            moving = self.moving()
            if not moving:
                here = self.read()
                if _apart_um(here, target) <= tolerance_um:
                    spent_ms = (clock.now_ns() - begun_ns) / 1e6
                    _log.debug("%s stands at %s after %.1f ms", axes.name, shown(here), spent_ms)
                    return here
                if _apart_um(here, stood) > self._settings.tolerance_um / 4:
                    stood_ns, stood = clock.now_ns(), here
                elif clock.now_ns() - stood_ns > _STANDSTILL_S * 1e9:
                    raise DeviceError(
                        f"{axes.name} came to rest at {shown(here)}, not within {tolerance_um:g} "
                        f"µm of {_wanted(target)}; look for an obstacle or raise "
                        f"{axes.table}.tolerance_um"
                    )
            if clock.now_ns() > deadline_ns:
                doing = "still moving" if moving else "idle"
                raise DeviceError(
                    f"{axes.name} has not arrived at {_wanted(target)} after {timeout_s:g} s and "
                    f"is {doing} at {shown(self.read())}; check it or raise "
                    f"{axes.table}.timeout_s"
                )
            clock.sleep(self._settings.poll_ms / 1e3)

    def halt(self) -> None:
        """Stop, and confirm the position; a lost link is reopened for that.

        Raises
        ------
        DeviceError
            See `confirm`; other errors of the driver are passed on.
        """
        try:
            self._halt()
            self.confirm()
        except DisplacedError:
            raise
        except Exception:
            if self._axes.reopen is None:
                raise
            _log.info("%s did not stop; its link is opened again", self._axes.name, exc_info=True)
            self._axes.reopen()
            self._halt()
            self.confirm()

    def bring_back(
        self,
        start: Place,
        go_back: Callable[[], object],
        words: tuple[str, str] = ("was not brought back to", "could not return to"),
    ) -> str:
        """Go to a safe position after a run, if the current position is certain.

        The axes may still move, so they are halted first. Signals are deferred meanwhile. Drivers
        are external code and may raise anything, which must not hide the first cause.

        Parameters
        ----------
        start
            The position, in µm.
        go_back
            Goes there; called after the axes were halted and their position was confirmed.
        words
            Begin what is said when it was not tried, and when it failed.

        Returns
        -------
        str
            The problem and the position; empty when there is none.
        """
        displaced, name = self.displaced, self._axes.name
        _log.info("%s goes back to %s", name, shown(start))
        with Interrupt.on_signals():
            self.interrupt = Interrupt()
            try:
                self.halt()
                go_back()
            except DisplacedError as error:
                why = "" if displaced else f" ({error})"
                return (
                    f"{name} {words[0]} {shown(start)}{why}; check its real position "
                    "before anything moves"
                )
            except Exception as error:
                _log.info("%s could not return", name, exc_info=True)
                return f"{name} {words[1]} {shown(start)} ({error}); {self._left()}"
        _log.info("%s is back", name)
        return ""

    def _left(self) -> str:
        """Halt axes that could not return, and give their position."""
        try:
            self._halt()
            return f"it is at {shown(self.read())}"
        except Exception:
            return "its position cannot be read"

    def _halt(self) -> None:
        with self._asking():
            self._axes.halt()

    def _can_be(self, place: Place) -> bool:
        """Whether a position lies between the last one read and the target."""
        if self._last is None or self._end is None or self.displaced:
            return not self.displaced
        spare_um = self._settings.tolerance_um
        return all(
            min(ends) - spare_um <= at <= max(ends) + spare_um
            for at, *ends in zip(place, self._last, self._end, strict=True)
        )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """After an error of the device, only the last read position is valid.

        The progress of the move is then unknown, and a controller that was switched off may count
        from any zero.
        """
        try:
            yield
        except Exception as error:
            last = shown(self._last) if self._last else "nowhere"
            _log.info("%s failed, last read at %s: %s", self._axes.name, last, error)
            self._lost |= self._end != self._last
            self._end = self._last
            raise


def shown(place: Place) -> str:
    """Format a position for errors, to the nanometre."""
    return f"{', '.join(f'{each:.3f}' for each in place)} µm"


def _wanted(place: Place) -> str:
    return f"{', '.join(f'{each:.6g}' for each in place)} µm"


def _apart_um(one: Place, other: Place) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
