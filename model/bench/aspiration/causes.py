"""Why a trial failed, by the truth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TURNED_DEG: Final = 60.0
"""A cell whose heading changed by more has turned."""


class Cause(StrEnum):
    """Causes of failures; the first three are those that the paper names."""

    BENEATH = "passed beneath the tip"
    FAST = "fast, out of view up the bore"
    TURNED = "turned suddenly"
    ABOVE = "passed above the tip"
    BESIDE = "passed beside the tip"
    AWAY = "swam away"
    RIM = "held at the rim"
    ADHERED = "adhered to the dish"
    SLOW = "not at the mouth in time"
    ESCAPED = "came out of the mouth again"
    UNREADY = "never in place before the tip"
    UNFOUND = "lost from the images"
    UNCHOSEN = "no cell was chosen"


@dataclass(frozen=True)
class Course:
    """What decides the cause of a failure.

    Attributes
    ----------
    chosen, released
        Whether a cell was chosen, and whether the stage let it go, so that it could come in.
    lost
        Whether the procedure ended because the cell was no longer found.
    entered, left
        Whether the head passed the mouth, and whether it then went out of view up the bore.
    stuck
        Whether it adheres to the dish at the end.
    passed_um
        Place beside and over the axis where it crossed the plane of the mouth outside the bore.
    turned_deg
        Change of its heading in the image until it was nearest, or since the stage let it go.
    rim
        Whether it touches the glass at the end, or did near the mouth.
    departed
        Whether it ended farther from the mouth than it began.
    """

    chosen: bool
    released: bool
    lost: bool
    entered: bool
    left: bool
    stuck: bool
    passed_um: tuple[float, float] | None
    turned_deg: float
    rim: bool
    departed: bool


def cause_of(course: Course) -> Cause:
    """Find why a trial failed.

    Parameters
    ----------
    course
        What happened; no success.
    """
    if not course.chosen:
        return Cause.UNCHOSEN
    if course.entered:
        return Cause.FAST if course.left else Cause.ESCAPED
    if not course.released:
        return Cause.UNFOUND if course.lost else Cause.UNREADY
    if course.stuck:
        return Cause.ADHERED
    turned = course.turned_deg > TURNED_DEG
    if course.passed_um is not None:
        beside, over = course.passed_um
        if abs(over) >= beside:
            return Cause.BENEATH if over < 0 else Cause.ABOVE
        return Cause.TURNED if turned else Cause.BESIDE
    if course.rim:
        return Cause.RIM
    if course.departed:
        return Cause.TURNED if turned else Cause.AWAY
    return Cause.SLOW
