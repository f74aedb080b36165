"""The simulated focus drive."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from fgaf.acquire.devices import Clock, DeviceError
from fgaf.acquire.tables import Table
from fgaf.base.bounds import (
    Bound,
    DistanceUm,
    FrequencyHz,
    PollMs,
    PositionUm,
    SpeedUmS,
    WaitMs,
)

_REMEMBERED_MOVES = 64


class StageOptions(Table):
    """``[stage.options]`` of the simulated drive.

    Attributes
    ----------
    start_um
        Position when opened.
    travel_um
        Lowest and highest position.
    speed_um_s, acceleration_um_s2
        Highest speed, and acceleration, of its moves.
    backlash_um
        Play: after a change of direction, the motor moves by this much before the objective
        follows.
    ringing_um, ringing_hz, ringing_ms
        Oscillation of the objective after a move: its largest first amplitude (smaller after short
        moves), its frequency, and the time in which it decays to 1/e. The read-back does not show
        it.
    repeatability_um
        Scatter of the final positions, r.m.s.; the read-back shows it.
    reply_ms
        Time from a command to its reply.
    realtime
        Whether simulated time runs at the speed of real time; else it runs as fast as possible.
    """

    start_um: PositionUm = 0.0
    travel_um: tuple[PositionUm, PositionUm] = (-1000.0, 1000.0)
    speed_um_s: SpeedUmS = 200.0
    acceleration_um_s2: Annotated[float, Bound(1e-3, 1e12, "µm/s²")] = 5000.0
    backlash_um: DistanceUm = 0.4
    ringing_um: DistanceUm = 0.1
    ringing_hz: FrequencyHz = 90.0
    ringing_ms: PollMs = 6.0
    repeatability_um: DistanceUm = 0.01
    reply_ms: WaitMs = 1.0
    realtime: bool = False


@dataclass(frozen=True)
class Move:
    """One move of the motor, from rest to rest, with a trapezoidal speed profile.

    Attributes
    ----------
    begun_ns
        Time of the command.
    from_um, to_um
        Motor positions at its ends.
    engaged_um
        Position of the objective after the previous move.
    speed_um_s, acceleration_um_s2
        Its highest speed, and its acceleration.
    """

    begun_ns: int
    from_um: float
    to_um: float
    engaged_um: float
    speed_um_s: float
    acceleration_um_s2: float

    @property
    def duration_s(self) -> float:
        """Time from the command to rest."""
        way, speed, acceleration = self._way_um, self.speed_um_s, self.acceleration_um_s2
        if way < speed**2 / acceleration:
            return 2 * math.sqrt(way / acceleration)
        return way / speed + speed / acceleration

    def seconds(self, time_ns: int) -> float:
        """Time since the command."""
        return (time_ns - self.begun_ns) / 1e9

    def motor_um(self, time_ns: int) -> float:
        """Position of the motor; the second half of a move mirrors the first."""
        duration = self.duration_s
        gone = min(max(self.seconds(time_ns), 0.0), duration)
        if gone <= duration / 2:
            return self.from_um + math.copysign(self._ramp_um(gone), self.to_um - self.from_um)
        return self.to_um - math.copysign(self._ramp_um(duration - gone), self.to_um - self.from_um)

    @property
    def _way_um(self) -> float:
        return abs(self.to_um - self.from_um)

    def _ramp_um(self, seconds: float) -> float:
        rise = min(seconds, self.speed_um_s / self.acceleration_um_s2)
        return self.acceleration_um_s2 * rise**2 / 2 + self.speed_um_s * (seconds - rise)


class SimulatedStage:
    """A stepper drive with acceleration, backlash, ringing and scattered final positions."""

    name = "simulated focus drive"

    def __init__(self, options: StageOptions, clock: Clock, seed: int = 0) -> None:
        self._options = options
        self._clock = clock
        self._random = np.random.default_rng((seed, 1))
        start = options.start_um
        self._moves: deque[Move] = deque(maxlen=_REMEMBERED_MOVES)
        self._moves.append(self._move(clock.now_ns(), start, start, start, options.speed_um_s))

    @property
    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest z."""
        return self._options.travel_um

    def position_um(self) -> float:
        """Read the motor's position, as it is halfway between query and reply."""
        half_s = self._options.reply_ms / 2e3
        self._clock.sleep(half_s)
        z_um = self._moves[-1].motor_um(self._clock.now_ns())
        self._clock.sleep(half_s)
        return z_um

    def move_to(self, z_um: float) -> None:
        """Start a move; it may begin during another one.

        Raises
        ------
        DeviceError
            `z_um` is outside the travel.
        """
        self.ramp_to(z_um, self._options.speed_um_s)

    def ramp_to(self, z_um: float, speed_um_s: float) -> None:
        """Start a move at a speed up to the drive's own.

        Raises
        ------
        DeviceError
            The speed is too high, or `z_um` is outside the travel.
        """
        low, high = self.limits_um
        if not low <= z_um <= high:
            raise DeviceError(
                f"{z_um:g} µm is outside the drive's limits {low:g} to {high:g} µm; "
                "change stage.options.travel_um"
            )
        if not 0 < speed_um_s <= self._options.speed_um_s:
            raise DeviceError(
                f"the drive cannot move at {speed_um_s:g} µm/s; its highest speed is "
                f"{self._options.speed_um_s:g}"
            )
        self._clock.sleep(self._options.reply_ms / 1e3)
        self._turn_to(z_um + self._random.normal(scale=self._options.repeatability_um), speed_um_s)

    def moving(self) -> bool:
        """Whether the motor runs."""
        self._clock.sleep(self._options.reply_ms / 1e3)
        move = self._moves[-1]
        return move.seconds(self._clock.now_ns()) < move.duration_s

    def stop(self) -> None:
        """Stop at the current position."""
        here_um = self._moves[-1].motor_um(self._clock.now_ns())
        self._turn_to(here_um, self._options.speed_um_s)

    def close(self) -> None:
        """Does nothing: there is nothing to release."""

    def objective_um(self, time_ns: int) -> float:
        """True position of the objective, in µm, at a time during this or a recent move."""
        options = self._options
        move = next(
            (each for each in reversed(self._moves) if each.begun_ns <= time_ns), self._moves[0]
        )
        z_um = self._played_um(move, time_ns)
        rest = move.seconds(time_ns) - move.duration_s
        if rest <= 0:
            return z_um
        travel = move.to_um - move.from_um
        swing = math.copysign(min(options.ringing_um, abs(travel)), travel)
        fall = math.exp(-rest / (options.ringing_ms / 1e3))
        return z_um + swing * fall * math.sin(math.tau * options.ringing_hz * rest)

    def _turn_to(self, z_um: float, speed_um_s: float) -> None:
        now_ns, last = self._clock.now_ns(), self._moves[-1]
        here_um, engaged_um = last.motor_um(now_ns), self._played_um(last, now_ns)
        self._moves.append(self._move(now_ns, here_um, z_um, engaged_um, speed_um_s))

    def _move(
        self, begun_ns: int, from_um: float, to_um: float, engaged_um: float, speed_um_s: float
    ) -> Move:
        acceleration = self._options.acceleration_um_s2
        return Move(begun_ns, from_um, to_um, engaged_um, speed_um_s, acceleration)

    def _played_um(self, move: Move, time_ns: int) -> float:
        """Position of the objective: it follows upwards at once, downwards after the play."""
        motor_um = move.motor_um(time_ns)
        return min(max(move.engaged_um, motor_um), motor_um + self._options.backlash_um)
