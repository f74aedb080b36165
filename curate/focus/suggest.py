"""Suggests the focus of a cell from its planes.

In bright field a sperm mostly delays light: its contrast is low near focus and has a peak on either
side. Its focus is found from the symmetry of the contrast (`phase`), because a head that absorbs
too has its least contrast elsewhere. In relief contrast, and for fluorescent objects, contrast is
highest in focus (`peak`). `suggest` decides between the two from the curves ("phase" or "peak").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from fgaf.curate.focus.curves import Curves
from fgaf.curate.focus.peak import Fall, around, fall_of, highest, peak_of, shear_of
from fgaf.curate.focus.phase import Fit, fit, optics_of

Rule = Literal["phase", "peak"]

_LEAST_PLANES: Final = 5
_NEITHER: Final = 0.4
"""Evidence that tells neither for bright field nor against it."""
_PER_EVIDENCE: Final = 5.0
"""Votes for each unit of evidence beyond that."""
_VOTES: Final = (-1.0, 3.0)
"""Least and most votes of a cell: cut, moved or covered cells have little evidence in bright field,
and few cells have much in relief contrast."""
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
UNDECIDED: Final = "too few cells to tell bright field from relief contrast"
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
    vote
        For "phase" above 0, for "peak" below; 0 of a cell with too few planes.
    """

    focus_um: float
    confidence: float
    uncertainty_um: float
    rule: Rule
    problem: str = ""
    fades: bool = False
    vote: float = 0.0


CONFIDENT: Final = 0.5
SURE: Final = 4.0
"""Votes that leave no doubt of the rule: two cells with much evidence, or four without."""
LIKELY: Final = 2.0
"""Votes that are enough where no others are to come."""


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
    optics = optics_of(enough) if enough else None
    found = [fit(curves, optics) for curves in enough] if optics else []
    votes = [_vote(curves, one) for curves, one in zip(enough, found, strict=True)]
    rule = rule or rule_for(sum(votes))
    shear = shear_of(enough) if rule == "peak" else None
    fall = fall_of(enough if rule == "peak" else [], shear)
    fits, ballots = iter(found), iter(votes)
    return [
        replace(_one(curves, rule, next(fits), shear, fall), vote=next(ballots))
        if curves.known.sum() >= _LEAST_PLANES
        else _none(curves, rule, FEW_PLANES)
        for curves in cells
    ]


def rule_for(vote: float) -> Rule:
    """The rule for which cells vote together.

    Parameters
    ----------
    vote
        Sum of their votes.
    """
    return "phase" if vote > 0 else "peak"


def _one(curves: Curves, rule: Rule, found: Fit, shear: float | None, fall: Fall) -> Suggestion:
    """Suggest the focus of a cell that has enough planes."""
    if found.unexplained > _STRANGE and not _rolls(curves):
        least = _least(curves)
        if least is not None:
            return _judged(Suggestion(least, 0.9 * CONFIDENT, float("inf"), "phase", THICK))
    if rule == "phase":
        return _phase(curves, found)
    return _peak(curves, shear, fall)


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
    near = around(z, at)
    return highest(z[near], -energy[near], float(z[at]))


def _vote(curves: Curves, found: Fit) -> float:
    """Vote for phase and absorption: of a cell that does not only absorb, seen on both sides."""
    tells = abs(found.angle) < _ABSORBS and _inside(curves, found.focus_um)
    evidence = found.evidence if tells else 0.0
    return float(np.clip(_PER_EVIDENCE * (evidence - _NEITHER), *_VOTES))


def _inside(curves: Curves, focus_um: float) -> bool:
    """Whether there are planes on both sides of a focus."""
    z = curves.z_um
    room = _SIDE * float(np.median(np.diff(z)))
    return bool(z[0] + room < focus_um < z[-1] - room)


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


def _peak(curves: Curves, shear: float | None, fall: Fall) -> Suggestion:
    peak = peak_of(curves, shear, fall)
    problem = ""
    if peak.at_end:
        problem = AT_END
    elif peak.rise < 0.15:
        problem = FLAT
    step = float(np.median(np.diff(curves.z_um)))
    doubt = np.exp(-peak.spread_um / max(1.5, step))
    confidence = float(np.clip(peak.rise * 1.5, 0, 1) * doubt)
    return _judged(Suggestion(peak.focus_um, confidence, peak.spread_um, "peak", problem))


def _judged(suggestion: Suggestion) -> Suggestion:
    if suggestion.problem:
        return replace(suggestion, confidence=min(suggestion.confidence, 0.9 * CONFIDENT))
    if suggestion.confidence < CONFIDENT:
        return replace(suggestion, problem=UNCLEAR)
    return suggestion


def _none(curves: Curves, rule: Rule, problem: str) -> Suggestion:
    middle = float(curves.z_um[len(curves.z_um) // 2])
    return Suggestion(middle, 0.0, float("inf"), rule, problem)
