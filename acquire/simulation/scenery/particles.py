"""Small things that are no sperm: debris, bacteria, fragments of cells, drops."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.scenery.things import Thing, cut_balls
from fgaf.acquire.simulation.settings import MicroscopeSettings

Array = npt.NDArray[Any]

COCCUS_UM = 0.8
"""Diameter of a coccus."""


def draw_debris(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """A speck of 0.5 to 2 µm: up to four balls stuck together.

    Parameters
    ----------
    rng
        Draws size and shape.
    settings
        The microscope that it is cut into slices for.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is in focus, µm.
    """
    count = int(rng.integers(1, 5))
    size = float(np.clip(rng.lognormal(np.log(0.4), 0.35), 0.25, 0.9))
    balls = np.column_stack(
        [
            rng.normal(0, size * 0.7, (count, 2)),
            rng.normal(0, size * 0.3, count),
            size * rng.uniform(0.6, 1.0, count),
            rng.uniform(0.02, 0.07, count),
        ]
    )
    balls[:, :3] -= balls[:, :3].mean(axis=0)
    return Thing("debris", y_um, x_um, z_um, cut_balls(settings, balls, 0.4))


def draw_cocci(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """Cocci of 0.8 µm: a single one, a pair, a chain of 3 to 8, or a cluster of 4 to 12.

    Parameters
    ----------
    rng
        Draws size and shape.
    settings
        The microscope that it is cut into slices for.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is in focus, µm.
    """
    form = int(rng.choice(4, p=(0.25, 0.3, 0.25, 0.2)))
    count = 1 + form if form < 2 else int(rng.integers(3, 9) if form == 2 else rng.integers(4, 13))
    places = _cluster(rng, count) if form == 3 else _chain(rng, count, COCCUS_UM, 0.35)
    index = float(rng.uniform(0.04, 0.07))
    balls = np.column_stack(
        [
            places,
            np.full(count, COCCUS_UM / 2) * rng.uniform(0.92, 1.08, count),
            np.full(count, index),
            np.full(count, float(rng.uniform(0, 0.02))),
        ]
    )
    return Thing("cocci", y_um, x_um, z_um, cut_balls(settings, balls, 0.4, joined=True))


def draw_rod(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """A rod-shaped bacterium of 0.7 x 1.5 to 4 µm.

    Parameters
    ----------
    rng
        Draws size and shape.
    settings
        The microscope that it is cut into slices for.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is in focus, µm.
    """
    length = float(rng.uniform(1.5, 4.0))
    count = int(np.ceil((length - 0.7) / 0.2)) + 1
    places = _chain(rng, count, (length - 0.7) / (count - 1), 0.04)
    body = np.array([[0.35, float(rng.uniform(0.03, 0.06)), float(rng.uniform(0, 0.015))]])
    balls = np.column_stack([places, np.repeat(body, count, axis=0)])
    return Thing("rod", y_um, x_um, z_um, cut_balls(settings, balls, 0.35, joined=True))


def draw_clot(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """Amorphous debris of up to 6 µm with an irregular outline; every second one absorbs.

    Parameters
    ----------
    rng
        Draws size and shape.
    settings
        The microscope that it is cut into slices for.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is in focus, µm.
    """
    count = int(rng.integers(8, 20))
    size = float(rng.uniform(0.5, 1.3))
    steps = np.cumsum(rng.normal(0, 0.5 * size, (count, 2)), axis=0)
    steps -= steps.mean(axis=0)
    places = steps * min(1.0, (3 - size) / float(np.hypot(*steps.T).max()))
    radius = size * rng.uniform(0.5, 1.0, count)
    loss = float(rng.uniform(0.005, 0.05)) if rng.uniform() < 0.5 else 0.0
    balls = np.column_stack(
        [
            places,
            rng.normal(0, 0.3, count),
            radius,
            rng.uniform(0.015, 0.06, count),
            loss * rng.uniform(0.3, 1, count),
        ]
    )
    return Thing("debris", y_um, x_um, z_um, cut_balls(settings, balls, 0.5, True, 0.7))


def draw_fragment(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """A fragment of a cell without a nucleus: a pale, flat body of 2 to 6 µm with a few grains.

    Parameters
    ----------
    rng
        Draws size and shape.
    settings
        The microscope that it is cut into slices for.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is in focus, µm.
    """
    count, size = int(rng.integers(2, 6)), float(rng.uniform(1.0, 2.0))
    body = np.column_stack(
        [
            rng.normal(0, size * 0.5, (count, 2)),
            np.zeros(count),
            size * rng.uniform(0.6, 1.0, count),
            np.full(count, float(rng.uniform(0.008, 0.025))),
            np.zeros(count),
        ]
    )
    grains = int(rng.integers(0, 6))
    host = body[rng.integers(0, count, grains)]
    inside = np.column_stack(
        [
            host[:, :2] + rng.uniform(-0.5, 0.5, (grains, 2)) * host[:, 3:4],
            np.zeros(grains),
            rng.uniform(0.2, 0.4, grains),
            rng.uniform(0.03, 0.06, grains),
            rng.uniform(0, 0.05, grains),
        ]
    )
    balls = np.concatenate([body, inside])
    return Thing("fragment", y_um, x_um, z_um, cut_balls(settings, balls, 0.5, True, 0.6))


def draw_body(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """A smooth round body of 3 to 6 µm with a dark rim: a yeast, a drop of oil, a small red cell.

    Parameters
    ----------
    rng
        Draws size and shape.
    settings
        The microscope that it is cut into slices for.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is in focus, µm.
    """
    radius = float(rng.uniform(1.5, 3.0))
    form = int(rng.integers(3))
    index = float(rng.uniform(*((0.025, 0.05), (0.06, 0.11), (0.03, 0.06))[form]))
    balls = [[0.0, 0.0, 0.0, radius, index, float(rng.uniform(0, 0.006))]]
    if form == 0:
        inner = rng.normal(0, radius * 0.2, 2)
        balls.append([*inner, 0.0, radius * float(rng.uniform(0.3, 0.6)), index * 1.3, 0.0])
    flat = float(rng.uniform(0.35, 0.5)) if form == 2 else 1.0
    return Thing("body", y_um, x_um, z_um, cut_balls(settings, np.array(balls), 0.6, True, flat))


def _chain(rng: np.random.Generator, count: int, step_um: float, bend: float) -> Array:
    """Places (y, x, z) of a chain about its centre."""
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, count))
    steps = step_um * np.column_stack([np.sin(heading), np.cos(heading), np.zeros(count)])
    places = np.cumsum(steps, axis=0)
    result: Array = places - places.mean(axis=0)
    return result


def _cluster(rng: np.random.Generator, count: int) -> Array:
    """Places (y, x, z) of cocci that touch, about their centre."""
    places = [np.zeros(3)]
    while len(places) < count:
        heading = float(rng.uniform(0, 2 * np.pi))
        step = COCCUS_UM * np.array([np.sin(heading), np.cos(heading), float(rng.normal(0, 0.2))])
        place = places[int(rng.integers(len(places)))] + step
        if min(float(np.hypot(*(place - other)[:2])) for other in places) > 0.9 * COCCUS_UM:
            places.append(place)
    result: Array = np.array(places) - np.mean(places, axis=0)
    return result
