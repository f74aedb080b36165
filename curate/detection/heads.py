"""Similarity of a spot of contrast energy to a sperm head.

A logistic regression on measures of the spot, and on their squares and products; first for the spot
alone, then relative to the other spots, because the heads of one image are similar and debris
differs from them. The weights are in `heads.json`; `tools/fit_heads.py` fits them to simulated
fields of many optics. Measures beyond the range of those fields are clipped, so nothing is
extrapolated.

Where a head has too few pixels to show its shape, as with a 4x objective, a spot only needs to be
strong, small, round and isolated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MEASURES: Final = (
    "strength",
    "size",
    "elongation",
    "around",
    "strongest around",
    "through",
    "coarse",
    "coarser",
)
"""The measures of a spot: the columns of `Measures.alone`."""
_COMPARED: Final = [MEASURES.index("size"), MEASURES.index("coarse")]
_LIKELY: Final = 0.3
_SPOT: Final = (
    ("strength", 1, np.log(6.0), 0.2),
    ("size", 1, 0.175, 0.01),
    ("size", -1, -0.42, 0.025),
    ("elongation", -1, -np.log(2.2), 0.07),
    ("around", -1, np.log(1 / 0.6), 0.09),
    ("strongest around", -1, np.log(1 / 1.1), 0.06),
    ("through", -1, np.log(1 / 0.67), 0.08),
)
"""Measure, 1 for a minimum or -1 for a maximum, the limit with that sign, and its softness."""


@dataclass(frozen=True)
class Measures:
    """Measures of the spots of one image.

    Attributes
    ----------
    alone
        (N, 8) one column per name of `MEASURES`.
    contrast
        (N,) logarithm of the contrast; comparable only within the image.
    """

    alone: Floats
    contrast: Floats

    def beside_peers(self, probability: Floats) -> Floats:
        """Add contrast, size and coarseness relative to the likely heads: (N, 11).

        Parameters
        ----------
        probability
            (N,) probability of being a head, from the measures only.
        """
        compared = np.column_stack([self.contrast, self.alone[:, _COMPARED]])
        weight = np.where(probability > _LIKELY, probability, 0.0)
        if weight.sum() < 1:
            return np.hstack([self.alone, np.zeros_like(compared)])
        usual = np.array([_weighted_median(column, weight) for column in compared.T])
        return np.hstack([self.alone, compared - usual])


@dataclass(frozen=True)
class Logistic:
    """A logistic regression on measures, their squares and their products.

    Attributes
    ----------
    low, high
        (F,) range of every measure in the fields of the fit.
    mean, spread
        (F,) mean and deviation for standardising the measures.
    weights
        (1 + F + F (F + 1) / 2,): constant, measures, squares and products.
    """

    low: Floats
    high: Floats
    mean: Floats
    spread: Floats
    weights: Floats

    @classmethod
    def of(cls, numbers: dict[str, Any]) -> Self:
        """Read it from the lists of a JSON file."""
        return cls(**{name: np.array(values, np.float64) for name, values in numbers.items()})

    def terms(self, measures: Floats) -> Floats:
        """The terms of the weights: (N, 1 + F + F (F + 1) / 2)."""
        inside = (np.clip(measures, self.low, self.high) - self.mean) / self.spread
        rows, columns = np.tril_indices(inside.shape[1])
        products = inside[:, rows] * inside[:, columns]
        return np.hstack([np.ones((len(inside), 1)), inside, products])

    def probability(self, measures: Floats) -> Floats:
        """Probability of being a head: (N,)."""
        return _sigmoid(self.terms(measures) @ self.weights)


def head_scores(measures: Measures, resolved: bool = True) -> Floats:
    """Score the spots of one image: (N,), 0 to 1.

    Parameters
    ----------
    measures
        Measures of its spots.
    resolved
        Whether a head has enough pixels to show its shape.
    """
    if not resolved:
        return _spot_scores(measures.alone)
    alone, beside_peers = _fitted()
    return beside_peers.probability(measures.beside_peers(alone.probability(measures.alone)))


def _spot_scores(measures: Floats) -> Floats:
    """Product of soft limits."""
    return np.asarray(
        np.prod(
            [
                _sigmoid((sign * measures[:, MEASURES.index(name)] - limit) / width)
                for name, sign, limit, width in _SPOT
            ],
            axis=0,
        )
    )


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -50, 50))))


@cache
def _fitted() -> tuple[Logistic, Logistic]:
    text = resources.files("fgaf.curate.detection").joinpath("heads.json").read_text("utf-8")
    numbers = json.loads(text)
    return Logistic.of(numbers["alone"]), Logistic.of(numbers["beside_peers"])


def _weighted_median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
