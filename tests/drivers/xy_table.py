"""What moves the specimen under a simulated controller: a table with two axes and limit switches.

It moves by the computer's clock. The counter is where the controller takes the table to be.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

Pair = tuple[float, float]


@dataclass(frozen=True)
class TablePersonality:
    """What a table is like.

    Attributes
    ----------
    start_um, switches_um
        Where it stands at first, and its lowest and highest x, and y.
    speed_um_s
        Of its moves, along each axis.
    stalls_after_um
        It stops this far into every move, or motion at a velocity.
    velocity_scale
        Its velocity is so many times the one commanded.
    counts_to
        The counter after a power cycle.
    """

    start_um: Pair = (100.0, -50.0)
    switches_um: tuple[Pair, Pair] = ((-5000.0, 5000.0), (-4000.0, 4000.0))
    speed_um_s: float = 20_000.0
    stalls_after_um: float = math.inf
    velocity_scale: float = 1.0
    counts_to: Pair = (0.0, 0.0)


TABLE = TablePersonality()


@dataclass
class _Motion:
    """Motion of one axis: from a place, at a velocity, as far as `way_um`."""

    begin_s: float
    from_um: float
    velocity_um_s: float = 0.0
    way_um: float = 0.0

    @property
    def end_s(self) -> float:
        return self.begin_s + (self.way_um / abs(self.velocity_um_s) if self.velocity_um_s else 0.0)

    def at(self, time_s: float) -> float:
        gone = abs(self.velocity_um_s) * max(time_s - self.begin_s, 0.0)
        return self.from_um + math.copysign(min(gone, self.way_um), self.velocity_um_s)


@dataclass
class XYTable:
    """A table; its counter reads 0 at `zero_um`."""

    like: TablePersonality
    zero_um: Pair = (0.0, 0.0)
    _motions: list[_Motion] = field(default_factory=list)

    def __post_init__(self) -> None:
        now_s = time.monotonic()
        self._motions = [_Motion(now_s, at) for at in self.like.start_um]

    @property
    def position_um(self) -> Pair:
        """Where it really is."""
        x, y = (each.at(time.monotonic()) for each in self._motions)
        return x, y

    @property
    def counter_um(self) -> Pair:
        """Where the controller takes it to be."""
        x, y = (at - zero for at, zero in zip(self.position_um, self.zero_um, strict=True))
        return x, y

    def moving(self, axis: int) -> bool:
        """Whether x (0) or y (1) moves."""
        return time.monotonic() < self._motions[axis].end_s

    def go(self, counter_um: Pair) -> float:
        """Start a move, from wherever it is; return how long it takes."""
        speed = self.like.speed_um_s
        targets = (at + zero for at, zero in zip(counter_um, self.zero_um, strict=True))
        ways = [to - at for to, at in zip(targets, self.position_um, strict=True)]
        self._begin([math.copysign(speed, way) for way in ways], [abs(way) for way in ways])
        return max(each.end_s for each in self._motions) - time.monotonic()

    def drive(self, velocity_um_s: Pair) -> None:
        """Move at a velocity until something else is commanded."""
        self._begin(
            [self.like.velocity_scale * each for each in velocity_um_s], [math.inf, math.inf]
        )

    def halt(self) -> None:
        """Stand still."""
        self._begin([0.0, 0.0], [0.0, 0.0])

    def push(self, x_um: float, y_um: float) -> None:
        """Shift it by hand; a motion goes on from there."""
        for motion, by_um in zip(self._motions, (x_um, y_um), strict=True):
            motion.from_um += by_um

    def power_cycle(self) -> None:
        """Switch off and on: it stands, and the counter begins anew."""
        self.halt()
        x, y = (
            at - counter for at, counter in zip(self.position_um, self.like.counts_to, strict=True)
        )
        self.zero_um = (x, y)

    def _begin(self, velocities: list[float], ways: list[float]) -> None:
        now_s = time.monotonic()
        here = [each.at(now_s) for each in self._motions]
        self._motions = [
            _Motion(now_s, at, velocity, self._room(axis, at, velocity, way))
            for axis, (at, velocity, way) in enumerate(zip(here, velocities, ways, strict=True))
        ]

    def _room(self, axis: int, at_um: float, velocity: float, way_um: float) -> float:
        """How far it gets before it stalls or meets a switch."""
        if not velocity:
            return 0.0
        low, high = self.like.switches_um[axis]
        room = high - at_um if velocity > 0 else at_um - low
        return max(0.0, min(way_um, room, self.like.stalls_after_um))
