"""A sperm as a rigid body in slow flow: where liquid drags on it, and what touches glass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.settings import AspirationSettings

Array = npt.NDArray[Any]

_TAIL_POINTS, _BALLS = 8, 5
_TAIL_RADIUS_UM = 0.25


@dataclass(frozen=True)
class Body:
    """Points on the long axis of a cell, at distances from the centre of its head.

    Attributes
    ----------
    places_um, weights
        (P,) points at which the flow is taken, positive towards the tip of the head, and their
        shares of the drag, which sum to 1: two of the head, whose second moment is that of a
        rod of its length, and eight of the tail (Gauss-Legendre).
    centre_um, square_um2
        Centre of the drag, and its second moment about the centre.
    balls_um, radii_um
        (B,) balls that touch: five inside the head, a spheroid, along its axis, then those of the
        tail.
    head_balls, head_um
        How many of them are the head's, and its length.
    jeffery
        Jeffery's factor.
    """

    places_um: Array
    weights: Array
    centre_um: float
    square_um2: float
    balls_um: Array
    radii_um: Array
    head_balls: int
    head_um: float
    jeffery: float

    @classmethod
    def of(cls, settings: AspirationSettings) -> Body:
        """The body that settings describe."""
        half, wide = settings.head_length_um / 2, settings.head_width_um / 2
        nodes, shares = np.polynomial.legendre.leggauss(_TAIL_POINTS)
        tail = -half - settings.tail_length_um * (1 - nodes) / 2
        head = settings.head_length_um / math.sqrt(12)
        places = np.array([head, -head, *tail])
        own = (1 - settings.tail_weight) / 2
        weights = np.array([own, own, *(settings.tail_weight * shares / 2)])
        centre = float(weights @ places)
        # the largest ball around a place on the axis of a spheroid
        focus2 = half**2 - wide**2
        balls = np.linspace(-1, 1, _BALLS) * focus2 / half
        ratio = np.divide(balls**2, focus2, out=np.zeros(_BALLS), where=focus2 > 0)
        radii = wide * np.sqrt(1 - ratio)
        ends = np.append(tail, -half - settings.tail_length_um)
        return cls(
            places,
            weights,
            centre,
            float(weights @ (places - centre) ** 2),
            np.concatenate([balls, ends]),
            np.concatenate([radii, np.full(len(ends), _TAIL_RADIUS_UM)]),
            _BALLS,
            settings.head_length_um,
            settings.jeffery,
        )
