"""The micropipette of a scene in its manipulator, on its pump: where its tip is, and what it draws.

The liquid feels it as `carrier.Suction`. Times are in seconds of the scene's clock.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fgaf.acquire.simulation.aspiration.mouth import Mouth, Vector
from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.view import Place

SLIDE = 0.6
"""How far the tip slides forward for each µm that it is lowered onto the dish: the glass bends."""


class Stroke(NamedTuple):
    """What a pump does from a time on, until its next stroke.

    Attributes
    ----------
    begun_s
        When it begins.
    flow_nl_s
        What it displaces; above 0 it draws in.
    longest_s
        It stops by itself when it has run so long.
    """

    begun_s: float
    flow_nl_s: float
    longest_s: float = math.inf


@dataclass(frozen=True)
class Hold:
    """A manipulator, a pump and an x/y stage, as a scene needs them.

    Attributes
    ----------
    free_tip
        Place of the tip's end if it touches nothing: y and x from the frame's first pixel, z from
        where the drive is at 0, µm in the specimen.
    corner
        Place (y, x) of the frame's first pixel in the specimen.
    strokes
        All strokes of the pump so far, in order.
    """

    free_tip: Callable[[float], Vector]
    corner: Callable[[float], Place] = lambda _: (0.0, 0.0)
    strokes: Callable[[], Sequence[Stroke]] = tuple


class Holder:
    """Holds the micropipette of a scene over the dish; implements `carrier.Suction`.

    Parameters
    ----------
    settings
        The field and the pipette.
    hold
        Where it is held, and what its pump does.
    """

    def __init__(self, settings: SimulationSettings, hold: Hold) -> None:
        self.form = settings.aspiration or AspirationSettings()
        self._settings, self._hold = settings, hold
        self._hydraulics = self.form.hydraulics()
        self._suction_kpa: list[float] = []

    def tip(self, time_s: float) -> Vector:
        """Place of the tip's end; lowered onto the dish, it stays on it and slides forward.

        Parameters
        ----------
        time_s
            Time.

        Returns
        -------
        tuple of float
            As `Hold.free_tip`.
        """
        y, x, z = self._hold.free_tip(time_s)
        lowest = self._lowest_um
        if z >= lowest:
            return y, x, z
        lean, slide = math.radians(self.form.lean_deg), SLIDE * (lowest - z)
        return y - slide * math.sin(lean), x - slide * math.cos(lean), lowest

    def mouth(self, time_s: float) -> Mouth:
        """The mouth in the specimen, over the dish; see `carrier.Suction`.

        Parameters
        ----------
        time_s
            Time.
        """
        (y, x, z), (corner_y, corner_x) = self.tip(time_s), self._hold.corner(time_s)
        form = self.form
        return Mouth(
            (y + corner_y, x + corner_x, self._settings.height_um(z * self._settings.reduction)),
            form.direction,
            form.inner_diameter_um / 2,
            form.outer_diameter_um / 2,
            form.slope,
        )

    def flow_nl_s(self, time_s: float) -> float:
        """Flow into the mouth, which follows the pump late; see `carrier.Suction`.

        Parameters
        ----------
        time_s
            Time.
        """
        strokes = self._hold.strokes()
        for number in range(len(self._suction_kpa), len(strokes)):
            self._suction_kpa.append(self._suction_at(strokes, number - 1, strokes[number].begun_s))
        last = bisect_right(strokes, time_s, key=lambda each: each.begun_s) - 1
        return self._suction_at(strokes, last, time_s) / self._hydraulics.resistance

    def _suction_at(self, strokes: Sequence[Stroke], number: int, time_s: float) -> float:
        """Suction in the line at a time during a stroke, kPa; before the first there is none."""
        if number < 0:
            return 0.0
        stroke, line = strokes[number], self._hydraulics
        line.set_pressure(self._suction_kpa[number])
        spent = max(time_s - stroke.begun_s, 0.0)
        pumped = min(spent, stroke.longest_s)
        line.run(pumped, stroke.flow_nl_s)
        line.run(spent - pumped)
        return line.suction_kpa

    @property
    def _lowest_um(self) -> float:
        """Height of the tip's axis when it lies on the dish, from where the drive is at 0."""
        return self._settings.dish_um / self._settings.reduction + self.form.outer_diameter_um / 2
