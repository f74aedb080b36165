"""What is measured in one trial."""

from __future__ import annotations

from dataclasses import dataclass

from fgaf.model.aspirate.command import Outcome, Result
from fgaf.model.aspirate.heading import angle_deg, speed_um_s, way_to
from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.observation import Observation
from fgaf.model.live.message import LiveCell


@dataclass
class Trial:
    """Measurements of the trial that runs; the attributes are those of `Result`."""

    begun_ns: int
    drawn_ns: int | None = None
    released_ns: int | None = None
    entered_ns: int | None = None
    miss_um: float | None = None
    heading_deg: float | None = None
    swim_um_s: float | None = None
    entry_aside_um: float | None = None
    entry_over_um: float | None = None
    entry_um_s: float | None = None
    depth_um: float | None = None
    inside_s: float = 0.0

    def release(self, seen: Observation, cell: LiveCell, mouth: Mouth, z_um: float | None) -> None:
        """Note how a cell is when the stage lets it go.

        Parameters
        ----------
        seen
            The frame.
        cell
            The cell.
        mouth
            The mouth.
        z_um
            Height of the cell, µm of the drive.
        """
        self.released_ns, self.swim_um_s = seen.time_ns, speed_um_s(cell)
        self.miss_um = mouth.over_um(seen.tip, z_um)
        if self.swim_um_s >= mouth.settings.still_um_s:
            self.heading_deg = angle_deg(cell, way_to(seen.tip, cell))

    def enter(self, seen: Observation, cell: LiveCell, mouth: Mouth, z_um: float | None) -> None:
        """Note how a cell enters the mouth.

        Parameters
        ----------
        seen, cell, mouth, z_um
            See `release`.
        """
        tip = seen.tip
        self.entered_ns = seen.time_ns
        self.entry_over_um = mouth.over_um(tip, z_um)
        self.depth_um, self.entry_aside_um = mouth.across_um(tip, cell)
        self.entry_um_s = cell.vy_um_s * tip.into_y + cell.vx_um_s * tip.into_x

    def stay(self, seen: Observation, cell: LiveCell, mouth: Mouth) -> None:
        """Note how far inside a cell is.

        Parameters
        ----------
        seen, cell, mouth
            See `release`.
        """
        self.depth_um = mouth.across_um(seen.tip, cell)[0]
        self.inside_s = self.since_entry_s(seen.time_ns)

    def since_entry_s(self, time_ns: int) -> float:
        """Time since the head was in the mouth; 0 before."""
        return 0.0 if self.entered_ns is None else (time_ns - self.entered_ns) / 1e9

    def result(
        self,
        number: int,
        cell: int | None,
        outcome: Outcome,
        text: str,
        ended_ns: int,
        drawn_nl: float,
    ) -> Result:
        """Make the result.

        Parameters
        ----------
        number, cell, outcome, text, ended_ns, drawn_nl
            See `Result`.
        """
        return Result(
            number, cell, outcome, text, ended_ns=ended_ns, drawn_nl=drawn_nl, **vars(self)
        )
