"""Observed moves of a micropipette: never under its start, and all but the first at a height."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.devices import Place3

_STEPS = (0.25, 0.5, 1.0)
_REPEATS = 3
_SLOW_S = 1.0
_REST_S = 0.2


@dataclass(frozen=True)
class PipetteBounds:
    """Range of the pipette during a check, around and over its position, inside the limits.

    Attributes
    ----------
    start_um
        Its position.
    reach_um
        Largest distance in x, in y, and upwards.
    top_um
        Height to which it is raised at the end, before it goes back.
    """

    start_um: Place3
    reach_um: float
    top_um: float

    @classmethod
    def of(cls, mover: PipetteMover, reach_um: float) -> PipetteBounds:
        """Read the position and limit the reach; moves nothing.

        Parameters
        ----------
        mover
            Moves the pipette.
        reach_um
            Largest distance.

        Raises
        ------
        SettingError
            The pipette is outside its limits.
        DeviceError
            Its position cannot be read.
        """
        mover.check_here()
        (x, y, z), limits = mover.position_um(), mover.limits_um
        room = [
            min(at - low, high - at) for at, (low, high) in zip((x, y), limits[:2], strict=True)
        ]
        high = limits[2][1]
        top = min(z + mover.settings.retreat_um, max(high, z))
        return cls((x, y, z), min(reach_um, *room, high - z), top)

    def describe(self) -> str:
        """Describe the moves of the pipette."""
        x, y, z = self.start_um
        return (
            f"the pipette will rise by up to {self.reach_um:.4g} µm from {x:.6g}, {y:.6g}, {z:.6g} "
            f"µm, move within ±{self.reach_um:.4g} µm in x and y up there, be raised to z = "
            f"{self.top_um:.6g} µm and go back; it never goes below z = {z:.6g} µm. If it sinks "
            "instead of rising, stop it by its own controls: its z counts the other way"
        )


@dataclass(frozen=True)
class PipetteFindings:
    """Result of a trial.

    Attributes
    ----------
    moves
        Number of moves that were confirmed.
    largest_error_um
        Largest distance of a read-back from its target, along an axis.
    played_um
        Distance of the read-backs of one place that is reached from both sides, along each axis.
    scatter_um
        Largest range of the read-backs of one place that is reached from the same side.
    asked_um_s, speed_um_s
        Speed of a slow move along x, and its mean speed from command to arrival.
    ran_on_um
        How far it went between the command to stop and rest, in the middle of that move.
    stopped
        Whether it stayed where it had stopped, before the end of the move.
    """

    moves: int
    largest_error_um: float
    played_um: Place3
    scatter_um: float
    asked_um_s: float
    speed_um_s: float
    ran_on_um: float
    stopped: bool


def try_pipette(mover: PipetteMover, bounds: PipetteBounds) -> PipetteFindings:
    """Move the pipette: upwards, then around at the height of the reach.

    Parameters
    ----------
    mover
        Moves the pipette.
    bounds
        Where it may move.

    Raises
    ------
    DeviceError
        It does not arrive, or does not answer.
    """
    reach, clock = bounds.reach_um, mover.clock
    errors: list[float] = []

    def place(x: float, y: float, z: float) -> Place3:
        """Return a place in units of the reach."""
        x0, y0, z0 = bounds.start_um
        return (x0 + x * reach, y0 + y * reach, z0 + z * reach)

    def go(x: float, y: float, z: float, speed_um_s: float | None = None) -> Place3:
        target = place(x, y, z)
        here = mover.go_to(target, speed_um_s)
        errors.append(max(abs(at - to) for at, to in zip(here, target, strict=True)))
        return here

    def both_sides(axis: int, low: Place3, middle: Place3, high: Place3) -> tuple[float, float]:
        sides: tuple[list[float], list[float]] = ([], [])
        for _ in range(_REPEATS):
            for end, found in zip((low, high), sides, strict=True):
                go(*end)
                found.append(go(*middle)[axis])
        below, above = np.mean(sides, axis=1)
        return abs(float(above - below)), float(np.max(np.ptp(sides, axis=1)))

    for height in _STEPS:
        go(0, 0, height)
    sides = (
        both_sides(0, (-1, 0, 1), (0, 0, 1), (1, 0, 1)),
        both_sides(1, (0, -1, 1), (0, 0, 1), (0, 1, 1)),
        both_sides(2, (0, 0, 0.25), (0, 0, 0.5), (0, 0, 1)),
    )
    asked = min(mover.settings.highest_speed_um_s, 2 * reach / _SLOW_S)
    go(-1, 0, 1)
    begun_ns = clock.now_ns()
    go(1, 0, 1, asked)
    slow_s = (clock.now_ns() - begun_ns) / 1e9
    mover.send(place(-1, 0, 1), asked)
    clock.sleep(reach / asked)
    at_command = mover.position_um()
    mover.halt()
    at_rest = _at_rest(mover)
    go(0, 0, 1)
    x, y, z = (played for played, _ in sides)
    return PipetteFindings(
        moves=len(errors),
        largest_error_um=max(errors),
        played_um=(x, y, z),
        scatter_um=max(scatter for _, scatter in sides),
        asked_um_s=asked,
        speed_um_s=2 * reach / slow_s if slow_s else asked,
        ran_on_um=abs(at_command[0] - at_rest[0]),
        stopped=math.dist(at_rest, place(-1, 0, 1)) > mover.settings.tolerance_um,
    )


def _at_rest(mover: PipetteMover) -> Place3:
    """Wait until the position does not change any more; returns it."""
    clock, settings = mover.clock, mover.settings
    deadline_ns = clock.now_ns() + round(settings.timeout_s * 1e9)
    here = mover.position_um()
    while True:
        clock.sleep(_REST_S)
        before, here = here, mover.position_um()
        still = math.dist(before, here) <= settings.tolerance_um
        if (still and not mover.moving()) or clock.now_ns() > deadline_ns:
            return here
