"""How far each cell's depth label is off, from what a network reads in all of its planes.

The planes of a stack are known distances apart, so a wrong label is wrong by one number for all
planes of a cell, its *offset*; by a second number, its *slope*, if the cell climbs or dives while
the stack is taken. A network that was trained on other cells reads every plane. What it reads
differs from the label by offset and slope, and by its own errors, which are similar in neighbouring
planes of a cell. The model, for plane j of cell i with the label d:

    reading_ij = h(d_ij + offset_i + slope_i d_ij) + error_ij

`h` is common to all cells: what the network reads on average at a depth. Offset and slope are
random effects with mean zero over the cells; the errors of a cell are correlated, exp(-|distance| /
length), on the same side of focus, with white noise added; images above and below focus are
unlike, and so are the errors. The five parameters of these distributions are found by maximum
likelihood over all cells; offset, slope and their standard errors are then the mean and deviation
given the readings (empirical Bayes; Robbins 1956, Morris 1983): a cell whose planes tell little
keeps its label. A shift common to all labels cannot be seen and is not corrected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_ROUNDS: Final = 4
_LEAST_SHARE: Final = 1e-3
"""Lower bound of every deviation, in steps of the classes."""
_MOST: Final = 10.0
_PRIOR_PLANES: Final = 20
"""Planes of usual error that every depth has beside its own."""
_LONGEST_RANGES: Final = 0.25
_SHORTEST_STEPS: Final = 0.5


@dataclass(frozen=True)
class Spread:
    """Deviations of the parts of the model over all cells.

    Attributes
    ----------
    offset_um, slope
        Of the labels' offsets, µm, and slopes, µm per µm.
    network_um, length_um
        Of the network's errors that neighbouring planes share, and the distance over which they do.
    noise_um
        Of the errors that are independent in every plane.
    """

    offset_um: float
    slope: float
    network_um: float
    length_um: float
    noise_um: float


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
    planes = _Planes.of(reading_um, label_um, cell, 0.5 * float(grid_um[1] - grid_um[0]))
    k = planes.label.shape[0]
    offset, slope = np.zeros(k), np.zeros(k)
    spread = Spread(*_start(planes, grid_um))
    scale = np.ones_like(planes.label)
    for _ in range(_ROUNDS):
        depth = planes.label + offset[:, None] + slope[:, None] * planes.label
        level, gain = _curve(planes.reading[planes.there], depth[planes.there], grid_um)
        steepness = np.interp(depth, grid_um, gain, 0.0, 0.0)
        design = steepness[..., None] * np.stack([np.ones_like(depth), planes.label], axis=-1)
        rest = planes.reading - np.interp(depth, grid_um, level)
        rest = rest + design[..., 0] * offset[:, None] + design[..., 1] * slope[:, None]
        design[~planes.there], rest[~planes.there] = 0.0, 0.0
        spread = _likeliest(planes, design, rest, scale, spread, grid_um)
        mean, covariance = _given(design, rest, planes.covariance(spread, scale), spread)
        offset, slope = mean[:, 0] - mean[:, 0].mean(), mean[:, 1] - mean[:, 1].mean()
        left = rest - np.einsum("kpi,ki->kp", design, mean)
        scale = _scale(planes, left, grid_um)
    return Estimate(offset, slope, covariance, _misfit(planes, left / scale), spread)


@dataclass(frozen=True)
class _Planes:
    """Cells with equally many places for planes, (K, P); not all are `there`."""

    reading: Floats
    label: Floats
    there: npt.NDArray[np.bool_]
    middle_um: float

    @classmethod
    def of(cls, reading: Floats, label: Floats, cell: Ints, middle_um: float) -> _Planes:
        counts = np.bincount(cell)
        place = np.arange(len(cell)) - np.concatenate([[0], np.cumsum(counts)[:-1]])[cell]
        shape = (len(counts), int(counts.max()))
        there = np.zeros(shape, bool)
        there[cell, place] = True
        padded = [np.zeros(shape), np.zeros(shape)]
        for values, target in zip((reading, label), padded, strict=True):
            target[cell, place] = values
        return cls(padded[0], padded[1], there, middle_um)

    def covariance(self, spread: Spread, scale: Floats) -> Floats:
        """Covariance (K, P, P) of errors that grow with `scale` (K, P); unity in absent places."""
        apart = np.abs(self.label[:, :, None] - self.label[:, None, :])
        eye = np.eye(self.label.shape[1])
        side = np.sign(np.where(np.abs(self.label) < self.middle_um, 0, self.label))
        alike = np.exp(-apart / spread.length_um) * (side[:, :, None] == side[:, None, :])
        shared = spread.network_um**2 * alike
        scaled = (shared + spread.noise_um**2 * eye) * scale[:, :, None] * scale[:, None, :]
        both = self.there[:, :, None] & self.there[:, None, :]
        return np.where(both, scaled, eye)


def _start(planes: _Planes, grid_um: Floats) -> tuple[float, float, float, float, float]:
    rest = (planes.reading - planes.label)[planes.there]
    size = max(float(np.std(rest)), 0.1 * float(grid_um[1] - grid_um[0]))
    return 0.7 * size, 0.1, 0.5 * size, 1.0 * float(grid_um[-1]), 0.3 * size


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


def _likeliest(
    planes: _Planes,
    design: Floats,
    rest: Floats,
    scale: Floats,
    spread: Spread,
    grid_um: Floats,
) -> Spread:
    """The deviations with the highest likelihood, from `spread` on."""
    step, span = float(grid_um[1] - grid_um[0]), float(grid_um[-1] - grid_um[0])
    least = _LEAST_SHARE * step
    ends = [
        (least, _MOST * span),
        (1e-4, 1.0),
        (least, _MOST * span),
        (_SHORTEST_STEPS * step, _LONGEST_RANGES * span),
        (least, _MOST * span),
    ]
    values = (
        spread.offset_um,
        spread.slope,
        spread.network_um,
        spread.length_um,
        spread.noise_um,
    )
    start = np.log([min(max(v, low), high) for v, (low, high) in zip(values, ends, strict=True)])

    def loss(logs: Floats) -> float:
        tried = Spread(*np.exp(logs).tolist())
        return _unlikeliness(design, rest, planes.covariance(tried, scale), tried)

    bounds = [(float(np.log(low)), float(np.log(high))) for low, high in ends]
    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    return Spread(*np.exp(found.x).tolist())


def _unlikeliness(design: Floats, rest: Floats, errors: Floats, spread: Spread) -> float:
    prior = np.array([spread.offset_um**2, spread.slope**2])
    whole = errors + np.einsum("kpi,i,kqi->kpq", design, prior, design)
    factor = np.linalg.cholesky(whole)
    scaled = np.linalg.solve(factor, rest[..., None])
    logs = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum()
    return float(0.5 * (scaled**2).sum() + logs) / len(rest)


def _given(design: Floats, rest: Floats, errors: Floats, spread: Spread) -> tuple[Floats, Floats]:
    """Mean (K, 2) and covariance (K, 2, 2) of offset and slope, given the readings."""
    inverse = np.linalg.inv(errors)
    prior = np.diag([spread.offset_um**-2.0, spread.slope**-2.0])
    precision = np.einsum("kpi,kpq,kqj->kij", design, inverse, design) + prior
    covariance = np.linalg.inv(precision)
    pull = np.einsum("kpi,kpq,kq->ki", design, inverse, rest)
    return np.einsum("kij,kj->ki", covariance, pull), covariance


def _scale(planes: _Planes, rest: Floats, grid_um: Floats) -> Floats:
    """Size of the errors at the depth of each plane (K, P), relative to all.

    Planes at the ends of the range, and where a cell fades, are read worse.
    """
    step = grid_um[1] - grid_um[0]
    nearest = np.clip(np.rint((planes.label - grid_um[0]) / step), 0, len(grid_um) - 1).astype(int)
    counts = np.bincount(nearest[planes.there], minlength=len(grid_um))
    squares = np.bincount(nearest[planes.there], rest[planes.there] ** 2, len(grid_um))
    mean = squares.sum() / counts.sum()
    if mean <= 0:
        return np.ones_like(rest)
    relative = (squares + _PRIOR_PLANES * mean) / (counts + _PRIOR_PLANES) / mean
    return np.asarray(np.sqrt(relative)[nearest], dtype=np.float64)


def _misfit(planes: _Planes, rest: Floats) -> Floats:
    left = np.maximum(planes.there.sum(axis=1) - 2, 1)
    mean_square = np.where(planes.there, rest**2, 0).sum(axis=1) / left
    usual = float(np.mean(mean_square))
    return mean_square / usual if usual > 0 else np.ones_like(mean_square)
