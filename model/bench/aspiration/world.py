"""The truth of a trial: the cell, the pipette over the dish, and the liquid that it draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.carried import Carried
from fgaf.acquire.simulation.aspiration.cells import Entries
from fgaf.acquire.simulation.aspiration.mouth import Mouth
from fgaf.acquire.simulation.aspiration.mouth_flow import MouthFlow
from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.model.bench.aspiration.cell import Subject

Array = npt.NDArray[Any]

_STILL_NL_S = 1e-7


class World:
    """A cell and a pipette. Until liquid flows, the cell is on its own path.

    Parameters
    ----------
    subject
        The cell.
    settings
        Pipette, line, and response of the cell.
    view_um
        Length of the bore in view.
    tip_um
        Centre (y, x, z) of the mouth at the start, z over the dish.

    Attributes
    ----------
    time_s
        Present time.
    tip_um
        Centre of the mouth now.
    lowest_um
        Lowest height of the mouth's centre.
    speed_um_s
        Speed of the head relative to the tip.
    nearest_um
        Least distance of the head's centre from that of the mouth while liquid was drawn.
    passed_um
        When the head first crossed the plane of the mouth outside the bore, its place beside and
        over the axis; None before.
    """

    def __init__(
        self, subject: Subject, settings: AspirationSettings, view_um: float, tip_um: Array
    ) -> None:
        self.subject, self.time_s = subject, 0.0
        self.tip_um = np.array(tip_um, float)
        self.nearest_um = math.inf
        self.passed_um: tuple[float, float] | None = None
        self.lowest_um = math.inf
        self._settings, self._view_um = settings, view_um
        self._hydraulics = settings.hydraulics()
        self._carried: Carried | None = None
        self._flow: MouthFlow | None = None
        self._head = self.head_um
        self.speed_um_s = 0.0

    @property
    def flow_nl_s(self) -> float:
        """Flow into the tip now."""
        return self._hydraulics.flow_nl_s

    @property
    def head_um(self) -> Array:
        """Centre (y, x, z) of the head with its beat, z over the dish."""
        if self._carried is None:
            pose = self.subject.swimmer.way.pose(self.time_s)
            return np.array([pose.y_um, pose.x_um, self.subject.height_um(self.time_s)])
        cells = self._carried.cells
        free = 0.0 if self.inside or cells.stuck[0] else 1.0
        beat = self.subject.beat_um(self.time_s, cells.axis[0])
        place: Array = cells.place_um[0] + free * beat
        return place

    @property
    def heading(self) -> Array:
        """Unit vector (y, x) of the cell's heading in the image."""
        if self._carried is None:
            yaw = self.subject.heading(self.time_s)
            return np.array([math.sin(yaw), math.cos(yaw)])
        y, x, _ = self._carried.cells.axis[0]
        length = math.hypot(y, x) or 1.0
        return np.array([y / length, x / length])

    @property
    def raised_um(self) -> float:
        """How far the liquid has raised the cell over its own path."""
        if self._carried is None:
            return 0.0
        height = float(self._carried.cells.place_um[0, 2])
        own = self.subject.released(self.time_s).place_um[0, 2]
        return height - float(own)

    @property
    def gap_um(self) -> float:
        """Least distance of the glass from the dish so far."""
        s = self._settings
        level = math.hypot(*s.direction[:2])
        return self.lowest_um - level * s.outer_diameter_um / 2

    @property
    def entries(self) -> Entries:
        """What became of the cell."""
        return Entries.none(1) if self._carried is None else self._carried.entries

    @property
    def inside(self) -> bool:
        """Whether the head is in the bore."""
        return self._carried is not None and bool(self._carried.inside[0])

    @property
    def left(self) -> bool:
        """Whether it is out of view up the bore."""
        return self._carried is not None and bool(self._carried.left[0])

    @property
    def stuck(self) -> bool:
        """Whether the cell adheres to the dish."""
        return self.subject.stuck if self._carried is None else bool(self._carried.cells.stuck[0])

    @property
    def mouth(self) -> Mouth:
        """The mouth of the pipette now."""
        s, (y, x, z) = self._settings, map(float, self.tip_um)
        return Mouth(
            (y, x, z), s.direction, s.inner_diameter_um / 2, s.outer_diameter_um / 2, s.slope
        )

    def advance(self, duration_s: float, pump_nl_s: float, tip_um: Array) -> None:
        """Let time pass.

        Parameters
        ----------
        duration_s
            How long.
        pump_nl_s
            Displacement of the pump meanwhile.
        tip_um
            Centre of the mouth from now on.
        """
        moved = tip_um - self.tip_um
        self.tip_um = np.array(tip_um, float)
        self.lowest_um = min(self.lowest_um, float(tip_um[2]))
        self._hydraulics.run(duration_s / 2, pump_nl_s)
        flow = self.flow_nl_s
        self._hydraulics.run(duration_s / 2, pump_nl_s)
        before = self._head
        if self._carried is None and abs(flow) > _STILL_NL_S:
            cells = self.subject.released(self.time_s)
            self._carried = Carried(self._settings, cells, self.time_s, self._view_um)
        if self._carried is not None:
            self._carry(duration_s, flow, bool(moved.any()))
        self.time_s += duration_s
        self._head = self.head_um
        self.speed_um_s = float(np.linalg.norm(self._head - before - moved)) / duration_s

    def _carry(self, duration_s: float, flow_nl_s: float, moves: bool) -> None:
        carried, mouth = self._carried, self.mouth
        if carried is None:
            return
        if self._flow is None or moves:
            self._flow = MouthFlow(mouth)
        velocity = self._flow.velocity
        before = float(carried.depth_um(mouth)[0])
        carried.advance(duration_s, lambda points: velocity(points, flow_nl_s), mouth)
        head = carried.cells.place_um[0]
        if flow_nl_s > _STILL_NL_S:
            self.nearest_um = min(self.nearest_um, float(np.linalg.norm(head - self.tip_um)))
        after = float(carried.depth_um(mouth)[0])
        if self.passed_um is None and not self.inside and before <= 0 < after:
            _, aside, _ = mouth.along(head)
            self.passed_um = float(np.hypot(aside[0], aside[1])), float(aside[2])
