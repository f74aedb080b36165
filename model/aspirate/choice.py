"""Which cell is drawn in."""

from __future__ import annotations

import math
from typing import Final

from fgaf.model.aspirate.heading import speed_um_s, swims_to
from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.observation import Observation, Setup
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.live.message import LiveCell

_CAUGHT_S: Final = 0.5
"""The stage follows a chosen cell after so long at the latest: it must be in view until then."""


def choose(
    seen: Observation, settings: AspirationSettings, setup: Setup, without: frozenset[int]
) -> LiveCell | None:
    """Choose a cell: of those that may be drawn in the one nearest to the tip.

    Cells before the mouth come first: others are brought to it under the glass, where they are
    easily lost.

    A cell may be drawn in when it swims along the bore, towards the mouth from wherever the stage
    brings it; when its height is known and the pipette can go there; when it is not too fast, apart
    from others, and not about to leave the frame.

    Parameters
    ----------
    seen
        The frame.
    settings, setup
        What counts.
    without
        Cells that are not chosen.

    Returns
    -------
    The cell; None if there is none.
    """
    tip, mouth = seen.tip, Mouth(settings, setup)
    fastest = settings.still_um_s if settings.search else settings.fastest_um_s

    def fits(cell: LiveCell) -> bool:
        return (
            cell.seen
            and cell.id not in without
            and cell.age_s >= settings.age_s
            and speed_um_s(cell) <= fastest
            and swims_to(cell, (tip.into_y, tip.into_x), settings)
            and not mouth.holds(tip, cell)
            and _stays_in_view(cell, setup)
            and (settings.search or _is_in_reach(cell, seen, mouth))
            and _is_apart(cell, seen, settings.apart_um / setup.pixel_um)
        )

    def order(cell: LiveCell) -> tuple[bool, float]:
        behind = mouth.across_um(tip, cell)[0] > 0
        return behind, math.dist((cell.y_px, cell.x_px), (tip.y_px, tip.x_px))

    return min(filter(fits, seen.cells), key=order, default=None)


def _is_in_reach(cell: LiveCell, seen: Observation, mouth: Mouth) -> bool:
    """Whether the height of a cell is known, and the mouth can come to it."""
    over_um = mouth.over_um(seen.tip, cell.z_um)
    error_um = math.inf if cell.z_error_um is None else cell.z_error_um
    if over_um is None or error_um > mouth.settings.error_um:
        return False
    wanted_um = seen.pipette_z_um + over_um
    return abs(mouth.setup.inside(wanted_um) - wanted_um) <= mouth.half_um


def _is_apart(cell: LiveCell, seen: Observation, apart_px: float) -> bool:
    return all(
        math.dist((cell.y_px, cell.x_px), (other.y_px, other.x_px)) >= apart_px
        for other in seen.cells
        if other.id != cell.id
    )


def _stays_in_view(cell: LiveCell, setup: Setup) -> bool:
    """Whether a cell will be in the frame until the stage follows it."""
    if setup.shape is None:
        return True
    way = _CAUGHT_S / setup.pixel_um
    places = cell.y_px + way * cell.vy_um_s, cell.x_px + way * cell.vx_um_s
    return all(0 <= at < size for at, size in zip(places, setup.shape, strict=True))
