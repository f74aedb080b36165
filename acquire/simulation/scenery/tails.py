"""Tails without a head: loose ones, and coils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.settings import MicroscopeSettings
from fgaf.acquire.simulation.sperm import BEAD_UM, Thread

Array = npt.NDArray[Any]

_COILED = 0.5


@dataclass(frozen=True)
class Tail:
    """A tail that lies still.

    Attributes
    ----------
    y_um, x_um
        Its centre in the field.
    z_um
        The drive's z at which it is in focus.
    thread
        Its beads about the centre.
    """

    y_um: float
    x_um: float
    z_um: float
    thread: Thread
    kind: str = "tail"
    yaw: float = 0.0


def draw_tail(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Tail:
    """A tail of 10 to 45 µm in a curve, or coiled into a loop of 1 to 3 µm radius.

    Parameters
    ----------
    rng
        Draws size and shape.
    settings
        Wavelength and medium.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is in focus, µm.
    """
    if rng.uniform() < _COILED:
        radius, turns = float(rng.uniform(1.0, 3.0)), float(rng.uniform(1.1, 3.0))
        s = np.arange(0, 2 * np.pi * radius * turns, BEAD_UM)
        turn = s / (2 * np.pi * radius)
        oval = 1 + float(rng.uniform(0, 0.5)) * np.sin(
            4 * np.pi * turn * float(rng.uniform(0.8, 1))
        )
        curvature = oval / (radius * (1 + float(rng.uniform(0, 0.15)) * turn))
    else:
        s = np.arange(0, float(rng.uniform(10, 45)), BEAD_UM)
        wave = 2 * np.pi * s / float(rng.uniform(15, 60)) + float(rng.uniform(0, 2 * np.pi))
        curvature = float(rng.normal(0, 0.03)) + float(rng.uniform(0, 0.12)) * np.sin(wave)
    heading = float(rng.uniform(0, 2 * np.pi)) + np.cumsum(curvature) * BEAD_UM
    y, x = (np.cumsum(part) * BEAD_UM for part in (np.sin(heading), np.cos(heading)))
    height = float(rng.uniform(0, 0.6)) * np.sin(np.linspace(0, float(rng.uniform(1, 6)), s.size))
    radius_um, index = float(rng.uniform(0.18, 0.3)), float(rng.uniform(0.05, 0.08))
    strength = 2 * np.pi / settings.wavelength_um * index * np.pi * radius_um**2 * BEAD_UM
    thread = Thread(
        y - y.mean(), x - x.mean(), height * settings.reduction, np.full(s.size, strength)
    )
    return Tail(y_um, x_um, z_um, thread)
