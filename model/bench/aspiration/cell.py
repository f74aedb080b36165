"""The cell of a trial: its body, its path over the dish, and how it looks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.cells import Cells
from fgaf.acquire.simulation.camera import sensor
from fgaf.acquire.simulation.camera.light import mottle
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.swimming import Pose, draw_swimming

Array = npt.NDArray[Any]
Range = tuple[float, float]

PLACING_UM: Final = 0.28
"""Error of a head's place in an image along each axis, r.m.s.: 1.9 pixels (docs/live.md)."""
MICROSCOPE: Final = SimulationSettings()
"""The microscope of the trials: that of the rig `sim`."""


@dataclass(frozen=True)
class Subject:
    """A cell over the dish; lengths in µm of the specimen, z of the path in drive µm from the dish.

    Attributes
    ----------
    swimmer
        Its body and its undisturbed path.
    stuck
        Whether it adheres to the dish.
    """

    swimmer: Swimmer
    stuck: bool

    def height_um(self, time_s: float) -> float:
        """Height of the head's centre over the dish in the specimen, with its beat.

        Parameters
        ----------
        time_s
            When, s.
        """
        return self.swimmer.way.pose(time_s).z_um / MICROSCOPE.reduction

    def heading(self, time_s: float) -> float:
        """Mean heading in the image, rad from +x towards +y."""
        way = self.swimmer.way
        return way.start.yaw + way.turn_rad_s * time_s

    def beat_um(self, time_s: float, axis: Array) -> Array:
        """Displacement (y, x, z) of the head by its beat from the mean path, µm.

        Parameters
        ----------
        time_s
            When.
        axis
            (3,) direction in which it swims.
        """
        way = self.swimmer.way
        beat = way.beat(time_s)
        swing = way.swing_um * math.sin(beat)
        rise = way.z_swing_um * math.sin(beat + 1.0) / MICROSCOPE.reduction
        length = math.hypot(axis[0], axis[1]) or 1.0
        return np.array([swing * axis[1] / length, -swing * axis[0] / length, rise])

    def released(self, time_s: float) -> Cells:
        """The cell on its mean path at a time, for a flow to carry.

        Parameters
        ----------
        time_s
            From then on.
        """
        way = self.swimmer.way
        y, x = way.path(time_s)
        up = 1 / MICROSCOPE.reduction
        high = way.start.z_um + sum(
            a * math.sin(2 * math.pi * f * time_s + p) for a, f, p in way.z_wander
        )
        cells = Cells.starting(
            np.array([[y, x, high * up]]),
            np.array([self.heading(time_s)]),
            way.speed_um_s,
            way.turn_rad_s,
            self.stuck,
        )
        if way.z_wander:
            cells.wander = np.array([[(a * up, f, p) for a, f, p in way.z_wander]])
        return cells


def draw_subject(
    rng: np.random.Generator,
    motile: bool,
    height_um: Range,
    speed_um_s: Range,
    heading: tuple[float, float],
    adhesion_share: float,
) -> Subject:
    """Draw a cell that is at the origin at time 0.

    Parameters
    ----------
    rng
        Draws shape and path.
    motile
        Whether it swims.
    height_um, speed_um_s
        Ranges of its height over the dish and of its speed.
    heading
        Middle and half of the range of its heading in the image, rad.
    adhesion_share
        Probability that an immotile cell sticks to the dish.
    """
    body_rng, way_rng, rng = rng.spawn(3)
    yaw = heading[0] + heading[1] * float(rng.uniform(-1, 1))
    high = float(rng.uniform(*height_um)) * MICROSCOPE.reduction
    sticks = bool(rng.uniform() < adhesion_share)
    start = Pose(0.0, 0.0, high, yaw=yaw)
    way = draw_swimming(way_rng, start, motile, speed_um_s=speed_um_s)
    return Subject(Swimmer(draw_sperm(body_rng, motile), way), sticks and not motile)


class Look:
    """Patches of a cell, as the camera sees it: with its beat, the light, clouds and noise.

    Parameters
    ----------
    subject
        The cell.
    side_px
        Side of a patch.
    rng
        Draws light, noise, and errors of the place.

    Attributes
    ----------
    raised_um
        How far a flow has raised the cell over its own path, in drive µm.
    drawn
        Whether the cell is drawn in, and no patches are made any more.
    """

    def __init__(self, subject: Subject, side_px: int, rng: np.random.Generator) -> None:
        self._subject, self._side, self.rng = subject, side_px, rng
        self.raised_um, self.drawn = 0.0, False
        brightness, slope = rng.normal(1, 0.08), rng.normal(0, 0.015, 2)
        ramp = np.linspace(-1, 1, side_px, dtype=np.float32)
        light = (brightness + slope[0] * ramp[:, None] + slope[1] * ramp).astype(np.float32)
        self._ground = light * mottle(rng, (side_px, side_px), MICROSCOPE)

    def focus_um(self, time_s: float) -> float:
        """Position of the drive at which the head is in focus, from that of the dish.

        Parameters
        ----------
        time_s
            When.
        """
        return self._subject.swimmer.way.pose(time_s).z_um + self.raised_um

    def patch(self, time_s: float, drive_um: float) -> Array:
        """Take a patch around the place where the head was found.

        Parameters
        ----------
        time_s
            Middle of the exposure.
        drive_um
            Position of the drive, from where the dish is in focus.

        Returns
        -------
        (S, S) uint8.
        """
        pixel, exposure = MICROSCOPE.pixel_size_um, MICROSCOPE.reference_exposure_s
        pose = self._subject.swimmer.way.pose(time_s)
        middle = self._side // 2 * pixel
        off = np.clip(self.rng.normal(0, PLACING_UM, 2), -1.0, 1.0)
        canvas = Canvas((self._side, self._side), drive_um)
        shift = (middle + off[0] - pose.y_um, middle + off[1] - pose.x_um, self.raised_um)
        _painter().sperm(canvas, self._subject.swimmer, time_s, exposure, shift)
        return sensor.expose(canvas.relative() * self._ground, exposure, MICROSCOPE, self.rng)


@lru_cache(maxsize=1)
def _painter() -> Painter:
    """The tables of the microscope, once per process; flagella are drawn in coarser steps."""
    return Painter(MICROSCOPE.model_copy(update={"quick": True}))
