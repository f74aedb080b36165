"""Where a cell is with respect to the mouth of the micropipette and its bore."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from fgaf.model.aspirate.command import Outcome
from fgaf.model.aspirate.observation import Setup, Tip
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.live.message import LiveCell

_UM3: Final = 1e6
"""Cubic µm of a nL."""


@dataclass(frozen=True)
class Mouth:
    """The mouth and the bore, as settings give them. Lengths are µm of the specimen.

    Attributes
    ----------
    settings
        The bore and the head.
    setup
        Pixel and refraction.
    """

    settings: AspirationSettings
    setup: Setup

    @property
    def half_um(self) -> float:
        """Largest distance of a cell in the bore from its axis, as far as it can be told."""
        return self.settings.bore_um / 2 + self.settings.spare_um

    @property
    def reach_um(self) -> float:
        """Distance of a head that touches the rim from the centre of the mouth."""
        return self.settings.bore_um / 2 + self.settings.head_um

    def across_um(self, tip: Tip, cell: LiveCell) -> tuple[float, float]:
        """Distance of a cell behind the mouth along the bore, and from its axis.

        Parameters
        ----------
        tip
            The tip.
        cell
            The cell.
        """
        return tip.across_um(cell.y_px, cell.x_px, self.setup.pixel_um)

    def over_um(self, tip: Tip, z_um: float | None) -> float | None:
        """Height of a cell over the tip; None if it is unknown.

        Parameters
        ----------
        tip
            The tip.
        z_um
            Height of the cell, µm of the drive.
        """
        if z_um is None or not math.isfinite(z_um):
            return None
        return (z_um - tip.z_um) * self.setup.refraction

    def has_entered(self, tip: Tip, cell: LiveCell) -> bool:
        """Whether a head is behind the mouth, inside or outside the glass.

        Parameters
        ----------
        tip
            The tip.
        cell
            The cell.
        """
        return self.across_um(tip, cell)[0] >= self.settings.head_um / 2

    def holds(self, tip: Tip, cell: LiveCell) -> bool:
        """Whether a cell appears between the walls of the bore in view.

        Parameters
        ----------
        tip
            The tip.
        cell
            The cell.
        """
        along, aside = self.across_um(tip, cell)
        return 0 <= along <= self.settings.view_um and abs(aside) <= self.half_um

    def is_aside(self, tip: Tip, cell: LiveCell) -> bool:
        """Whether a cell behind the mouth appears beside the walls of the bore.

        Parameters
        ----------
        tip
            The tip.
        cell
            The cell.
        """
        along, aside = self.across_um(tip, cell)
        return along >= 0 and abs(aside) > self.half_um

    def contains(self, tip: Tip, cell: LiveCell, z_um: float | None) -> bool:
        """Whether a cell appears in the bore in view: between its walls, and not above or beneath.

        Parameters
        ----------
        tip, cell, z_um
            See `missed`.
        """
        return self.holds(tip, cell) and self.missed(tip, cell, z_um) is None

    def may_come(
        self,
        tip: Tip,
        before: LiveCell,
        now: LiveCell,
        swim_um_s: float,
        seconds: float,
        drawn_s: float,
    ) -> bool:
        """Whether a released cell can have come from one place to another in a time.

        It swims anywhere, and is drawn along: liquid on the axis is twice as fast as the mean.

        Parameters
        ----------
        tip
            The tip.
        before, now
            The cell at the beginning, and what may be the cell at the end.
        swim_um_s
            How fast it swims.
        seconds
            The time.
        drawn_s
            How much of it liquid was drawn in.
        """
        settings = self.settings
        swims_um = settings.near_um + seconds * (swim_um_s + settings.still_um_s)
        mean_um_s = settings.flow_nl_s * _UM3 / (math.pi * settings.bore_um**2 / 4)
        first, last = self.across_um(tip, before), self.across_um(tip, now)
        along_um, aside_um = last[0] - first[0], last[1] - first[1]
        drawn_um = min(max(0.0, along_um), drawn_s * 2 * mean_um_s)
        return math.hypot(along_um - drawn_um, aside_um) <= swims_um

    def missed(self, tip: Tip, cell: LiveCell, z_um: float | None) -> Outcome | None:
        """How a cell behind the mouth is outside the bore; None if it is inside.

        Parameters
        ----------
        tip
            The tip.
        cell
            The cell.
        z_um
            Its height, µm of the drive; None if it is unknown.
        """
        if abs(self.across_um(tip, cell)[1]) > self.half_um:
            return Outcome.ASIDE
        over_um = self.over_um(tip, z_um)
        if over_um is None or abs(over_um) <= self.half_um:
            return None
        return Outcome.BENEATH if over_um < 0 else Outcome.ABOVE
