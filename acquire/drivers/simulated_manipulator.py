"""The simulated manipulator, which holds the micropipette."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from fgaf.acquire.devices import Clock, DeviceError, LimitsXYZ, Place3
from fgaf.acquire.drivers.limits import require_within_xyz
from fgaf.acquire.drivers.mount import Mount
from fgaf.acquire.drivers.simulated_stage import Move
from fgaf.base.bounds import Bound, DistanceUm, PositionUm, SpeedUmS, WaitMs

_REMEMBERED_LEGS = 256

_Range = tuple[PositionUm, PositionUm]
_DriftUmMin = Annotated[float, Bound(-1e4, 1e4, "µm/min")]


class ManipulatorOptions(Mount):
    """``[manipulator.options]`` of the simulated manipulator; also those of its `Mount`.

    Attributes
    ----------
    start_um
        Position when opened: x, y and z.
    travel_um
        Lowest and highest x, y and z.
    speed_um_s, acceleration_um_s2
        Highest speed of an axis, and its acceleration.
    backlash_um
        Play: after a change of direction, a motor moves by this much before the pipette follows.
        The read-back does not show it.
    repeatability_um
        Scatter of the final positions, r.m.s.; the read-back shows it.
    drift_um_min
        Drift of the pipette in x, y and z of the image, µm per minute; the read-back does not show
        it.
    reply_ms
        Time from a command to its reply.
    """

    start_um: tuple[PositionUm, PositionUm, PositionUm] = (0.0, 0.0, 0.0)
    travel_um: tuple[_Range, _Range, _Range] = ((-10_000.0, 10_000.0),) * 3
    speed_um_s: SpeedUmS = 1000.0
    acceleration_um_s2: Annotated[float, Bound(1e-3, 1e12, "µm/s²")] = 10_000.0
    backlash_um: DistanceUm = 0.0
    repeatability_um: DistanceUm = 0.02
    drift_um_min: tuple[_DriftUmMin, _DriftUmMin, _DriftUmMin] = (0.0, 0.0, 0.0)
    reply_ms: WaitMs = 1.0


@dataclass(frozen=True)
class _Leg:
    """A straight move: all axes go the same share of their ways."""

    from_um: Place3
    to_um: Place3
    engaged_um: Place3
    longest: Move

    def motor_um(self, time_ns: int) -> Place3:
        way = self.longest.to_um
        part = self.longest.motor_um(time_ns) / way if way else 1.0
        x, y, z = (a + part * (b - a) for a, b in zip(self.from_um, self.to_um, strict=True))
        return x, y, z


class SimulatedManipulator:
    """Moves a simulated micropipette; implements `fgaf.acquire.devices.Manipulator`.

    Parameters
    ----------
    options
        Its properties.
    clock
        The simulated clock.
    seed
        Seed of the scatter of its positions.

    Attributes
    ----------
    moves
        Number of moves since it was opened.
    """

    name = "simulated manipulator"

    def __init__(self, options: ManipulatorOptions, clock: Clock, seed: int = 0) -> None:
        self.moves = 0
        self._options, self._clock = options, clock
        self._random = np.random.default_rng((seed, 3))
        self._opened_ns = clock.now_ns()
        start = options.start_um
        self._legs: deque[_Leg] = deque(maxlen=_REMEMBERED_LEGS)
        self._legs.append(_Leg(start, start, start, self._move(0.0, options.speed_um_s)))

    @property
    def limits_xyz_um(self) -> LimitsXYZ:
        """Lowest and highest x, y and z."""
        return self._options.travel_um

    def position_xyz_um(self) -> Place3:
        """Read the motors' positions, as they are halfway between query and reply."""
        self._reply(0.5)
        here = self._motor_um()
        self._reply(0.5)
        return here

    def move_xyz_to(self, x_um: float, y_um: float, z_um: float, speed_um_s: float) -> None:
        """Start a straight move; it may begin during another one.

        Raises
        ------
        DeviceError
            It is outside the travel, or too fast.
        """
        target = (x_um, y_um, z_um)
        require_within_xyz(target, self.limits_xyz_um, self.name)
        if not 0 < speed_um_s <= self._options.speed_um_s:
            raise DeviceError(
                f"{self.name} moves at up to {self._options.speed_um_s:g} µm/s, not at "
                f"{speed_um_s:g}"
            )
        self._reply()
        self.moves += 1
        x, y, z = (
            at + float(self._random.normal(scale=self._options.repeatability_um)) for at in target
        )
        self._go((x, y, z), speed_um_s)

    def moving_xyz(self) -> bool:
        """Whether a motor runs."""
        self._reply()
        longest = self._legs[-1].longest
        return longest.seconds(self._clock.now_ns()) < longest.duration_s

    def stop(self) -> None:
        """Stop at the current position."""
        self._go(self._motor_um(), self._options.speed_um_s)

    def close(self) -> None:
        """Stop."""
        self.stop()

    def tip_um(self, time_ns: int | None = None) -> Place3:
        """True place of the free tip, that touches nothing: x, y, z as `Mount.tip_um`.

        Parameters
        ----------
        time_ns
            A time during this or a recent move; by default now.
        """
        at_ns = self._clock.now_ns() if time_ns is None else time_ns
        leg = next(
            (each for each in reversed(self._legs) if each.longest.begun_ns <= at_ns),
            self._legs[0],
        )
        minutes = (at_ns - self._opened_ns) / 60e9
        held = self._options.tip_at(self._played_um(leg, at_ns))
        x, y, z = (
            at + minutes * drift for at, drift in zip(held, self._options.drift_um_min, strict=True)
        )
        return x, y, z

    def _go(self, target: Place3, speed_um_s: float) -> None:
        now_ns, here = self._clock.now_ns(), self._motor_um()
        engaged = self._played_um(self._legs[-1], now_ns)
        way = max(abs(b - a) for a, b in zip(here, target, strict=True))
        self._legs.append(_Leg(here, target, engaged, self._move(way, speed_um_s)))

    def _move(self, way_um: float, speed_um_s: float) -> Move:
        return Move(
            self._clock.now_ns(), 0.0, way_um, 0.0, speed_um_s, self._options.acceleration_um_s2
        )

    def _motor_um(self) -> Place3:
        return self._legs[-1].motor_um(self._clock.now_ns())

    def _played_um(self, leg: _Leg, time_ns: int) -> Place3:
        """Position of the pipette: it follows upwards at once, downwards after the play."""
        play = self._options.backlash_um
        x, y, z = (
            min(max(engaged, motor), motor + play)
            for engaged, motor in zip(leg.engaged_um, leg.motor_um(time_ns), strict=True)
        )
        return x, y, z

    def _reply(self, part: float = 1.0) -> None:
        self._clock.sleep(part * self._options.reply_ms / 1e3)
