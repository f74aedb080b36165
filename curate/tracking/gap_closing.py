"""Chains of spots, and joining two chains of one cell that was lost in focus and found again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MEMORY: Final = 5
"""Number of positions for a velocity: enough to average over the oscillation of the head."""
_LEAST_JOINED: Final = 3
_LONGEST_GAP: Final = 7
_SHARED: Final = 0.25
"""Two chains are not joined when more than this share of their spots would be left out."""


@dataclass(eq=False)
class Chain:
    """Spots linked through the planes; arrays are (P,).

    Attributes
    ----------
    y, x
        Position in every plane, pixels; predicted where no spot was found.
    spot
        Number of the spot among the plane's detections, -1 where none was found.
    jump
        Whether the step into the plane was far from its prediction.
    cost
        Cost of the links between the spots.
    """

    y: Floats
    x: Floats
    spot: npt.NDArray[np.intp]
    jump: npt.NDArray[np.bool_]
    cost: float = 0.0


Joint = tuple[float, Chain, Chain, Chain]
"""Mismatch in pixels, the joined chain, and its two parts."""


def close_gaps(chains: list[Chain], head: float) -> list[Chain]:
    """Join chains that end where another begins, the best match first.

    Parameters
    ----------
    chains
        All chains of a stack.
    head
        Length of a head, pixels.
    """
    chains = list(chains)
    joints = [
        joint
        for first in chains
        for second in chains
        if (joint := _joint(first, second, head)) is not None
    ]
    while joints:
        _, new, *old = min(joints, key=lambda joint: joint[0])
        chains = [chain for chain in chains if chain not in old]
        joints = [joint for joint in joints if joint[2] not in old and joint[3] not in old]
        for other in chains:
            for pair in ((new, other), (other, new)):
                joint = _joint(*pair, head)
                if joint is not None:
                    joints.append(joint)
        chains.append(new)
    return chains


def _joint(first: Chain, second: Chain, head: float) -> Joint | None:
    """Join two chains where the second continues the first; None where it does not."""
    if first is second:
        return None
    seen, then = first.spot >= 0, second.spot >= 0
    either = int(seen.sum() + then.sum())
    if (seen & then).sum() > _SHARED * either:
        return None
    index = np.arange(len(seen))
    kept = np.cumsum(seen) - seen + then.sum() - np.cumsum(then) + then
    cut = int(np.argmax(kept))
    before, after = index[seen & (index < cut)], index[then & (index >= cut)]
    if min(len(before), len(after)) < _LEAST_JOINED or kept[cut] < (1 - _SHARED) * either:
        return None
    away = np.hypot(
        first.y[before[-1]] - second.y[after[0]], first.x[before[-1]] - second.x[after[0]]
    )
    if away > (2 + 1.5 * (after[0] - before[-1])) * head:
        return None
    misses = [
        miss
        for early in _endings(before)
        for late in _endings(after[::-1])
        if (miss := _miss(first, second, early, late[::-1], head)) is not None
    ]
    if not misses:
        return None
    later = index >= cut
    chain = Chain(
        y=np.where(later, second.y, first.y),
        x=np.where(later, second.x, first.x),
        spot=np.where(later, second.spot, first.spot),
        jump=np.where(later, second.jump, first.jump),
    )
    return min(misses), chain, first, second


def _endings(planes: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """The planes, and the planes without the last ones, which may be unreliable near focus."""
    return [planes[: len(planes) - n] for n in range(4) if len(planes) - n >= _LEAST_JOINED]


def _miss(
    first: Chain,
    second: Chain,
    before: npt.NDArray[np.intp],
    after: npt.NDArray[np.intp],
    head: float,
) -> float | None:
    """Distance of two paths when each is extrapolated to the other; None if too far."""
    gap = int(after[0] - before[-1])
    if gap > _LONGEST_GAP:
        return None
    there = _extrapolated(first, before[-MEMORY:], int(after[0]))
    back = _extrapolated(second, after[:MEMORY], int(before[-1]))
    miss = (
        np.hypot(there[0] - second.y[after[0]], there[1] - second.x[after[0]])
        + np.hypot(back[0] - first.y[before[-1]], back[1] - first.x[before[-1]])
    ) / 2
    return float(miss) if miss <= (1.0 + 0.2 * gap) * head else None


def _extrapolated(path: Chain, planes: npt.NDArray[np.intp], to: int) -> tuple[float, float]:
    """Extrapolated position of a path in another plane."""
    y, x = (np.polyfit(planes, way[planes], 1) for way in (path.y, path.x))
    return float(np.polyval(y, to)), float(np.polyval(x, to))
