"""How a trial ends with a released cell: each function finds one way, or None while it goes on."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from fgaf.model.aspirate.command import Outcome
from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.observation import Observation, Tip
from fgaf.model.aspirate.target import Target
from fgaf.model.live.message import LiveCell

_FARTHER: Final = 1.5
"""A released cell that is so many times the stand-off from the tip has turned away."""


class Verdict(NamedTuple):
    """The end of a trial.

    Attributes
    ----------
    outcome
        How it ended.
    text
        Why, for people.
    """

    outcome: Outcome
    text: str


def strayed(mouth: Mouth, seen: Observation, target: Target) -> Verdict | None:
    """Whether a cell before the mouth has turned away, or has stuck.

    Parameters
    ----------
    mouth
        The mouth.
    seen
        The frame.
    target
        The cell, which was found in it.
    """
    settings, pixel_um = mouth.settings, mouth.setup.pixel_um
    away_um = math.hypot(*mouth.across_um(seen.tip, target.last))
    if away_um > _FARTHER * settings.stand_off_px * pixel_um + settings.near_um:
        return Verdict(Outcome.TURNED, f"the cell is {away_um:.0f} µm from the tip")
    if target.stood_s(seen.time_ns, settings.stuck_um / pixel_um) <= settings.stuck_s:
        return None
    outcome = Outcome.CONTACT if away_um <= mouth.reach_um else Outcome.ADHERED
    return Verdict(outcome, f"the cell does not move, {away_um:.1f} µm from the tip")


def passed(mouth: Mouth, tip: Tip, cell: LiveCell, z_um: float | None) -> Verdict | None:
    """Whether a cell that has come behind the mouth is outside the pipette.

    Parameters
    ----------
    mouth, tip
        The mouth.
    cell
        The cell.
    z_um
        Its height, µm of the drive; None if it is unknown.
    """
    missed = mouth.missed(tip, cell, z_um)
    return Verdict(missed, "the cell passed the mouth outside") if missed else None


def left(mouth: Mouth, tip: Tip, cell: LiveCell, z_um: float | None) -> Verdict | None:
    """Whether a cell that has entered is no longer in the bore in view.

    Parameters
    ----------
    mouth, tip, cell, z_um
        See `passed`.
    """
    along, _ = mouth.across_um(tip, cell)
    if along < 0:
        return Verdict(Outcome.ESCAPED, "the cell is before the mouth again")
    if along > mouth.settings.view_um:
        return Verdict(Outcome.LOST_IN_BORE, "the cell went along the bore")
    missed = mouth.missed(tip, cell, z_um)
    return Verdict(missed, "the cell is not between the walls of the bore") if missed else None


def vanished(mouth: Mouth, tip: Tip, target: Target, *, released: bool) -> Verdict:
    """How a trial ends whose cell is no longer found.

    Parameters
    ----------
    mouth, tip
        The mouth.
    target
        The cell.
    released
        Whether it may be in the bore.
    """
    why = f"the cell was not found for {mouth.settings.lost_s:g} s"
    along, aside = mouth.across_um(tip, target.last)
    if released and abs(aside) <= mouth.reach_um and along >= -2 * mouth.reach_um:
        return Verdict(Outcome.LOST_IN_BORE, f"{why}, last at the mouth")
    return Verdict(Outcome.LOST, why)
