"""Round cells: leukocytes and immature germ cells."""

from __future__ import annotations

import numpy as np

from fgaf.acquire.simulation.scenery.things import Thing, cut_balls
from fgaf.acquire.simulation.settings import MicroscopeSettings


def draw_round_cell(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """A leukocyte or an immature germ cell: a ball of 7 to 11 µm with a nucleus and granules.

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
    radius = float(rng.uniform(3.5, 5.5))
    balls = [[0.0, 0.0, 0.0, radius, 0.02]]
    away = rng.normal(0, radius * 0.15, 3)
    balls.append([*away, radius * float(rng.uniform(0.45, 0.6)), 0.012])
    for _ in range(int(rng.integers(8, 24))):
        direction = rng.normal(size=3)
        direction *= radius * rng.uniform(0.2, 0.85) / np.linalg.norm(direction)
        balls.append([*direction, float(rng.uniform(0.25, 0.55)), float(rng.uniform(0.02, 0.05))])
    return Thing("cell", y_um, x_um, z_um, cut_balls(settings, np.array(balls), 0.8))


def draw_granular_cell(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """A round cell of 8 to 14 µm full of granules that absorb.

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
    radius = float(rng.uniform(4.0, 7.0))
    balls = [[0.0, 0.0, 0.0, radius, float(rng.uniform(0.012, 0.025)), 0.0]]
    for _ in range(int(rng.integers(20, 61))):
        direction = rng.normal(size=3)
        direction *= radius * rng.uniform(0.1, 0.88) / np.linalg.norm(direction)
        size, index, loss = rng.uniform((0.25, 0.01, 0.01), (0.6, 0.05, 0.08))
        balls.append([*direction, float(size), float(index), float(loss)])
    return Thing("cell", y_um, x_um, z_um, cut_balls(settings, np.array(balls), 1.0))
