"""The simulated x/y stage."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated

from fgaf.acquire.devices import Clock, DeviceError, LimitsXY
from fgaf.acquire.drivers.limits import require_within_xy
from fgaf.acquire.drivers.simulated_stage import Move
from fgaf.acquire.tables import Table
from fgaf.base.bounds import Bound, DistanceUm, PositionUm, SpeedUmS, WaitMs

_REMEMBERED_LEGS = 64
_PER_S = 10.0

_Range = tuple[PositionUm, PositionUm]


class XYStageOptions(Table):
    """``[xy_stage.options]`` of the simulated x/y stage.

    Attributes
    ----------
    start_um
        Position when opened, x and y.
    travel_um
        Lowest and highest x, and y.
    speed_um_s
        Speed of its moves along each axis, and its highest velocity.
    backlash_um
        Play: after a change of direction, the motor moves by this much before the specimen follows.
        The read-back does not show it.
    angle_deg
        Angle of the stage's axes to those of the image.
    mirrored
        Whether y of the stage points against y of the image.
    reply_ms
        Time from a command to its reply.
    """

    start_um: _Range = (0.0, 0.0)
    travel_um: tuple[_Range, _Range] = ((-50_000.0, 50_000.0), (-35_000.0, 35_000.0))
    speed_um_s: SpeedUmS = 5000.0
    backlash_um: DistanceUm = 0.0
    angle_deg: Annotated[float, Bound(-360, 360, "degrees")] = 0.0
    mirrored: bool = False
    reply_ms: WaitMs = 1.0

    @property
    def turn(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Matrix from x and y of the stage to x and y of the image, without the scale."""
        angle, side = math.radians(self.angle_deg), -1.0 if self.mirrored else 1.0
        return (
            (math.cos(angle), -side * math.sin(angle)),
            (math.sin(angle), side * math.cos(angle)),
        )


@dataclass(frozen=True)
class Glide:
    """Motion of one axis at a velocity, until it expires or reaches a limit.

    Attributes
    ----------
    begun_ns
        Time of the command.
    from_um
        Motor position at its start.
    velocity_um_s, duration_s
        Velocity, and how long it lasts.
    """

    begun_ns: int
    from_um: float
    velocity_um_s: float
    duration_s: float

    def motor_um(self, time_ns: int) -> float:
        """Position of the motor at a time."""
        gone = min(max((time_ns - self.begun_ns) / 1e9, 0.0), self.duration_s)
        return self.from_um + self.velocity_um_s * gone


@dataclass(frozen=True)
class _Leg:
    """Motion of both axes from one command to the next; `engaged_um` is the specimen before it."""

    begun_ns: int
    axes: tuple[Move | Glide, Move | Glide]
    engaged_um: tuple[float, float]

    def ends_ns(self) -> int:
        return self.begun_ns + round(1e9 * max(axis.duration_s for axis in self.axes))

    def motor_um(self, time_ns: int) -> tuple[float, float]:
        x, y = (axis.motor_um(time_ns) for axis in self.axes)
        return x, y


class SimulatedXYStage:
    """An x/y stage with backlash; implements `fgaf.acquire.devices.VelocityStage`.

    Parameters
    ----------
    options
        Its properties.
    limits_um
        Limits of the rig; those of the travel hold too.
    clock
        The simulated clock.
    velocity_valid_s, highest_velocity_um_s
        See `VelocityStage`.
    """

    name = "simulated x/y stage"

    def __init__(
        self,
        options: XYStageOptions,
        limits_um: LimitsXY,
        clock: Clock,
        velocity_valid_s: float,
        highest_velocity_um_s: float,
    ) -> None:
        self.velocity_valid_s = velocity_valid_s
        self.highest_velocity_um_s = min(highest_velocity_um_s, options.speed_um_s)
        self._options, self._clock = options, clock
        (x, y) = (
            (max(low, own[0]), min(high, own[1]))
            for (low, high), own in zip(limits_um, options.travel_um, strict=True)
        )
        self.limits_xy_um: LimitsXY = (x, y)
        self._legs: deque[_Leg] = deque(maxlen=_REMEMBERED_LEGS)
        at = Glide(clock.now_ns(), options.start_um[0], 0, 0)
        across = Glide(clock.now_ns(), options.start_um[1], 0, 0)
        self._legs.append(_Leg(clock.now_ns(), (at, across), options.start_um))

    def position_xy_um(self) -> tuple[float, float]:
        """Read the motors' positions, as they are halfway between query and reply."""
        self._reply(0.5)
        here = self._legs[-1].motor_um(self._clock.now_ns())
        self._reply(0.5)
        return here

    def move_xy_to(self, x_um: float, y_um: float) -> None:
        """Start a move of the specimen; it may begin during another one.

        Raises
        ------
        DeviceError
            It is outside the limits.
        """
        require_within_xy((x_um, y_um), self.limits_xy_um, self.name)
        self._reply()
        now_ns, here = self._clock.now_ns(), self._motor_um()
        speed = self._options.speed_um_s
        x, y = (
            Move(now_ns, at, to, at, speed, _PER_S * speed)
            for at, to in zip(here, (x_um, y_um), strict=True)
        )
        self._begin((x, y))

    def move_xy_at(self, vx_um_s: float, vy_um_s: float) -> None:
        """Move at a velocity for `velocity_valid_s`, or to the nearest limit.

        Raises
        ------
        DeviceError
            The velocity is too high, or leads out of the limits.
        """
        velocity = (vx_um_s, vy_um_s)
        if not max(map(abs, velocity)) <= self.highest_velocity_um_s:
            raise DeviceError(
                f"{self.name} moves at up to {self.highest_velocity_um_s:g} µm/s, not at "
                f"{vx_um_s:g}, {vy_um_s:g}"
            )
        self._reply()
        now_ns, here = self._clock.now_ns(), self._motor_um()
        lasts_s = min(
            self.velocity_valid_s,
            *(
                ((limits[1] if each > 0 else limits[0]) - at) / each if each else math.inf
                for at, each, limits in zip(here, velocity, self.limits_xy_um, strict=True)
            ),
        )
        if lasts_s <= 0:
            self.stop()
            require_within_xy((here[0] + vx_um_s, here[1] + vy_um_s), self.limits_xy_um, self.name)
        x, y = (Glide(now_ns, at, each, lasts_s) for at, each in zip(here, velocity, strict=True))
        self._begin((x, y))

    def moving_xy(self) -> bool:
        """Whether a motor runs."""
        self._reply()
        return self._clock.now_ns() < self._legs[-1].ends_ns()

    def stop(self) -> None:
        """Stop at the current position."""
        now_ns = self._clock.now_ns()
        x, y = (Glide(now_ns, at, 0, 0) for at in self._motor_um())
        self._begin((x, y))

    def close(self) -> None:
        """Stop."""
        self.stop()

    def specimen_um(self, time_ns: int | None = None) -> tuple[float, float]:
        """True position of the specimen along x and y of the image, in µm.

        Parameters
        ----------
        time_ns
            A time during this or a recent motion; by default now.
        """
        at_ns = self._clock.now_ns() if time_ns is None else time_ns
        leg = next((each for each in reversed(self._legs) if each.begun_ns <= at_ns), self._legs[0])
        x, y = self._played_um(leg, at_ns)
        (xx, xy), (yx, yy) = self._options.turn
        return xx * x + xy * y, yx * x + yy * y

    def _begin(self, axes: tuple[Move | Glide, Move | Glide]) -> None:
        now_ns = self._clock.now_ns()
        self._legs.append(_Leg(now_ns, axes, self._played_um(self._legs[-1], now_ns)))

    def _motor_um(self) -> tuple[float, float]:
        return self._legs[-1].motor_um(self._clock.now_ns())

    def _played_um(self, leg: _Leg, time_ns: int) -> tuple[float, float]:
        """Position of the specimen: it follows upwards at once, downwards after the play."""
        play = self._options.backlash_um
        x, y = (
            min(max(engaged, motor), motor + play)
            for engaged, motor in zip(leg.engaged_um, leg.motor_um(time_ns), strict=True)
        )
        return x, y

    def _reply(self, part: float = 1.0) -> None:
        self._clock.sleep(part * self._options.reply_ms / 1e3)
