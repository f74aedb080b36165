"""Suggests the focus of a cell from its planes.

In bright field a sperm mostly delays light: its contrast is low near focus and has a peak on either
side. Its focus is found from the symmetry of the contrast (`phase`), because a head that absorbs
too has its least contrast elsewhere. In relief contrast, and for fluorescent objects, contrast is
highest in focus. `suggest` decides between the two from the curves ("phase" or "peak").

Relief contrast sees one sideband only along its shear: there, power depends only weakly on focus,
and not symmetrically. The axis of the shear, which is found from the power of coarse detail, is
left out. Spherical aberration shifts the focus of detail in proportion to the square of its spatial
frequency. It is the same for all cells of a stack, and is taken from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from fgaf.curate.detection.scale import Floats
from fgaf.curate.focus.curves import SECTORS, Curves
from fgaf.curate.focus.phase import Fit, fit, optics_of

Rule = Literal["phase", "peak"]

_SHEARED: Final = 2.5
"""An image counts as relief when coarse power along the shear over that across it is larger."""
_SHEAR_WIDTH: Final = 0.4
"""Directions within this angle of the shear's axis are left out, radians."""
_PARTS: Final = 3
"""Number of sectors of direction, all with the same weight."""
_FINE: Final = slice(1, 5)
_PEAK_UM: Final = 1.6
_UNSHIFTED: Final = 0.22
"""Square of the spatial frequency whose focus no spherical aberration shifts, in units of the
cut-off's; measured on simulated heads."""
_ALIKE_UM: Final = 0.4
"""Standard deviation of the foci of a cell's bands up to which it tells of the aberration."""
_LEAST_PLANES: Final = 5
_TELLING: Final = 0.6
"""Evidence from which the cells of a stack are in bright field; 1.2 to 2.1 there, up to 0.5 in
relief contrast."""
_SPEAKER: Final = 75
"""Percentile of the cells whose evidence counts: cut, moved or covered cells have little of it in
bright field, and no cell has much in relief contrast."""
_SIDE: Final = 1.5
"""Steps between the focus and the ends of the stack, at least."""
_ABSORBS: Final = np.radians(60)
"""Arc of the ratio of absorption to phase from which a cell only absorbs."""
_STRANGE: Final = 0.25
"""Unexplained share of the power from which a deep minimum of contrast is suggested instead, for a
person to check: a cell thicker than the depth of focus, such as yeast, is no thin object."""
_DEEP: Final = 1.8
"""Logarithm of the least contrast's depth below the lower of the two rises."""
_FAINT: Final = 0.02
_USUAL_STEP_UM: Final = 0.5
_ROLLS: Final = 0.45
"""Change of the logarithm of the power from planes 0.5 µm apart to the mean of their neighbours,
from which a cell rolls, so that it is no thick one: those change smoothly, by 0.3 at most."""
FEW_PLANES: Final = "too few planes inside the frame"
OFF_ENDS: Final = "focus not in stack"
AT_END: Final = "contrast is highest at the end of the stack: focus not in stack"
THICK: Final = "least contrast, of a cell that is thick or not alone"
UNLIKE: Final = "contrast does not change through focus as that of a thin cell"
DISAGREES: Final = "fine and coarse detail disagree on the focus"
FLAT: Final = "no clear maximum of contrast"
UNCLEAR: Final = "focus not clear"
_VISIBLE: Final = np.radians(14)
"""Arc of the ratio of absorption to phase from which a head is visible in focus."""
_UNLIKE: Final = 0.45
"""Unexplained share of the power from which the cell is not in its own focus, or not one cell."""


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
    fades
        Whether the cell is invisible near its focus, and that focus is roughly known.
    """

    focus_um: float
    confidence: float
    uncertainty_um: float
    rule: Rule
    problem: str = ""
    fades: bool = False


CONFIDENT: Final = 0.5


def suggest(curves: Curves, rule: Rule | None = None) -> Suggestion:
    """Suggest the focus of one cell.

    Parameters
    ----------
    curves
        Curves of the cell.
    rule
        The case; None to decide from the curves.
    """
    return suggest_all([curves], rule)[0]


def suggest_all(cells: Sequence[Curves], rule: Rule | None = None) -> list[Suggestion]:
    """Suggest the focus of the cells of one stack: they vote on the rule, share optics and shear.

    Parameters
    ----------
    cells
        Curves of the cells.
    rule
        The case; None to decide from the curves.
    """
    enough = [curves for curves in cells if curves.known.sum() >= _LEAST_PLANES]
    found: list[Fit] = []
    if enough and rule != "peak":
        optics = optics_of(enough)
        found = [fit(curves, optics) for curves in enough]
        rule = rule or ("phase" if _votes(enough, found) > _TELLING else "peak")
    rule = rule or "peak"
    shear = shear_of(enough) if rule == "peak" else None
    shift = shift_of(enough, shear) if rule == "peak" else 0.0
    fits = iter(found)
    return [
        _one(curves, rule, next(fits, None), shear, shift)
        if curves.known.sum() >= _LEAST_PLANES
        else _none(curves, rule, FEW_PLANES)
        for curves in cells
    ]


def _one(
    curves: Curves, rule: Rule, found: Fit | None, shear: float | None, shift_um: float
) -> Suggestion:
    """Suggest the focus of a cell that has enough planes."""
    if found is not None and found.unexplained > _STRANGE and not _rolls(curves):
        least = _least(curves)
        if least is not None:
            return _judged(Suggestion(least, 0.9 * CONFIDENT, float("inf"), "phase", THICK))
    if found is not None and rule == "phase":
        return _phase(curves, found)
    return _peak(curves, shear, shift_um)


def _rolls(curves: Curves) -> bool:
    """Whether the contrast of all bands changes from plane to plane, as of a head that rolls."""
    power = np.log(np.maximum(curves.bands[curves.known], 0) + _FAINT).mean(axis=1)
    change = np.abs(power[1:-1] - (power[2:] + power[:-2]) / 2)
    step = float(np.median(np.diff(curves.z_um)))
    return bool(np.median(change) > _ROLLS * max(1.0, (step / _USUAL_STEP_UM) ** 2))


def _least(curves: Curves) -> float | None:
    """Position of a deep minimum of contrast between two rises, µm; None where there is none."""
    known = curves.known
    z, energy = curves.z_um[known], np.maximum(curves.bands[known][:, :3], 1e-6).mean(axis=1)
    left = np.maximum.accumulate(energy)
    right = np.maximum.accumulate(energy[::-1])[::-1]
    depth = np.log(np.minimum(left, right) / energy)
    at = int(np.argmax(depth))
    if depth[at] < _DEEP:
        return None
    near = np.abs(z - z[at]) < max(_PEAK_UM, 2.1 * float(np.median(np.diff(z))))
    return _highest(z[near], -energy[near], float(z[at]))


def _votes(cells: Sequence[Curves], found: Sequence[Fit]) -> float:
    """Evidence for phase and absorption: of cells that do not only absorb, seen on both sides."""
    evidence = [
        one.evidence if abs(one.angle) < _ABSORBS and _inside(curves, one.focus_um) else 0.0
        for curves, one in zip(cells, found, strict=True)
    ]
    return float(np.percentile(evidence, _SPEAKER))


def _inside(curves: Curves, focus_um: float) -> bool:
    """Whether there are planes on both sides of a focus."""
    z = curves.z_um
    room = _SIDE * float(np.median(np.diff(z)))
    return bool(z[0] + room < focus_um < z[-1] - room)


def shear_of(cells: Sequence[Curves]) -> float | None:
    """Direction in which coarse detail of cells is strongest, radians; None where there is none."""
    total = np.zeros(SECTORS)
    for curves in cells:
        coarse = np.maximum(curves.power[curves.known][:, :2].mean(axis=(0, 1)), 0)
        total += coarse / max(float(coarse.sum()), 1e-12)
    if total.max() < _SHEARED * max(float(np.median(total)), 1e-12):
        return None
    angle = (np.arange(SECTORS) + 0.5) * np.pi / SECTORS
    return float(np.angle((total * np.exp(2j * angle)).sum()) / 2 % np.pi)


def _phase(curves: Curves, found: Fit) -> Suggestion:
    step = float(np.median(np.diff(curves.z_um)))
    problem = ""
    if not _inside(curves, found.focus_um):
        problem = OFF_ENDS
    elif found.unexplained > _UNLIKE:
        problem = UNLIKE
    elif found.uncertainty_um > 0.6 * max(1.0, step):
        problem = DISAGREES
    confidence = (1 - found.unexplained) * np.exp(-0.5 * found.uncertainty_um / max(1.0, step))
    fades = bool(abs(found.angle) < _VISIBLE)
    return _judged(
        Suggestion(found.focus_um, float(confidence), found.uncertainty_um, "phase", problem, fades)
    )


def shift_of(cells: Sequence[Curves], shear: float | None) -> float:
    """Shift of the focus with the square of the spatial frequency, by spherical aberration, µm.

    Parameters
    ----------
    cells
        Curves of the cells of a stack, each with planes inside the frame.
    shear
        Direction of the shear, radians; None for each cell's own.

    Returns
    -------
    The median over the cells whose bands are in focus at about the same place, as if one more cell
    had no shift.
    """
    slopes = []
    for curves in cells:
        z, height = _contrast(curves, shear, 0.0)
        places = _places(z, height)
        if np.std(places) < _ALIKE_UM:
            square = curves.frequency[_FINE] ** 2
            slopes.append(float(np.polyfit(square, places, 1)[0]))
    return float(np.median(slopes)) * len(slopes) / (len(slopes) + 1) if slopes else 0.0


def _contrast(curves: Curves, shear: float | None, shift_um: float) -> tuple[Floats, Floats]:
    """Contrast of the bands of fine detail in the known planes, without their shift.

    Returns
    -------
    (P,) z in µm and (P, B, `_PARTS`) contrast in sectors of direction, relative to its largest.
    """
    known = curves.known
    z = curves.z_um[known]
    power = np.maximum(curves.power[known][:, _FINE], 0)
    shear = shear_of([curves]) if shear is None else shear
    if shear is not None:
        angle = (np.arange(SECTORS) + 0.5) * np.pi / SECTORS
        away = np.abs((angle - shear + np.pi / 2) % np.pi - np.pi / 2)
        power = power[..., away > _SHEAR_WIDTH]
    parts = np.array_split(power, _PARTS, axis=2)
    contrast = np.sqrt(np.stack([part.mean(axis=2) for part in parts], axis=2))
    for band, square in enumerate(curves.frequency[_FINE] ** 2 - _UNSHIFTED):
        for part in range(_PARTS):
            contrast[:, band, part] = np.interp(z + shift_um * square, z, contrast[:, band, part])
    return z, np.asarray(contrast / contrast.max(axis=0, initial=1e-12))


def _near(z: Floats, height: Floats) -> tuple[int, npt.NDArray[np.bool_]]:
    """Plane of the highest contrast, and the planes around it, (P,)."""
    smooth = np.convolve(np.pad(height, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    at = int(np.argmax(smooth))
    return at, np.abs(z - z[at]) < max(_PEAK_UM, 2.1 * float(np.median(np.diff(z))))


def _places(z: Floats, contrast: Floats) -> Floats:
    """Focus of each band, µm."""
    at, near = _near(z, contrast.mean(axis=(1, 2)))
    return np.array([_highest(z[near], band[near], z[at]) for band in contrast.mean(axis=2).T])


def _peak(curves: Curves, shear: float | None, shift_um: float) -> Suggestion:
    z, contrast = _contrast(curves, shear, shift_um)
    height = contrast.mean(axis=(1, 2))
    at, near = _near(z, height)
    focus = _highest(z[near], height[near], z[at])
    spread = float(np.std(_places(z, contrast)))
    smooth = np.convolve(np.pad(height, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    rise = float(1 - max(smooth[0], smooth[-1]) ** 2 / smooth[at] ** 2)
    problem = ""
    if at in (0, len(z) - 1):
        problem = AT_END
    elif rise < 0.15:
        problem = FLAT
    step = float(np.median(np.diff(z)))
    confidence = float(np.clip(rise * 1.5, 0, 1) * np.exp(-spread / max(1.5, step)))
    return _judged(Suggestion(focus, confidence, spread, "peak", problem))


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
        return replace(suggestion, problem=UNCLEAR)
    return suggestion


def _none(curves: Curves, rule: Rule, problem: str) -> Suggestion:
    middle = float(curves.z_um[len(curves.z_um) // 2])
    return Suggestion(middle, 0.0, float("inf"), rule, problem)
