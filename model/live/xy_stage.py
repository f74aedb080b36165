"""The x/y stage during live work: its position at each exposure, and its motion."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.devices import DeviceError, NoRoomError, VelocityStage
from fgaf.acquire.trace import Trace
from fgaf.base.errors import FgafError
from fgaf.model.live.polled import Polled
from fgaf.model.live.servo import FASTEST_UM_S, Course, Pair, Servo

_log = logging.getLogger(__name__)

_REST_S: Final = 0.004
_STALE_S: Final = 0.25
"""Without news of the cell for this long, the stage stops."""
_LEAST_MOVE_UM: Final = 0.3
_LONGEST_MOVE_UM: Final = 10.0
"""Of a stage without velocities: cells are not lost in so short a step."""
_LONGEST_CYCLE_S: Final = 0.3
_ATTEMPTS: Final = 3


class LiveStage(Polled):
    """Reads the stage's position repeatedly, and moves it on the newest course.

    A stage that can move at a velocity gets a new one in each look. Any other gets moves to where
    the course will be at the end of the move, one after the other. It stops when there is no newer
    course for a quarter of a second, whatever the cause, and at its limits; on a computer that is
    too busy to look in time, so far from them that it cannot leave them meanwhile.

    Parameters
    ----------
    travel
        The stage; its limits hold, and its clock stamps the positions.

    Attributes
    ----------
    at_limit
        Whether the newest course leads out of the limits.

    Raises
    ------
    SettingError
        The stage has no limits.
    """

    def __init__(self, travel: XYMover) -> None:
        super().__init__("x/y stage", travel.clock, _REST_S)
        self._travel, self._stage = travel, travel.stage
        self._swift = travel.stage if isinstance(travel.stage, VelocityStage) else None
        fastest_um_s = self._swift.highest_velocity_um_s if self._swift else FASTEST_UM_S
        self._servo = Servo(travel.limits_um, fastest_um_s)
        self._trace = Trace()
        self._commands = threading.Lock()
        self._course: Course | None = None
        self._closed = self._runs = False
        self._sent_ns: int | None = None
        self._cycle_s = 0.0
        self.at_limit = False

    def check_here(self) -> None:
        """Refuse to start when the stage is outside its limits; see `XYMover.check_here`."""
        self._travel.check_here()

    def follow(self, course: Course) -> None:
        """Take a newer course; returns at once."""
        self._course = course
        self.at_limit = self._servo.beyond(course.at(self._clock.now_ns()))

    def stay(self) -> None:
        """Stop in the next look."""
        self._course, self.at_limit = None, False

    def at(self, time_ns: int) -> Pair:
        """Position of the stage at a time, x and y in µm.

        Raises
        ------
        DeviceError
            The stage is gone.
        """
        self._require_well()
        x, y = self._trace.at(time_ns)
        return x, y

    def look(self) -> None:
        """Read the position once, and go on along the course, or stop.

        Raises
        ------
        DeviceError
            The stage is gone, gives no number, or does not move as it was told. It was stopped.
        """
        try:
            asked_ns = self._clock.now_ns()
            x, y = self._travel.position_um()
            now_ns = self._clock.now_ns()
            self._trace.add((asked_ns + now_ns) // 2, (x, y))
            with self._commands:
                if not self._closed:
                    self._go((x, y), now_ns)
        except Exception as error:
            lost = self.halt()
            said = (
                str(error) if isinstance(error, FgafError) else f"{type(error).__name__}: {error}"
            )
            raise DeviceError(
                f"the x/y stage failed: {said}{f'; {lost}' if lost else ''}"
            ) from error

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Stop the stage after the block, also after an error; it stays where it is.

        Raises
        ------
        DeviceError
            It does not stop; with the error that ended the block, if any.
        """
        try:
            yield
        except BaseException as error:
            lost = self.halt()
            if lost and lost not in str(error):
                if isinstance(error, FgafError):
                    raise DeviceError(f"{error}; {lost}") from error
                error.add_note(lost)
            raise
        if lost := self.halt():
            raise DeviceError(lost)

    def halt(self) -> str:
        """Stop the stage for good, over a new link if needed.

        Returns
        -------
        str
            What is wrong, if it does not stop; else empty.
        """
        with self._commands:
            self._closed, self._course, self.at_limit = True, None, False
            reopen = getattr(self._stage, "reopen", None)
            for attempt in range(_ATTEMPTS):
                try:
                    if attempt and reopen is not None:
                        reopen()
                    self._stage.stop()
                except Exception as error:  # drivers are external code
                    _log.info("the x/y stage does not stop", exc_info=True)
                    failure = str(error)
                else:
                    return ""
        return f"the x/y stage COULD NOT BE STOPPED ({failure}): switch it off"

    def _go(self, here_um: Pair, now_ns: int) -> None:
        course = self._course
        if course is None or now_ns - course.time_ns > (_STALE_S + self._cycle_s) * 1e9:
            if self._runs:
                self._rest()
                self._runs = False
            self._servo.rest(now_ns)
            self._sent_ns = None
        elif self._swift is not None:
            velocity = self._servo.velocity(course, here_um, now_ns)
            if velocity != (0.0, 0.0) or self._runs:
                self._runs = velocity != (0.0, 0.0)
                try:
                    self._swift.move_xy_at(*velocity)
                except NoRoomError:  # a busy computer looks late; it goes on from rest
                    self._servo.rest(now_ns)
                    self._runs = False
        elif not self._stage.moving_xy():
            if self._sent_ns is not None:
                now_ns = self._clock.now_ns()
                self._cycle_s = min((now_ns - self._sent_ns) / 1e9, _LONGEST_CYCLE_S)
                self._sent_ns = None
            self._step(course, here_um)

    def _rest(self) -> None:
        """Stop, but not the drive on the same controller where that is possible."""
        if self._swift is not None:
            self._swift.move_xy_at(0.0, 0.0)
        else:
            self._stage.stop()

    def _step(self, course: Course, here_um: Pair) -> None:
        """Begin a move to where the course will be at its end, if it takes as long as the last."""
        now_ns = self._clock.now_ns()
        x, y = self._servo.inside(course.at(now_ns + round(self._cycle_s * 1e9)))
        far = math.dist((x, y), here_um)
        if far < _LEAST_MOVE_UM:
            return
        part = min(1.0, _LONGEST_MOVE_UM / far)
        self._sent_ns, self._runs = now_ns, True
        self._travel.send(
            (here_um[0] + part * (x - here_um[0]), here_um[1] + part * (y - here_um[1])), here_um
        )
