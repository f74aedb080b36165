"""The sperm of one field: where they start, and how they swim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.painter import Swimmer
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.scenery.clumps import CLUMPS
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.swimming import Pose, Swimming, draw_swimming

Array = npt.NDArray[Any]

_CLUMP_DEPTH_UM = 0.3


def draw_cells(
    settings: SimulationSettings,
    size_um: tuple[float, float],
    courses: Sequence[Swimming] | None = None,
) -> tuple[Swimmer, ...]:
    """Draw the cells of a field: first those that swim alone, then those of its clumps.

    Parameters
    ----------
    settings
        How many, and their seed.
    size_um
        Height and width of the field, µm.
    courses
        Heading, speed and turns of each that swims alone; by default they are drawn.
    """
    s = settings
    rng = np.random.default_rng([s.seed, 0])
    margins = [min(s.margin_um, size / 2 * 0.9) for size in size_um]
    ground = _Ground(s, size_um, margins)
    swimmers: list[Swimmer] = []
    for number in range(s.cells):
        body = draw_sperm(rng, s.motile, s)
        depth = s.center_um + float(rng.uniform(-1, 1)) * s.depth_spread_um
        start = Pose(0.0, 0.0, depth, yaw=float(rng.uniform(0, 2 * np.pi)))
        way = draw_swimming(rng, start, s.motile, s.beat_hz, s.speed_um_s, s.rolled_heads)
        way = way.climbing(s.climb)
        way = replace(way, start=replace(way.start, z_um=depth - way.pose(0).z_um + depth))
        if courses is not None:
            way = way.along(courses[number])
        swimmers.append(Swimmer(body, ground.settle(rng, way)))
    return (*swimmers, *_draw_clumps(s, ground))


def _draw_clumps(settings: SimulationSettings, ground: _Ground) -> list[Swimmer]:
    """Groups of sperm whose heads touch; they beat, but do not get away."""
    s = settings
    rng = np.random.default_rng([s.seed, 15])
    swimmers = []
    for name, layout in CLUMPS.items():
        for _ in range(getattr(s, name)):
            z = s.center_um + float(rng.uniform(-1, 1)) * s.depth_spread_um
            middle = ground.settle(rng, Swimming(Pose(0.0, 0.0, z))).start
            for y, x, yaw in layout(rng):
                depth = z + float(rng.normal(0, _CLUMP_DEPTH_UM))
                start = Pose(middle.y_um + y, middle.x_um + x, depth, yaw=yaw)
                body = draw_sperm(rng, s.motile, s)
                way = draw_swimming(rng, start, s.motile, s.beat_hz, s.speed_um_s, s.rolled_heads)
                swimmers.append(Swimmer(body, way.held()))
    return swimmers


class _Ground:
    """The area of a field, and the tracks that are taken."""

    def __init__(
        self, settings: SimulationSettings, size_um: tuple[float, float], margins_um: list[float]
    ) -> None:
        self._settings, self._size_um, self._margins_um = settings, size_um, margins_um
        self._taken: list[Array] = []

    def settle(self, rng: np.random.Generator, way: Swimming) -> Swimming:
        """Find a position where a cell keeps its distance from the others for a while."""
        times = np.linspace(0, self._settings.separation_s, 6)
        track = np.array([way.path(t) for t in times])
        others = np.array(self._taken)
        best, room = np.zeros(2), -1.0
        for _ in range(60):
            place = np.array(
                [
                    float(rng.uniform(margin, size - margin))
                    for margin, size in zip(self._margins_um, self._size_um, strict=True)
                ]
            )
            if not self._taken:
                best = place
                break
            away = others - (track + place)
            least = float(np.hypot(away[..., 0], away[..., 1]).min())
            if least > room:
                best, room = place, least
            if least >= self._settings.separation_um:
                break
        self._taken.append(track + best)
        return way.at(*best.tolist())
