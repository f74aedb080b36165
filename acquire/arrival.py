"""Waiting until a move has really ended: what is read back counts, not what a device says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fgaf.acquire.devices import Clock, DeviceError
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import StageTable

_STANDSTILL_S = 1.0

Place = tuple[float, ...]


@dataclass(frozen=True)
class Axes:
    """Something that moves along one axis or two.

    Attributes
    ----------
    name
        What errors call it.
    go, moving, read
        Start a move to a place, ask whether it lasts, ask for the place.
    tolerance, tolerance_um
        The rig's key, and its value: smaller changes count as standing.
    """

    name: str
    go: Callable[[Place], None]
    moving: Callable[[], bool]
    read: Callable[[], Place]
    tolerance: str
    tolerance_um: float


def arrive(
    axes: Axes,
    target: Place,
    tolerance_um: float,
    settings: StageTable,
    clock: Clock,
    interrupt: Interrupt,
) -> Place:
    """Go somewhere, and wait until the axes stand there.

    A device may report its end too early, so a wrong place is an error only once it has not
    changed for a second.

    Parameters
    ----------
    axes
        What moves.
    target
        Where to, in µm.
    tolerance_um
        Largest distance between target and what is read back, along each axis.
    settings
        Gives time-out and pause between two questions.
    clock, interrupt
        What waits are measured by and ended by.

    Returns
    -------
    tuple of float
        The place read back, in µm.

    Raises
    ------
    DeviceError
        They did not arrive within the time-out, or came to rest elsewhere.
    """
    axes.go(target)
    deadline_ns = clock.now_ns() + round(settings.timeout_s * 1e9)
    stood_ns, stood = deadline_ns, tuple(math.inf for _ in target)
    while True:
        interrupt.check()
        moving = axes.moving()
        if not moving:
            here = axes.read()
            if _apart_um(here, target) <= tolerance_um:
                return here
            if _apart_um(here, stood) > axes.tolerance_um / 4:
                stood_ns, stood = clock.now_ns(), here
            elif clock.now_ns() - stood_ns > _STANDSTILL_S * 1e9:
                raise DeviceError(
                    f"{axes.name} came to rest at {shown(here)}, not within {tolerance_um:g} µm of "
                    f"{_wanted(target)}; look for an obstacle or raise {axes.tolerance}"
                )
        if clock.now_ns() > deadline_ns:
            doing = "still moving" if moving else "idle"
            raise DeviceError(
                f"{axes.name} has not arrived at {_wanted(target)} after {settings.timeout_s:g} s "
                f"and is {doing} at {shown(axes.read())}; check it or raise stage.timeout_s"
            )
        clock.sleep(settings.poll_ms / 1e3)


def shown(place: Place) -> str:
    """Write a place as errors do, to the nanometre."""
    return f"{', '.join(f'{each:.3f}' for each in place)} µm"


def _wanted(place: Place) -> str:
    return f"{', '.join(f'{each:.6g}' for each in place)} µm"


def _apart_um(one: Place, other: Place) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
