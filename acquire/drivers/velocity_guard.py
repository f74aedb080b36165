"""A guard for stages that move at a velocity until another command comes.

A controller knows neither whether the program that gave the velocity still runs, nor the limits of
the rig. The guard therefore reads the position in a thread of its own while the stage moves. It
stops the stage when the velocity has expired, before it can leave its limits, when it does not move
as it was told, and when it does not answer. After a velocity that has expired it looks once more. A
busy computer reads and commands late: how far the stage may have moved meanwhile is no
disobedience. It cannot help when the whole process is killed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fgaf.acquire.devices import DeviceError, LimitsXY, NoRoomError

_log = logging.getLogger(__name__)

_INTERVAL_S = 0.05
_BRAKING_S = 0.1
_LAG_S = 0.1
_WINDOW_S = 0.5
_SLACK_UM = 5.0
_WRONG_SHARE = 0.5
_ATTEMPTS = 3

Pair = tuple[float, float]


@dataclass(frozen=True)
class Handle:
    """What the guard does with a stage.

    Attributes
    ----------
    name
        Name of the stage, for errors.
    read
        Reads the position, x and y in µm.
    drive
        Sends a velocity, x and y in µm/s; returns when it was accepted.
    halt
        Stops the stage.
    reopen
        Reopens a lost link.
    """

    name: Callable[[], str]
    read: Callable[[], Pair]
    drive: Callable[[float, float], None]
    halt: Callable[[], None]
    reopen: Callable[[], None]


@dataclass(frozen=True)
class _Look:
    """A position read at a time, and where the velocities since the start should have led.

    `fastest_um_s` is the highest velocity since the look before. `reading_s` is how long it took,
    `reading_um` how far it may have moved meanwhile; `commands_um` adds up what is unknown since
    the start because a command is carried out at an unknown moment.
    """

    time_s: float
    place_um: Pair
    expected_um: Pair
    fastest_um_s: float
    reading_s: float
    reading_um: float
    commands_um: float


class VelocityGuard:
    """Moves a stage at velocities, and stops it when in doubt.

    Parameters
    ----------
    handle
        The stage.
    limits_um
        Limits in x and y.
    valid_s
        How long a velocity is valid.
    highest_um_s
        Highest velocity along each axis.
    """

    def __init__(
        self, handle: Handle, limits_um: LimitsXY, valid_s: float, highest_um_s: float
    ) -> None:
        self._handle, self._limits_um = handle, limits_um
        self._valid_s, self._highest_um_s = valid_s, highest_um_s
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._velocity: Pair = (0.0, 0.0)
        self._fault: DeviceError | None = None
        self._thread: threading.Thread | None = None
        self._set_s = self._expires_s = self._fastest_um_s = self._commands_um = 0.0
        self._expected: Pair = (0.0, 0.0)
        self._looks: deque[_Look] = deque()

    def move_at(self, vx_um_s: float, vy_um_s: float) -> None:
        """Move at a velocity until it expires, or stop; see `VelocityStage.move_xy_at`.

        Parameters
        ----------
        vx_um_s, vy_um_s
            Velocity in µm/s.
        """
        velocity = (vx_um_s, vy_um_s)
        with self._lock:
            self._tell()
            try:
                if velocity == (0.0, 0.0):
                    self._end_softly()
                    return
                self._require_slow(velocity)
                if self._thread is None:
                    self._begin()
                self._account()
                self._require_room(velocity)
                self._handle.drive(*velocity)
            except Exception as error:
                self._end(error)
                self._tell(error)
            self._take(velocity)
            self._fastest_um_s = max(self._fastest_um_s, *map(abs, velocity))
            self._expires_s = self._set_s + self._valid_s
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True, name="velocity")
                self._thread.start()

    def stop(self) -> None:
        """Stop the stage, whatever it does.

        Raises
        ------
        DeviceError
            It does not acknowledge.
        """
        with self._lock:
            self._rest()
            self._handle.halt()

    def _tell(self, cause: Exception | None = None) -> None:
        """Raise why the stage was stopped, once."""
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault from cause

    def _end_softly(self) -> None:
        """Stop a motion at a velocity, and nothing else that the controller does."""
        if self._thread is not None:
            self._rest()
            self._handle.drive(0.0, 0.0)

    def _begin(self) -> None:
        """Read the position from which a motion begins."""
        self._set_s, self._expected, self._velocity = time.monotonic(), (0.0, 0.0), (0.0, 0.0)
        self._fastest_um_s = self._commands_um = 0.0
        self._looks.clear()
        self._look()

    def _rest(self) -> None:
        self._thread = None
        self._wake.notify_all()

    def _watch(self) -> None:
        with self._lock:
            while self._thread is threading.current_thread():
                left_s = self._expires_s - time.monotonic()
                self._wake.wait(min(_INTERVAL_S, max(left_s, 1e-3)))
                if self._thread is not threading.current_thread():
                    return
                if time.monotonic() >= self._expires_s:
                    self._expire()
                    return
                try:
                    self._look()
                    self._require_obedience()
                    self._require_room(self._velocity)
                except Exception as error:  # drivers are external code
                    self._end(error)

    def _expire(self) -> None:
        """Stop what was not repeated in time, then ask whether it moved as commanded."""
        _log.info("%s: its velocity has expired", self._handle.name())
        self._account()
        self._end(None)
        if self._fault is not None:
            return
        self._take((0.0, 0.0))
        try:
            self._look()
            self._require_obedience()
        except Exception as error:  # drivers are external code
            self._keep(f"{error}; it was stopped")

    def _end(self, why: Exception | None) -> None:
        """Stop the stage, over a new link if needed, and keep the reason for the next call."""
        self._rest()
        for attempt in range(_ATTEMPTS):
            try:
                if attempt:
                    self._handle.reopen()
                self._handle.halt()
            except Exception as error:
                _log.info("the stage does not stop", exc_info=True)
                failure = str(error)
                continue
            if why is not None:
                kind = NoRoomError if isinstance(why, NoRoomError) else DeviceError
                self._keep(f"{why}; it was stopped", kind)
            return
        self._keep(f"{why or failure}; it COULD NOT BE STOPPED: switch it off")

    def _keep(self, fault: str, kind: type[DeviceError] = DeviceError) -> None:
        """Keep why the stage was stopped, for the next call."""
        self._fault = kind(fault)
        _log.info("%s", fault)

    def _account(self) -> None:
        """Add up where the velocities until now should have led."""
        now_s = time.monotonic()
        spent_s, self._set_s = now_s - self._set_s, now_s
        x, y = (
            at + each * spent_s for at, each in zip(self._expected, self._velocity, strict=True)
        )
        self._expected = (x, y)

    def _take(self, velocity: Pair) -> None:
        """Count on a velocity that has been accepted, at an unknown moment of the exchange."""
        begun_s = self._set_s
        self._account()
        change = max(abs(to - at) for to, at in zip(velocity, self._velocity, strict=True))
        self._commands_um += change * (self._set_s - begun_s)
        self._velocity = velocity

    def _look(self) -> None:
        begun_s = time.monotonic()
        place = self._handle.read()
        self._account()
        spent_s = self._set_s - begun_s
        fastest = max(map(abs, self._velocity))
        self._looks.append(
            _Look(
                self._set_s,
                place,
                self._expected,
                self._fastest_um_s,
                spent_s,
                fastest * spent_s,
                self._commands_um,
            )
        )
        self._fastest_um_s = fastest
        while len(self._looks) > 2 and self._set_s - self._looks[0].time_s > _WINDOW_S:
            self._looks.popleft()  # two remain, however late the second came

    def _require_slow(self, velocity: Pair) -> None:
        if not max(map(abs, velocity)) <= self._highest_um_s:
            x, y = velocity
            raise DeviceError(
                f"{self._handle.name()} moves at up to {self._highest_um_s:g} µm/s, not at {x:g}, "
                f"{y:g}; see xy_stage.highest_velocity_um_s"
            )

    def _require_room(self, velocity: Pair) -> None:
        """Refuse a velocity that would leave the limits before it can be looked at again."""
        look, name = self._looks[-1], self._handle.name()
        longest_s = max(each.reading_s for each in self._looks)
        ahead_s = self._set_s - look.time_s + _INTERVAL_S + 2 * longest_s + _BRAKING_S
        for number, axis in enumerate("xy"):
            (low, high), each = self._limits_um[number], velocity[number]
            if not (math.isfinite(low) and math.isfinite(high)):
                raise DeviceError(
                    f"{name} has no limits in {axis}: set xy_stage.{axis}_limits_um in the rig"
                )
            here_um = look.place_um[number] + self._expected[number] - look.expected_um[number]
            reach_um = here_um + each * ahead_s
            if (each < 0 and reach_um < low) or (each > 0 and reach_um > high):
                raise NoRoomError(
                    f"{name} is at {axis} = {here_um:.1f} µm and would leave its limits {low:g} to "
                    f"{high:g} µm at {each:g} µm/s"
                )

    def _require_obedience(self) -> None:
        """Refuse a motion that is not the one commanded."""
        first, last = self._looks[0], self._looks[-1]
        fastest = max(look.fastest_um_s for look in self._looks)
        unsure = first.reading_um + last.reading_um + last.commands_um - first.commands_um
        for number, axis in enumerate("xy"):
            moved = last.place_um[number] - first.place_um[number]
            meant = last.expected_um[number] - first.expected_um[number]
            allowed = _SLACK_UM + _LAG_S * fastest + _WRONG_SHARE * abs(meant) + unsure
            if abs(moved - meant) > allowed:
                raise DeviceError(
                    f"{self._handle.name()} moved by {moved:.1f} µm in {axis} in "
                    f"{last.time_s - first.time_s:.2f} s where {meant:.1f} µm were commanded: "
                    "check its units, its limit switches and the joystick"
                )
