"""Find the order of a stack's planes and their spacing, from all metadata that give them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.bounds import PositionUm, require
from fgaf.base.errors import SettingError
from fgaf.dataset.importers.zstack import Claim, Heights, ZStack, magnitudes, settle

_UNEVEN: Final = 0.5
_OFF_LINE: Final = 0.25
_TOLERANCE: Final = 0.1


def stored_downwards(
    stack: ZStack, highest_first: bool = False, ignore_metadata: bool = False
) -> bool:
    """Find whether the planes are stored from the highest to the lowest.

    Positions, with or without a unit, and negative steps give the order. A positive step does not:
    programs write its size there. By default the first plane is the lowest.

    Parameters
    ----------
    stack
        The planes and their metadata.
    highest_first
        Whether the user says so.
    ignore_metadata
        Whether only the user's word counts.

    Raises
    ------
    SettingError
        Two sources differ, or positions go up and down; the message has both.
    """
    down: dict[str, bool] = {"--highest-first": True} if highest_first else {}
    if not ignore_metadata:
        for heights in _recorded(stack):
            down[heights.source] = bool(_steps(stack, heights)[0] < 0)
        down |= {claim.source: True for claim in stack.steps_um if claim.value < 0}
    first = {downwards: source for source, downwards in reversed(down.items())}
    if len(first) > 1:
        raise SettingError(
            f"{stack.path}: its planes go down by {first[True]} and up by {first[False]}; leave "
            "the wrong one out, or pass --ignore-metadata, and --highest-first where they go down"
        )
    return True in first


def stated_step(
    stack: ZStack, step_um: float | None, ignore_metadata: bool = False
) -> Claim | None:
    """Find the z step on which metadata and option agree; None if neither gives it.

    Parameters
    ----------
    stack
        The planes and their metadata.
    step_um
        The option ``--step``, µm.
    ignore_metadata
        Whether only the option counts.

    Raises
    ------
    SettingError
        Two values differ.
    """
    given = Claim("--step", step_um) if step_um is not None else None
    return settle(
        "z step", stack.path, () if ignore_metadata else magnitudes(stack.steps_um), given
    )


def step_of(stack: ZStack, step_um: float | None, ignore_metadata: bool = False) -> Claim:
    """Find the z step from metadata, option and recorded positions; see `stated_step`.

    Parameters
    ----------
    stack
        The stack as read.
    step_um
        The z step that the user gave, µm, or None.
    ignore_metadata
        Use only `step_um`.

    Raises
    ------
    SettingError
        It is unknown, two values differ, or the positions are not evenly spaced.
    """
    step = stated_step(stack, step_um, ignore_metadata)
    z = None if ignore_metadata else stack.z_um
    if z is None:
        if step is None:
            raise SettingError(
                f"{stack.path} does not contain its z step; give it with --step (µm)"
            )
        return step
    mean = require_even(stack, z, stack.z_source)
    for other in stack.other_heights:
        if other.in_um:
            require_alike(stack, other)
    if step is None:
        return Claim(stack.z_source, round(mean, 4))
    if abs(mean - step.value) > _TOLERANCE * step.value:
        raise SettingError(
            f"{stack.path}: the z step is {step.value:g} µm by {step.source} and {mean:g} µm by "
            f"{stack.z_source}; leave the wrong one out, or pass --ignore-metadata to go by the "
            "options alone"
        )
    return step


def require_even(stack: ZStack, z_um: NDArray[np.float64], source: str) -> float:
    """Find the mean distance of planes, µm, from their positions.

    Parameters
    ----------
    stack
        The stack as read.
    z_um
        (P,) positions of its planes, µm.
    source
        Source of the positions, named in the error.

    Raises
    ------
    SettingError
        They go up and down, two neighbours are much farther apart than others, or a plane is off
        the line through all of them by more than a quarter of the distance.
    """
    spacing = np.abs(_steps(stack, Heights(source, z_um)))
    usual = float(np.median(spacing))
    odd = int(np.argmax(np.abs(spacing - usual)))
    if abs(spacing[odd] - usual) > _UNEVEN * usual:
        raise SettingError(
            f"{stack.path}: planes {odd + 1} and {odd + 2} are {spacing[odd]:g} µm apart by "
            f"{source}, others {usual:g} µm; planes of a stack are evenly spaced, or give --step "
            "with --ignore-metadata"
        )
    index = np.arange(len(z_um))
    away = np.abs(z_um - np.polyval(np.polyfit(index, z_um, 1), index))
    worst = int(np.argmax(away))
    if away[worst] > _OFF_LINE * spacing.mean():
        shown = ", ".join(f"{z:g}" for z in z_um[:8])
        raise SettingError(
            f"{stack.path}: its planes are unevenly spaced by {source} ({shown} µm); plane "
            f"{worst + 1} is {away[worst]:.2g} µm off, or give --step with --ignore-metadata"
        )
    return float(spacing.mean())


def require_alike(stack: ZStack, other: Heights) -> None:
    """Refuse positions that differ from the stack's own by more than an offset.

    Parameters
    ----------
    stack
        The stack with its own positions.
    other
        Positions from another source, µm.

    Raises
    ------
    SettingError
        They differ; the message has both spacings.
    """
    if stack.z_um is None:
        return
    own = require_even(stack, stack.z_um, stack.z_source)
    its = require_even(stack, other.values, other.source)
    if abs(own - its) > _TOLERANCE * own:
        raise SettingError(
            f"{stack.path}: its planes are {own:g} µm apart by {stack.z_source} and {its:g} µm by "
            f"{other.source}; pass --ignore-metadata to go by the options alone"
        )


def _recorded(stack: ZStack) -> list[Heights]:
    own = [] if stack.z_um is None else [Heights(stack.z_source, stack.z_um)]
    return [heights for heights in (*own, *stack.other_heights) if np.ptp(heights.values) != 0]


def _steps(stack: ZStack, heights: Heights) -> NDArray[np.float64]:
    for plane, z in enumerate(heights.values):
        require(PositionUm, z, f"{stack.path}: {heights.source} of plane {plane + 1}")
    steps: NDArray[np.float64] = np.diff(heights.values)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise SettingError(
            f"{stack.path}: the positions by {heights.source} go up and down; sort the planes, or "
            "give --step with --ignore-metadata"
        )
    return steps
