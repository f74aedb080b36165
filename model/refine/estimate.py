"""How far each cell's depth label is off, from what a network reads in all of its planes.

The planes of a stack are known distances apart, so a wrong label is wrong by one number for all
planes of a cell, its *offset*; by a second number, its *slope*, if the cell climbs or dives while
the stack is taken. A network that was trained on other cells reads every plane. What it reads
differs from the label by offset and slope, and by its own errors. The model, for plane j of cell i
with the label d:

    reading_ij = h(d_ij + offset_i + slope_i d_ij) + error_ij

`h` is common to all cells: what the network reads on average at a depth. Offset and slope are
random effects with mean zero over the cells. Their deviations, and that of the errors, are found by
maximum likelihood over all cells; offset and slope are then the mean given the readings (empirical
Bayes; Robbins 1956, Morris 1983): a cell whose planes tell little keeps its label. A shift common
to all labels cannot be seen and is not corrected.

Part of a network's error is the same in all planes of a cell, or grows with depth, as if the label
had that offset or slope. The readings do not tell the two apart: it goes into the new labels, and
`_UNSEEN` of it into their standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_ROUNDS: Final = 6
_LEAST_SHARE: Final = 1e-3
"""Lower bound of the deviations of offset and error, in steps of the classes."""
_MOST: Final = 10.0
"""Upper bound of these deviations, in ranges."""
_SLOPES: Final = (1e-4, 1.0)
_PRIOR_PLANES: Final = 20
"""Planes of usual error that every depth has beside its own."""
_UNSEEN: Final = (0.25, 0.6)
"""Deviation of a network's errors that look like an offset, and like a slope at the end of the
range, over that of its other errors; measured on simulated cells (`benchmarks/refine.py`)."""


@dataclass(frozen=True)
class Spread:
    """Deviations of the parts of the model over all cells.

    Attributes
    ----------
    offset_um, slope
        Of the labels' offsets, µm, and slopes, µm per µm.
    noise_um
        Of the network's errors about the line of a cell.
    """

    offset_um: float
    slope: float
    noise_um: float

    @property
    def prior(self) -> Floats:
        """(2,) variances of offset and slope."""
        return np.array([self.offset_um**2, self.slope**2])


@dataclass(frozen=True)
class Estimate:
    """Offset and slope of the labels of K cells.

    Attributes
    ----------
    offset_um, slope
        (K,) true depth = label + offset + slope * label, µm and µm per µm.
    covariance
        (K, 2, 2) of offset and slope.
    misfit
        (K,) mean squared deviation of a cell's planes from the line, in units of what is usual
        for their number: 1 on average.
    spread
        Deviations over all cells.
    """

    offset_um: Floats
    slope: Floats
    covariance: Floats
    misfit: Floats
    spread: Spread

    def change_um(self, label_um: Floats, cell: Ints) -> Floats:
        """Correction of each label (M,), µm.

        Parameters
        ----------
        label_um
            (M,) labels.
        cell
            (M,) index of the cell of each.
        """
        return self.offset_um[cell] + self.slope[cell] * label_um

    def error_um(self, label_um: Floats, cell: Ints) -> Floats:
        """Standard error of each correction (M,), µm.

        Parameters
        ----------
        label_um
            (M,) labels.
        cell
            (M,) index of the cell of each.
        """
        design = np.stack([np.ones_like(label_um), label_um], axis=-1)
        variance = np.einsum("mi,mij,mj->m", design, self.covariance[cell], design)
        return np.asarray(np.sqrt(variance), dtype=np.float64)


def estimate(reading_um: Floats, label_um: Floats, cell: Ints, grid_um: Floats) -> Estimate:
    """Estimate the offset and slope of each cell's labels.

    Parameters
    ----------
    reading_um
        (M,) depth of each patch as a network reads it that was not trained on its cell.
    label_um
        (M,) their labels.
    cell
        (M,) cell of each patch, 0 to K - 1.
    grid_um
        (C,) depths of the classes, ascending.
    """
    k, step = int(cell.max()) + 1, float(grid_um[1] - grid_um[0])
    curve_um = np.concatenate([[grid_um[0] - step], grid_um, [grid_um[-1] + step]])
    mean, scale = np.zeros((k, 2)), np.ones_like(label_um)
    spread = _start(reading_um - label_um, step)
    for _ in range(_ROUNDS):
        offset, slope = (mean - mean.mean(axis=0)).T
        depth = label_um + offset[cell] + slope[cell] * label_um
        level, gain = _curve(reading_um, depth, curve_um)
        steepness = np.interp(depth, curve_um, gain, 0.0, 0.0)
        design = steepness[:, None] * np.stack([np.ones_like(depth), label_um], axis=-1)
        rest = reading_um - np.interp(depth, curve_um, level)
        rest = rest + design[:, 0] * offset[cell] + design[:, 1] * slope[cell]
        sums = _Sums.of(design / scale[:, None], rest / scale, cell)
        spread = _likeliest(sums, spread, step, float(np.ptp(grid_um)))
        mean, covariance = sums.given(spread)
        left = rest - (design * mean[cell]).sum(axis=1)
        scale = _scale(label_um, left, grid_um)
    offset, slope = (mean - mean.mean(axis=0)).T
    covariance = covariance + _unseen(covariance, spread, float(grid_um[-1]))
    return Estimate(offset, slope, covariance, _misfit(left / scale, cell), spread)


@dataclass(frozen=True)
class _Sums:
    """Sums over the planes of each cell of scaled designs and rests.

    Attributes
    ----------
    planes
        (K,) their number.
    square, pull
        (K, 2, 2) of design and design, (K, 2) of design and rest.
    rest
        (K,) of squared rests.
    """

    planes: Floats
    square: Floats
    pull: Floats
    rest: Floats

    @classmethod
    def of(cls, design: Floats, rest: Floats, cell: Ints) -> _Sums:
        """Sum designs (M, 2) and rests (M,)."""
        first, second = design.T
        one, both, two, by_first, by_second, squared = (
            np.bincount(cell, values).astype(np.float64)
            for values in (
                first**2, first * second, second**2, first * rest, second * rest, rest**2,
            )
        )  # fmt: skip
        square = np.stack([one, both, both, two], axis=-1).reshape(-1, 2, 2)
        planes = np.bincount(cell).astype(np.float64)
        return cls(planes, square, np.stack([by_first, by_second], axis=-1), squared)

    def given(self, spread: Spread) -> tuple[Floats, Floats]:
        """Mean (K, 2) and covariance (K, 2, 2) of offset and slope, given the readings."""
        precision = self.square / spread.noise_um**2 + np.diag(1 / spread.prior)
        covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        mean: Floats = np.einsum("kij,kj->ki", covariance, self.pull / spread.noise_um**2)
        return mean, covariance

    def unlikeliness(self, spread: Spread) -> float:
        """Negative log likelihood of the readings, per cell, up to a constant."""
        mean, covariance = self.given(spread)
        noise = spread.noise_um**2
        squares = (self.rest - (self.pull * mean).sum(axis=1)) / noise
        logs = self.planes * np.log(noise) - np.log(np.linalg.det(covariance))
        return float(0.5 * np.mean(squares + logs + np.log(spread.prior).sum()))


def _start(off_um: Floats, step_um: float) -> Spread:
    size = max(float(np.std(off_um)), 0.1 * step_um)
    return Spread(0.7 * size, 0.1, 0.5 * size)


def _curve(reading: Floats, depth: Floats, grid_um: Floats) -> tuple[Floats, Floats]:
    """What the network reads on average at each class depth (C,), and its steepness there.

    Piecewise linear, never falling; where no patch lies, the line of depth = reading.
    """
    step = grid_um[1] - grid_um[0]
    place = np.clip((depth - grid_um[0]) / step, 0, len(grid_um) - 1)
    basis = np.clip(1 - np.abs(place[:, None] - np.arange(len(grid_um))), 0, None)
    weight = basis.T @ basis + 0.1 * np.eye(len(grid_um))
    level = grid_um + np.linalg.solve(weight, basis.T @ (reading - basis @ grid_um))
    level = np.maximum.accumulate(level)
    return level, np.gradient(level, step)


def _likeliest(sums: _Sums, spread: Spread, step_um: float, span_um: float) -> Spread:
    """The deviations with the highest likelihood, from `spread` on."""
    lengths = (_LEAST_SHARE * step_um, _MOST * span_um)
    bounds = np.log([lengths, _SLOPES, lengths])
    values = [spread.offset_um, spread.slope, spread.noise_um]
    start = np.clip(np.log(values), bounds[:, 0], bounds[:, 1])

    def loss(logs: Floats) -> float:
        return sums.unlikeliness(Spread(*np.exp(logs).tolist()))

    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    return Spread(*np.exp(found.x).tolist())


def _unseen(covariance: Floats, spread: Spread, half_range_um: float) -> Floats:
    """Covariance (K, 2, 2) that errors like offsets and slopes add to what was estimated."""
    at_focus, at_end = _UNSEEN
    errors = spread.noise_um * np.array([at_focus, at_end / half_range_um])
    kept = np.eye(2) - covariance / spread.prior
    return np.asarray(kept * errors**2 @ kept.transpose(0, 2, 1), dtype=np.float64)


def _scale(label_um: Floats, rest: Floats, grid_um: Floats) -> Floats:
    """Size of the errors at the depth of each plane (M,), relative to all.

    Planes at the ends of the range, and where a cell fades, are read worse.
    """
    step = grid_um[1] - grid_um[0]
    nearest = np.clip(np.rint((label_um - grid_um[0]) / step), 0, len(grid_um) - 1).astype(int)
    counts = np.bincount(nearest, minlength=len(grid_um))
    squares = np.bincount(nearest, rest**2, len(grid_um))
    mean = squares.sum() / counts.sum()
    if mean <= 0:
        return np.ones_like(rest)
    relative = (squares + _PRIOR_PLANES * mean) / (counts + _PRIOR_PLANES) / mean
    return np.asarray(np.sqrt(relative)[nearest], dtype=np.float64)


def _misfit(rest: Floats, cell: Ints) -> Floats:
    mean_square = np.bincount(cell, rest**2) / np.maximum(np.bincount(cell) - 2, 1)
    usual = float(np.mean(mean_square))
    return mean_square / usual if usual > 0 else np.ones_like(mean_square)
