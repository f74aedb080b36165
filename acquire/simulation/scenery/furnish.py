"""All that lies in a field, drawn from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fgaf.acquire.simulation.scenery.droplet import Rim, draw_rim, draw_rim_near
from fgaf.acquire.simulation.scenery.particles import (
    draw_body,
    draw_clot,
    draw_cocci,
    draw_debris,
    draw_fragment,
    draw_rod,
)
from fgaf.acquire.simulation.scenery.pipette import Shaft, draw_pipette, draw_shaft_near
from fgaf.acquire.simulation.scenery.round_cells import draw_granular_cell, draw_round_cell
from fgaf.acquire.simulation.scenery.spots import draw_spot
from fgaf.acquire.simulation.scenery.tails import Tail, draw_tail
from fgaf.acquire.simulation.scenery.things import Furniture
from fgaf.acquire.simulation.settings import SimulationSettings

WIDER_UM = 1.5
"""Objects spread over that much more depth than cells, on either side."""

_FIRST_STREAM = 20

_MORE: tuple[tuple[str, Callable[..., Furniture]], ...] = (
    ("cocci", draw_cocci),
    ("rods", draw_rod),
    ("clots", draw_clot),
    ("bodies", draw_body),
    ("fragments", draw_fragment),
    ("granular_cells", draw_granular_cell),
    ("spots", lambda rng, _, y, x, z: draw_spot(rng, y, x, z)),
)

Size = tuple[float, float]


def furnish(settings: SimulationSettings, size_um: Size) -> Iterator[Furniture]:
    """Draw debris, cells and other compact objects, over a wider depth than the sperm.

    The numbers of one kind do not change where the others lie.

    Parameters
    ----------
    settings
        How many of each.
    size_um
        Height and width of the field, µm.
    """
    s = settings
    rng = np.random.default_rng([s.seed, 4])
    for draw, count in ((draw_debris, s.debris), (draw_round_cell, s.round_cells)):
        yield from (draw(rng, s, *_somewhere(rng, s, size_um)) for _ in range(count))
    if s.pipette:
        rng = np.random.default_rng([s.seed, 5])
        yield draw_pipette(rng, s, size_um, s.center_um + float(rng.uniform(-1, 2)))
    for stream, (name, more) in enumerate(_MORE, _FIRST_STREAM):
        rng = np.random.default_rng([s.seed, stream])
        yield from (more(rng, s, *_somewhere(rng, s, size_um)) for _ in range(getattr(s, name)))


def draw_tails(settings: SimulationSettings, size_um: Size) -> tuple[Tail, ...]:
    """Draw tails without a head.

    Parameters
    ----------
    settings
        How many.
    size_um
        Height and width of the field, µm.
    """
    rng = np.random.default_rng([settings.seed, 12])
    return tuple(
        draw_tail(rng, settings, *_somewhere(rng, settings, size_um)) for _ in range(settings.tails)
    )


def draw_rims(
    settings: SimulationSettings, size_um: Size, heads_um: Sequence[tuple[float, float]]
) -> Iterator[tuple[Rim, float]]:
    """Draw edges of droplets, each with the drive position at which it is in focus.

    Parameters
    ----------
    settings
        Whether there is a large one, and how many more.
    size_um
        Height and width of the field, µm.
    heads_um
        Places (y, x) of the heads.
    """
    if settings.droplet:
        rng = np.random.default_rng([settings.seed, 6])
        z = settings.center_um + float(rng.uniform(-2, 2))
        yield draw_rim(rng, size_um), z
    rng = np.random.default_rng([settings.seed, 13])
    for _ in range(settings.edges):
        place = _beside(rng, heads_um, size_um)
        z = settings.center_um + float(rng.uniform(-2, 2))
        yield draw_rim_near(rng, *place, settings.gap_um), z


def draw_shafts(
    settings: SimulationSettings, size_um: Size, heads_um: Sequence[tuple[float, float]]
) -> Iterator[Shaft]:
    """Draw needles beside heads.

    Parameters
    ----------
    settings
        How many.
    size_um
        Height and width of the field, µm.
    heads_um
        Places (y, x) of the heads.
    """
    rng = np.random.default_rng([settings.seed, 14])
    for _ in range(settings.needles):
        place = _beside(rng, heads_um, size_um)
        yield draw_shaft_near(rng, *place, settings.gap_um, settings.center_um)


def _somewhere(
    rng: np.random.Generator, settings: SimulationSettings, size_um: Size
) -> tuple[float, float, float]:
    """Draw a place anywhere in the field: y, x, z."""
    y, x = (float(rng.uniform(0, size)) for size in size_um)
    depth = float(rng.uniform(-1, 1)) * (settings.depth_spread_um + WIDER_UM)
    return y, x, settings.center_um + depth


def _beside(
    rng: np.random.Generator, heads_um: Sequence[tuple[float, float]], size_um: Size
) -> tuple[float, float]:
    """Choose the place of a head, or one anywhere if there is none."""
    if heads_um:
        return heads_um[int(rng.integers(len(heads_um)))]
    anywhere: Any = rng.uniform((0, 0), size_um)
    return float(anywhere[0]), float(anywhere[1])
