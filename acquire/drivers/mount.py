"""How a simulated micropipette is held: where its tip is for a place of the manipulator."""

from __future__ import annotations

from typing import Annotated

from fgaf.acquire.devices import Place3
from fgaf.acquire.tables import Table
from fgaf.base.bounds import Bound, PositionUm

_Factor = Annotated[float, Bound(-1e4, 1e4)]
_Row = tuple[_Factor, _Factor, _Factor]


class Mount(Table):
    """The holder between a manipulator and the tip.

    Attributes
    ----------
    matrix
        Rows for the motion of the tip in x, y and z of the image, µm in the specimen, per µm of
        the manipulator in x, y and z. Small entries let the manipulator run without the pipette.
    tip_um
        Place of the tip when the manipulator is at 0, 0, 0: x and y from the middle of the frame,
        z from where the drive is at 0; µm in the specimen.
    """

    matrix: tuple[_Row, _Row, _Row] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    tip_um: tuple[PositionUm, PositionUm, PositionUm] = (0.0, 0.0, 0.0)

    def tip_at(self, place_um: Place3) -> Place3:
        """Place of the tip, as `tip_um`.

        Parameters
        ----------
        place_um
            x, y and z of the manipulator.
        """
        x, y, z = (
            at + sum(map(float.__mul__, row, place_um))
            for at, row in zip(self.tip_um, self.matrix, strict=True)
        )
        return x, y, z
