"""Suggests the focus of a cell from its planes.

A sperm in bright field is a phase object: its contrast is lowest in focus and has a peak on either
side, and the head changes from dark to bright through focus. In relief contrast, and for absorbing
or fluorescent objects, contrast is highest in focus. `suggest` decides between the two from the
curves ("phase" or "peak"), and finds the minimum or maximum between planes.

The curves are powers of the image around one head in bands of spatial frequency and sectors of
direction. Two effects are removed:

- Spherical aberration separates the focus of coarse and fine detail; the shift is about
  proportional to the square of the frequency. The focus of a phase object is therefore read off at
  the limit of resolution, by a straight line through the bands' minima over frequency squared.
- Relief contrast sees one sideband only along its shear: there, power depends only weakly on focus,
  and not symmetrically. The axis of the shear, which is found from the power of coarse detail, is
  left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from fgaf.curate.detection.scale import HEAD_UM, Floats

Rule = Literal["phase", "peak"]

_WINDOW: Final = 0.45
"""Standard deviation of the window around the head, in head lengths."""
REACH: Final = 1.6
"""Half the side of the crop that is transformed, in head lengths."""
_EDGES: Final = np.array([0.25, 0.42, 0.6, 0.76, 0.93, 1.2])
"""Edges of the bands, in units of the coherent cut-off NA / wavelength."""
_USUAL_CUTOFF: Final = 0.65 / 0.55
"""NA / wavelength of a 40x/0.65 objective in green light, 1/µm; used where unknown."""
_LIMIT: Final = 1.0
"""Frequency where the line is read, in units of the cut-off: the edge of the pupil."""
_SECTORS: Final = 12
_SHEARED: Final = 2.5
"""An image counts as relief when coarse power along the shear over that across it is larger."""
_SHEAR_WIDTH: Final = 0.4
"""Directions within this angle of the shear's axis are left out, radians."""
_PARTS: Final = 3
"""Number of sectors of direction, all with the same weight."""
_FINE: Final = slice(1, 5)
_TURN_UM: Final = 1.3
_TURN_WEIGHT: Final = 0.6
"""Weight of the change from dark to bright; the minima of the five bands weigh up to 0.5 each."""
_FAR_APART: Final = 0.6
_PEAK_UM: Final = 1.6
_NEAR_UM: Final = 0.85
_LEAST_PLANES: Final = 5
_CLEAR: Final = 0.5


@dataclass(frozen=True)
class Curves:
    """Curves of one cell over its planes.

    Attributes
    ----------
    z_um
        (P,) drive positions, µm, ascending.
    power
        (P, B, A) mean power in each band of spatial frequency and each sector of direction,
        relative to the band's largest; NaN where the crop leaves the frame.
    frequency
        (B,) mean frequency of each band, in units of the coherent cut-off.
    blob
        (P,) signed contrast of the head's centre against its surroundings.
    """

    z_um: Floats
    power: Floats
    frequency: Floats
    blob: Floats

    @property
    def bands(self) -> Floats:
        """(P, B) power over all directions, relative to the largest of each band."""
        power = self.power.mean(axis=2)
        known = np.isfinite(power).all(axis=1)
        return np.asarray(power / power[known].max(axis=0, initial=1e-12))


@dataclass(frozen=True)
class Suggestion:
    """A focus plane that nobody has confirmed.

    Attributes
    ----------
    focus_um
        Drive position of the focus, between planes, µm.
    confidence
        0 to 1; below `CONFIDENT`, `problem` gives the reason.
    uncertainty_um
        Disagreement of the bands, µm.
    rule
        "phase": contrast is lowest in focus. "peak": contrast is highest.
    problem
        Empty, or why a person must check the suggestion.
    """

    focus_um: float
    confidence: float
    uncertainty_um: float
    rule: Rule
    problem: str = ""

    @property
    def fades(self) -> bool:
        """Whether the cell is invisible near its focus, and that focus is roughly known."""
        return self.rule == "phase" and bool(np.isfinite(self.uncertainty_um))


CONFIDENT: Final = 0.5


def measure(
    frames: npt.NDArray[Any],
    y: Floats,
    x: Floats,
    z_um: Floats,
    pixel_size_um: float,
    *,
    cutoff_per_um: float | None = None,
    head_um: float = HEAD_UM[0],
) -> Curves:
    """Measure the curves of one cell.

    Parameters
    ----------
    frames
        (P, Y, X) planes.
    y, x
        (P,) centre of the head in every plane, pixels.
    z_um
        (P,) drive positions, µm.
    pixel_size_um
        Pixel in the specimen, µm.
    cutoff_per_um
        NA / wavelength; None where unknown.
    head_um
        Length of the head, µm.
    """
    head = max(head_um / pixel_size_um, 4.0)
    reach = round(REACH * head)
    side = 2 * reach
    cutoff = _USUAL_CUTOFF if cutoff_per_um is None else cutoff_per_um
    top = min(_EDGES[-1] * cutoff, 0.9 * 0.5 / pixel_size_um)
    edges = _EDGES / _EDGES[-1] * top
    lines = np.fft.fftfreq(side, pixel_size_um)
    radius = np.hypot(lines[:, None], lines[None, :])
    direction = np.arctan2(lines[:, None], lines[None, :]) % np.pi
    sector = np.minimum((direction / np.pi * _SECTORS).astype(int), _SECTORS - 1)
    belongs = [
        [(radius >= low) & (radius < high) & (sector == s) for s in range(_SECTORS)]
        for low, high in pairwise(edges)
    ]
    beyond = radius > 2.1 * cutoff

    result = np.full((len(frames), len(belongs), _SECTORS), np.nan)
    blob = np.full(len(frames), np.nan)
    at = np.arange(side) - reach
    for plane, frame in enumerate(frames):
        row, column = round(float(y[plane])), round(float(x[plane]))
        top_row, left = row - reach, column - reach
        if not (0 <= top_row <= frame.shape[0] - side and 0 <= left <= frame.shape[1] - side):
            continue
        crop = frame[top_row : top_row + side, left : left + side].astype(np.float64)
        dy, dx = at[:, None] - (y[plane] - row), at[None, :] - (x[plane] - column)
        squared = (dy**2 + dx**2) / head**2
        window = np.exp(-0.5 * squared / _WINDOW**2)
        crop -= (crop * window).sum() / window.sum()
        power = np.abs(np.fft.fft2(crop * window)) ** 2
        noise = float(np.median(power[beyond])) / np.log(2) if beyond.any() else 0.0
        result[plane] = [[_mean(power, s) - noise for s in sectors] for sectors in belongs]
        middle = np.exp(-0.5 * squared / 0.15**2)
        around = np.exp(-0.5 * squared / 0.35**2)
        blob[plane] = (crop * middle).sum() / middle.sum() - (crop * around).sum() / around.sum()
    frequency = np.sqrt((edges[:-1] ** 2 + edges[1:] ** 2) / 2) / cutoff
    return Curves(np.asarray(z_um, np.float64), result, frequency, blob)


def suggest(
    curves: Curves, rule: Rule | None = None, skew: float | None = None, shear: float | None = None
) -> Suggestion:
    """Suggest the focus of one cell.

    Parameters
    ----------
    curves
        Curves of the cell.
    rule
        The case; None to decide from the curves.
    skew
        Shift of the minima per unit of frequency squared, µm, from the other cells of the stack;
        None for the cell's own.
    shear
        Direction of a relief contrast's shear, radians from the x axis, from the other cells; None
        for the cell's own.
    """
    if rule is None:
        rule = "phase" if evidence(curves) > 0 else "peak"
    if rule == "phase":
        return _phase(curves, skew)
    return _peak(curves, shear_of([curves]) if shear is None else shear)


def suggest_all(cells: Sequence[Curves]) -> list[Suggestion]:
    """Suggest the focus of the cells of one stack: they vote on the rule, share skew and shear."""
    votes = [evidence(curves) for curves in cells]
    rule: Rule = "phase" if sum(np.clip(votes, -2, 2)) > 0 else "peak"
    skews = [s for curves in cells if (s := _skew(curves)) is not None] if rule == "phase" else []
    skew = float(np.median(skews)) if len(skews) >= 3 else None
    shear = shear_of(cells) if rule == "peak" else None
    return [suggest(curves, rule, skew, shear) for curves in cells]


def shear_of(cells: Sequence[Curves]) -> float | None:
    """Direction in which coarse detail is strongest, radians; None if there is none."""
    total = np.zeros(_SECTORS)
    for curves in cells:
        known = np.isfinite(curves.power).all(axis=(1, 2))
        if known.any():
            coarse = np.maximum(curves.power[known][:, :2].mean(axis=(0, 1)), 0)
            total += coarse / max(float(coarse.sum()), 1e-12)
    if total.max() < _SHEARED * max(float(np.median(total)), 1e-12):
        return None
    angle = (np.arange(_SECTORS) + 0.5) * np.pi / _SECTORS
    return float(np.angle((total * np.exp(2j * angle)).sum()) / 2 % np.pi)


def evidence(curves: Curves) -> float:
    """Evidence of the curves for a phase object: above 0 for, below 0 against."""
    energy = _middle_bands(curves)
    at = _dip(curves)
    known = np.isfinite(energy)
    if at is None or known.sum() < _LEAST_PLANES:
        return -0.5 if known.sum() >= _LEAST_PLANES else 0.0
    left, right = np.nanmax(energy[:at]), np.nanmax(energy[at + 1 :])
    depth = float(np.log(min(left, right) / max(energy[at], 1e-3 * min(left, right))))
    turns = _turns(curves, at)
    return (depth - 1.2) + (0.8 if turns > _CLEAR else -0.8 if turns < 0 else 0.0)


def _middle_bands(curves: Curves) -> Floats:
    return np.asarray(np.maximum(curves.bands[:, :3], 1e-6).mean(axis=1))


def _dip(curves: Curves) -> int | None:
    """Plane of the deepest dip between two maxima, measured from the lower maximum."""
    energy = _middle_bands(curves)
    best, plane = 0.0, None
    for k in range(1, len(energy) - 1):
        if not np.isfinite(energy[k - 1 : k + 2]).all() or energy[k] > energy[k - 1 : k + 2].min():
            continue
        turned = 1.0 if _turns(curves, k) > 0 else 0.3
        sides = min(np.nanmax(energy[:k]), np.nanmax(energy[k + 1 :]))
        value = turned * sides * np.log(max(sides / energy[k], 1.0))
        if value > best:
            best, plane = value, k
    return plane


def _turns(curves: Curves, at: int) -> float:
    """1 where the head's sign is opposite on the two sides of a plane, -1 where it is the same."""
    z, blob = curves.z_um, curves.blob
    step = float(np.median(np.diff(z)))
    near = np.isfinite(blob) & (np.abs(z - z[at]) < max(2.6, 3.1 * step))
    before, after = near & (np.arange(len(z)) < at), near & (np.arange(len(z)) > at)
    if not (before.any() and after.any()):
        return 0.0
    low, high = blob[before].mean(), blob[after].mean()
    return float(
        -np.sign(low * high) * min(abs(low), abs(high)) / max(abs(low), abs(high), 1e-12) * 2
    )


def _turn(curves: Curves) -> float | None:
    """Position where the head changes between dark and bright, µm."""
    known = np.isfinite(curves.blob)
    if known.sum() < _LEAST_PLANES:
        return None
    z, blob = curves.z_um[known], curves.blob[known]
    step = float(np.median(np.diff(z)))
    reach = max(_TURN_UM, 2.6 * step)
    best, place = 0.0, None
    for centre in np.arange(z[0] + step, z[-1] - step, step / 10):
        near = np.abs(z - centre) < reach
        if near.sum() < 4:
            continue
        odd = np.clip((z[near] - centre) / (2 * step), -1, 1)
        even = abs(blob[near].sum()) / np.sqrt(near.sum())
        value = abs((odd * blob[near]).sum()) / np.sqrt((odd**2).sum()) - even
        if value > best:
            best, place = value, float(centre)
    return place


def _minima(curves: Curves, at: int) -> tuple[Floats, Floats]:
    """Minimum of every band near a plane, µm, and its weight (0 where a band has none)."""
    z = curves.z_um
    step = float(np.median(np.diff(z)))
    near = np.abs(z - z[at]) < max(_NEAR_UM, 1.1 * step)
    places, weights = np.zeros(curves.bands.shape[1]), np.zeros(curves.bands.shape[1])
    for b, power in enumerate(curves.bands.T):
        use = near & np.isfinite(power)
        if use.sum() < 3:
            continue
        place, least, bend = _vertex(z[use], power[use])
        if bend <= 0 or abs(place - z[at]) > max(_NEAR_UM, step):
            continue
        sides = max(min(power[use][0], power[use][-1]), 0.0)
        places[b] = place
        weights[b] = np.clip((sides - max(least, 0.0)) / max(sides, 1e-9), 0, 1) * np.sqrt(
            min(sides, 0.3)
        )
    return places, weights


def _skew(curves: Curves) -> float | None:
    at = _dip(curves)
    if at is None:
        return None
    places, weights = _minima(curves, at)
    if (weights > 0).sum() < 3:
        return None
    # The finest band responds most to deviations from a weak phase object: it does not vote.
    weights[-1] = 0
    squared = curves.frequency**2
    mean = np.average(squared, weights=weights)
    spread = np.average((squared - mean) ** 2, weights=weights)
    return float(np.average((squared - mean) * places, weights=weights) / max(spread, 1e-6))


def _phase(curves: Curves, skew: float | None) -> Suggestion:
    z = curves.z_um
    at = _dip(curves)
    if at is None:
        return _none(curves, "phase", "no plane between two rises of contrast: focus not in stack")
    places, weights = _minima(curves, at)
    if not weights.any():
        return _none(curves, "phase", "no clear minimum of contrast")
    own = _skew(curves)
    slope = skew if skew is not None else own if own is not None else 0.0
    slope = float(np.clip(slope, -0.5, 0.5))
    squared = curves.frequency**2
    level = places + slope * (_LIMIT**2 - squared)
    focus = float(np.average(level, weights=weights))
    spread = float(np.sqrt(np.average((level - focus) ** 2, weights=weights)))
    turn = _turn(curves)
    apart = 0.0 if turn is None else abs(turn - focus)
    if turn is not None:
        sure = float(weights.sum())
        focus = (sure * focus + _TURN_WEIGHT * turn) / (sure + _TURN_WEIGHT)
    energy = _middle_bands(curves)
    sides = min(np.nanmax(energy[:at]), np.nanmax(energy[at + 1 :]))
    depth = energy[at] / sides
    turned = _turns(curves, at)
    problem = ""
    if not z[0] <= focus <= z[-1]:
        problem = "focus not in stack"
    elif depth > 0.5 or sides < 0.1:
        problem = "contrast does not rise on both sides of the focus"
    elif spread > 0.5 * max(1.0, float(np.median(np.diff(z)))):
        problem = "fine and coarse detail disagree on the focus"
    elif apart > _FAR_APART * max(1.0, float(np.median(np.diff(z)))):
        problem = "the head turns from dark to bright far from the least contrast"
    confidence = float(np.clip(1 - depth, 0, 1) * np.exp(-spread) * (1.0 if turned > 0 else 0.7))
    return _judged(Suggestion(focus, confidence, spread, "phase", problem))


def _peak(curves: Curves, shear: float | None) -> Suggestion:
    known = np.isfinite(curves.power).all(axis=(1, 2))
    if known.sum() < _LEAST_PLANES:
        return _none(curves, "peak", "too few planes inside the frame")
    z = curves.z_um[known]
    power = np.maximum(curves.power[known][:, _FINE], 0)
    if shear is not None:
        angle = (np.arange(_SECTORS) + 0.5) * np.pi / _SECTORS
        away = np.abs((angle - shear + np.pi / 2) % np.pi - np.pi / 2)
        power = power[..., away > _SHEAR_WIDTH]
    parts = np.array_split(power, _PARTS, axis=2)
    sectors = np.stack([part.mean(axis=2) for part in parts], axis=2)
    sectors = sectors / sectors.max(axis=0, initial=1e-12)
    height = sectors.mean(axis=(1, 2))
    smooth = np.convolve(np.pad(height, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    at = int(np.argmax(smooth))
    step = float(np.median(np.diff(z)))
    near = np.abs(z - z[at]) < max(_PEAK_UM, 2.1 * step)
    focus = _highest(z[near], height[near], z[at])
    places = [_highest(z[near], band[near], z[at]) for band in sectors.mean(axis=2).T]
    spread = float(np.std(places))
    rise = float(1 - max(smooth[0], smooth[-1]) / smooth[at])
    problem = ""
    if at in (0, len(z) - 1):
        problem = "contrast is highest at the end of the stack: focus not in stack"
    elif rise < 0.15:
        problem = "no clear maximum of contrast"
    confidence = float(np.clip(rise * 1.5, 0, 1) * np.exp(-spread / max(1.5, step)))
    return _judged(Suggestion(focus, confidence, spread, "peak", problem))


def _mean(power: Floats, inside: npt.NDArray[np.bool_]) -> float:
    return float(power[inside].mean()) if inside.any() else 0.0


def _highest(z: Floats, height: Floats, start: float) -> float:
    """Maximum of the parabola through the points; the start where it has none among them."""
    if len(z) < 3:
        return float(start)
    place, _, bend = _vertex(z, height)
    return float(np.clip(place, z[0], z[-1])) if bend < 0 else float(start)


def _vertex(z: Floats, height: Floats) -> tuple[float, float, float]:
    """Fit a parabola to three or more points: position and height of its vertex, and curvature."""
    curve = np.polynomial.Polynomial.fit(z, height, 2).convert()
    if len(curve.coef) < 3 or curve.coef[2] == 0:
        return 0.0, 0.0, 0.0
    place = float(-curve.coef[1] / (2 * curve.coef[2]))
    return place, float(curve(place)), float(curve.coef[2])


def _judged(suggestion: Suggestion) -> Suggestion:
    if suggestion.problem:
        return replace(suggestion, confidence=min(suggestion.confidence, 0.9 * CONFIDENT))
    if suggestion.confidence < CONFIDENT:
        return replace(suggestion, problem="focus not clear")
    return suggestion


def _none(curves: Curves, rule: Rule, problem: str) -> Suggestion:
    middle = float(curves.z_um[len(curves.z_um) // 2])
    return Suggestion(middle, 0.0, float("inf"), rule, problem)
