"""What the procedure is told about each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fgaf.model.live.message import LiveCell


@dataclass(frozen=True)
class Setup:
    """What does not change during the trials.

    Attributes
    ----------
    pixel_um
        Side of a pixel in the specimen.
    refraction
        µm in the specimen per µm of the focus drive: the refractive index of the specimen over that
        of the medium under the objective, 1.335 for cells in water under a dry objective.
    pipette_limits_um
        Lowest and highest z that the manipulator may be sent to.
    shape
        Rows and columns of the frames; None where cells are in view everywhere.
    """

    pixel_um: float
    refraction: float
    pipette_limits_um: tuple[float, float]
    shape: tuple[int, int] | None = None

    def inside(self, z_um: float) -> float:
        """Nearest z of the manipulator within its limits."""
        low, high = self.pipette_limits_um
        return min(max(z_um, low), high)


@dataclass(frozen=True)
class Tip:
    """Mouth of the micropipette at one time.

    Attributes
    ----------
    y_px, x_px
        Its centre in the frame.
    z_um
        Its height: z of the focus drive at which it is in focus, as of a cell.
    into_y, into_x
        Unit vector in the frame from the mouth into the bore.
    """

    y_px: float
    x_px: float
    z_um: float
    into_y: float
    into_x: float

    def across_um(self, y_px: float, x_px: float, pixel_um: float) -> tuple[float, float]:
        """Place of a cell from the mouth.

        Parameters
        ----------
        y_px, x_px
            The cell in the frame.
        pixel_um
            Side of a pixel.

        Returns
        -------
        along, aside
            Distance behind the mouth along the bore (negative before it), and from its axis, in µm.
        """
        y, x = (y_px - self.y_px) * pixel_um, (x_px - self.x_px) * pixel_um
        return y * self.into_y + x * self.into_x, y * self.into_x - x * self.into_y


@dataclass(frozen=True)
class Observation:
    """One frame, as the procedure sees it. It is given every frame in the order of time.

    Attributes
    ----------
    time_ns
        Middle of the exposure, ns since any fixed time.
    cells
        All numbered cells. Of each are used: `id`, `seen` (cells that were not found count as
        unseen, with their last place), `y_px` and `x_px`, `vy_um_s` and `vx_um_s` (relative to the
        liquid and the dish, not to the moving frame), `z_um` and `z_error_um` (height in µm of the
        drive and its standard error; None where unknown), `age_s`.
    tip
        The mouth of the pipette.
    pipette_z_um
        Position z of the manipulator as read, µm of the specimen, growing upwards.
    pipette_moving
        Whether the manipulator moves.
    flow_nl_s
        Flow that the pump reports; above 0 draws in.
    searched_um
        Height of the target in µm of the drive, found by the search that the last command asked
        for; None before. It is wanted as long as `Command.search` stands.
    glass_known
        Whether it is known how the glass around the mouth looks, so that a head in the bore is
        found; it is learnt as long as `Command.stands`. No cell is released before.
    """

    time_ns: int
    cells: tuple[LiveCell, ...]
    tip: Tip
    pipette_z_um: float
    pipette_moving: bool
    flow_nl_s: float
    searched_um: float | None = None
    glass_known: bool = True

    def cell(self, number: int | None) -> LiveCell | None:
        """The cell of a number, if it was found in this frame."""
        return next((cell for cell in self.cells if cell.id == number and cell.seen), None)

    def listed(self, number: int) -> bool:
        """Whether the cell of a number is followed, found or not."""
        return any(cell.id == number for cell in self.cells)

    @property
    def sound(self) -> bool:
        """Whether tip, pipette and flow are numbers."""
        tip = self.tip
        values = (tip.y_px, tip.x_px, tip.z_um, tip.into_y, tip.into_x)
        return all(map(math.isfinite, (*values, self.pipette_z_um, self.flow_nl_s)))
