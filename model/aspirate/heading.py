"""Where cells swim: angles to a direction, and the place from which a cell swims to the tip."""

from __future__ import annotations

import math

from fgaf.model.aspirate.observation import Tip
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.live.message import LiveCell

Direction = tuple[float, float]
"""Unit vector y, x in the frame."""


def speed_um_s(cell: LiveCell) -> float:
    """Speed in the plane of the image."""
    return math.hypot(cell.vy_um_s, cell.vx_um_s)


def angle_deg(cell: LiveCell, toward: Direction) -> float:
    """Angle between the velocity of a cell and a direction, 0 to 180°.

    Parameters
    ----------
    cell
        The cell.
    toward
        The direction.
    """
    along = cell.vy_um_s * toward[0] + cell.vx_um_s * toward[1]
    aside = cell.vy_um_s * toward[1] - cell.vx_um_s * toward[0]
    return math.degrees(abs(math.atan2(aside, along)))


def way_to(tip: Tip, cell: LiveCell) -> Direction:
    """Direction from a cell to the tip; into the bore for a cell at the tip.

    Parameters
    ----------
    tip
        The mouth.
    cell
        The cell.
    """
    return _unit((tip.y_px - cell.y_px, tip.x_px - cell.x_px)) or (tip.into_y, tip.into_x)


def swims_to(cell: LiveCell, toward: Direction, settings: AspirationSettings) -> bool:
    """Whether a cell swims in a direction, or is at rest.

    Parameters
    ----------
    cell
        The cell.
    toward
        The direction.
    settings
        The largest angle, and the speed of cells at rest.
    """
    if speed_um_s(cell) < settings.still_um_s:
        return True
    return angle_deg(cell, toward) <= settings.heading_deg


def place_before(tip: Tip, cell: LiveCell, settings: AspirationSettings) -> Direction:
    """Direction from the tip to the place where a cell is kept.

    A cell that swims on from there swims into the mouth. The place of a cell at rest, or of one
    that swims elsewhere, lies on the axis of the bore.

    Parameters
    ----------
    tip
        The mouth.
    cell
        The cell.
    settings
        The largest angle, and the speed of cells at rest.
    """
    speed, into = speed_um_s(cell), (tip.into_y, tip.into_x)
    if speed < settings.still_um_s or angle_deg(cell, into) > settings.heading_deg:
        return -into[0], -into[1]
    return -cell.vy_um_s / speed, -cell.vx_um_s / speed


def turned(last: Direction, wanted: Direction, part: float) -> Direction:
    """Turn a direction by a part of the way to another one.

    Parameters
    ----------
    last, wanted
        The directions.
    part
        From 0 to 1.
    """
    mixed = (
        last[0] + part * (wanted[0] - last[0]),
        last[1] + part * (wanted[1] - last[1]),
    )
    return _unit(mixed) or wanted


def _unit(vector: tuple[float, float]) -> Direction | None:
    length = math.hypot(*vector)
    return (vector[0] / length, vector[1] / length) if length else None
