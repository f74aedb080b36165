"""Moves that are believed only by what is read back: before them, at their end and after a fault.

The place is read before every move. A controller that was restarted, a counter that was set and a
hand on the joystick all show as a place where the axes cannot be by the moves they were sent on;
nothing moves them then, as where a target lies is no longer known.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fgaf.acquire.devices import Clock, DeviceError
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import StageTable

_log = logging.getLogger(__name__)

_STANDSTILL_S = 1.0
_PATIENCE_S = 0.3

Place = tuple[float, ...]


class DisplacedError(DeviceError):
    """The axes do not stand where they were last read: their zero may be another one now."""


@dataclass(frozen=True)
class Axes:
    """Something that moves along one axis or two.

    Attributes
    ----------
    name
        What errors call it.
    go, moving, read, halt
        Start a move to a place, ask whether it lasts, ask for the place, stop.
    reopen
        Open the link to the device once more; None where its driver cannot.
    tolerance, tolerance_um
        The rig's key, and its value: smaller changes count as standing.
    """

    name: str
    go: Callable[[Place], None]
    moving: Callable[[], bool]
    read: Callable[[], Place]
    halt: Callable[[], None]
    reopen: Callable[[], None] | None
    tolerance: str
    tolerance_um: float


class Mover:
    """Moves axes, and knows where they can be.

    Parameters
    ----------
    axes
        What moves.
    settings
        Gives time-out and pause between two questions.
    clock
        What waits are measured by.
    interrupt
        What they are ended by; may be replaced.

    Attributes
    ----------
    displaced
        Whether the axes were found where they cannot be. An error has said so; nothing moves them.
    """

    def __init__(
        self, axes: Axes, settings: StageTable, clock: Clock, interrupt: Interrupt
    ) -> None:
        self.interrupt = interrupt
        self.displaced = False
        self._axes, self._settings, self._clock = axes, settings, clock
        self._last: Place | None = None
        self._end: Place | None = None
        self._lost = False

    def anchor(self) -> Place:
        """Take the present place for right, whatever was read before; returns it."""
        self._last = self._end = None
        self.displaced = self._lost = False
        here = self.read()
        _log.info("%s stands at %s and will come back there", self._axes.name, shown(here))
        return here

    def read(self) -> Place:
        """Ask where the axes are.

        Raises
        ------
        DeviceError
            They do not say, or say no number.
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
        """Ask whether they move."""
        with self._asking():
            return self._axes.moving()

    def confirm(self, seen: Place | None = None) -> Place:
        """Make sure that the axes are where the moves so far can have brought them.

        One reading in the right place is enough: others may be noise, or of a drive that was still
        on its way.

        Parameters
        ----------
        seen
            What was read just now; by default it is asked for.

        Returns
        -------
        tuple of float
            The place, in µm.

        Raises
        ------
        DisplacedError
            They are elsewhere, and were so for a third of a second.
        DeviceError
            They do not say where they are.
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
        """Make the error for axes that stand where they cannot be; nothing moves them any more.

        Parameters
        ----------
        here, last
            What was read now, and before.
        """
        self.distrust()
        hand = "it was moved by hand, or went on after the error"
        return DisplacedError(
            f"{self._axes.name} stands at {shown(here)}, but {shown(last)} was last read: its "
            "controller was restarted, its counter was set, "
            f"{hand if self._lost else 'or it was moved by hand'}"
        )

    def distrust(self) -> None:
        """Move nothing any more: what the axes have told cannot all be true."""
        self.displaced = True
        _log.info("%s is not believed any more and is not moved", self._axes.name)

    def accept(self, place: Place) -> None:
        """Take a place at which a move has ended for right, though it is not where it should be."""
        self._last = self._end = place

    def send(
        self, target: Place, go: Callable[[], None] | None = None, seen: Place | None = None
    ) -> Place:
        """Start a move from a place that is confirmed; returns that place.

        Parameters
        ----------
        target
            Where to, in µm.
        go
            Starts the move; by default the axes' own way.
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

    def arrive(self, target: Place, tolerance_um: float) -> Place:
        """Go somewhere, and wait until the axes stand there.

        A device may report its end too early, so a wrong place is an error only once it has not
        changed for a second.

        Parameters
        ----------
        target
            Where to, in µm.
        tolerance_um
            Largest distance between target and what is read back, along each axis.

        Returns
        -------
        tuple of float
            The place read back, in µm.

        Raises
        ------
        DeviceError
            See `send`; or they did not arrive within the time-out, or came to rest elsewhere.
        """
        axes, clock, timeout_s = self._axes, self._clock, self._settings.timeout_s
        self.send(target)
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
                if _apart_um(here, stood) > axes.tolerance_um / 4:
                    stood_ns, stood = clock.now_ns(), here
                elif clock.now_ns() - stood_ns > _STANDSTILL_S * 1e9:
                    raise DeviceError(
                        f"{axes.name} came to rest at {shown(here)}, not within {tolerance_um:g} "
                        f"µm of {_wanted(target)}; look for an obstacle or raise {axes.tolerance}"
                    )
            if clock.now_ns() > deadline_ns:
                doing = "still moving" if moving else "idle"
                raise DeviceError(
                    f"{axes.name} has not arrived at {_wanted(target)} after {timeout_s:g} s and "
                    f"is {doing} at {shown(self.read())}; check it or raise stage.timeout_s"
                )
            clock.sleep(self._settings.poll_ms / 1e3)

    def halt(self) -> None:
        """Stop, and confirm the place; a link that is lost is opened once more for that.

        Raises
        ------
        DeviceError
            See `confirm`; any other error of the driver comes as it is.
        """
        try:
            self._halt()
            self.confirm()
        except DisplacedError:
            raise
        except Exception:
            if self._axes.reopen is None:
                raise
            _log.info("%s did not stop; its link is opened anew", self._axes.name, exc_info=True)
            self._axes.reopen()
            self._halt()
            self.confirm()

    def bring_back(self, start: Place, go_back: Callable[[], object]) -> str:
        """Go back to a place after a run, if where the axes stand now is beyond doubt.

        What led here may have left them moving, so they are halted first. Signals are held back
        meanwhile. Drivers are foreign code and may raise anything, which must not hide the first
        cause.

        Parameters
        ----------
        start
            The place, in µm.
        go_back
            Goes there; tried after the axes were halted and their place was confirmed.

        Returns
        -------
        str
            What went wrong and where they are; empty when all is well.
        """
        told, name = self.displaced, self._axes.name
        _log.info("%s goes back to %s", name, shown(start))
        with Interrupt.on_signals():
            self.interrupt = Interrupt()
            try:
                self.halt()
                go_back()
            except DisplacedError as error:
                why = "" if told else f" ({error})"
                return (
                    f"{name} was not brought back to {shown(start)}{why}; make sure where it "
                    "really is before anything moves"
                )
            except Exception as error:
                _log.info("%s could not return", name, exc_info=True)
                return f"{name} could not return to {shown(start)} ({error}); {self._left()}"
        _log.info("%s is back", name)
        return ""

    def _left(self) -> str:
        """Halt what could not return, and say where it is."""
        try:
            self._halt()
            return f"it is at {shown(self.read())}"
        except Exception:
            return "and where it is cannot be read"

    def _halt(self) -> None:
        with self._asking():
            self._axes.halt()

    def _can_be(self, place: Place) -> bool:
        """Whether a place lies between where the axes were last read and where they were sent."""
        if self._last is None or self._end is None or self.displaced:
            return not self.displaced
        return all(
            min(ends) - self._axes.tolerance_um <= at <= max(ends) + self._axes.tolerance_um
            for at, *ends in zip(place, self._last, self._end, strict=True)
        )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """After an error of the device believe only the place that was last read.

        How far a move had come is not known then, and a controller that was switched off may count
        from anywhere.
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
    """Write a place as errors do, to the nanometre."""
    return f"{', '.join(f'{each:.3f}' for each in place)} µm"


def _wanted(place: Place) -> str:
    return f"{', '.join(f'{each:.6g}' for each in place)} µm"


def _apart_um(one: Place, other: Place) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
