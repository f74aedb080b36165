"""Where the focus of each cell lies, and how fast it drifts, from a network's depths of its planes.

Of a stack the steps of the drive are known, the focus of each cell is not. A cell whose focus lies
at `focus` and drifts by `slope` µm per µm of the drive has in the plane at z the depth

    z - focus - slope (z - prior)

where `prior` is where another rule saw the focus. The network's answers, divided by their scale,
give both by least squares. All cells together tell how much to believe: estimates are shrunk
towards the prior by empirical Bayes (Efron and Morris, J. Am. Stat. Assoc. 70, 1975), and shifted
so that the cells on average keep the prior's zero and the drive's scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

_LEAST = 3
"""Planes of a cell that its estimate needs."""
_SLOPE_PRIOR = 0.02
"""Least standard deviation of the slopes over the cells."""
_FAR = 4.5
"""Median distances from the median beyond which a value is an outlier: three deviations."""
_CLIP = 2.0
"""Standard deviations from the middle beyond which a cell no longer moves the zero further."""


@dataclass(frozen=True)
class Foci:
    """Focus and drift of K cells.

    Attributes
    ----------
    shift_um
        (K,) focus less the prior, µm.
    slope
        (K,) drift of the focus, µm per µm of the drive.
    error_um
        (K,) standard error of the shift.
    slope_error
        (K,) standard error of the slope.
    zero_error_um
        Standard error of what all cells have in common, widened where few cells tell their own
        scatter, by the ratio of the 95 % intervals of Student's t and the normal distribution.
    scale
        µm of the network's depth per µm of the drive, the mean of the cells.
    scatter_um
        Standard deviation of the network's depths about a cell's line, after division by the scale.
    """

    shift_um: Floats
    slope: Floats
    error_um: Floats
    slope_error: Floats
    zero_error_um: float
    scale: float
    scatter_um: float

    def depth_um(self, height_um: Floats, cell: Integers) -> Floats:
        """True depth of planes (N,) by this estimate.

        Parameters
        ----------
        height_um
            (N,) positions of the drive less the prior of the cell.
        cell
            (N,) cell of each, 0..K-1.
        """
        depth: Floats = height_um * (1 - self.slope[cell]) - self.shift_um[cell]
        return depth

    @classmethod
    def unknown(cls, cells: int) -> Foci:
        """The prior itself, for so many cells."""
        zeros, unknown = np.zeros(cells), np.full(cells, np.inf)
        return cls(zeros, zeros, unknown, unknown, float("inf"), 1.0, float("nan"))


def estimate(
    height_um: Floats,
    depth_um: Floats,
    cell: Integers,
    prior_error_um: Floats,
    *,
    drifts: bool = True,
) -> Foci:
    """Estimate focus and drift of every cell.

    Parameters
    ----------
    height_um
        (N,) position of the drive less the prior focus of the cell, µm.
    depth_um
        (N,) depth by the network, of patches that were not used to train it; planes near the ends
        of its range, where its answers are compressed, are better left out.
    cell
        (N,) cell of each, 0..K-1.
    prior_error_um
        (K,) standard error of the prior focus of each, up to a common factor, which is found here.
    drifts
        Whether cells may drift; else all slopes are 0.
    """
    n_cells = len(prior_error_um)
    planes = np.bincount(cell, minlength=n_cells).astype(float)
    some = np.maximum(planes, 1)

    def mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(cell, values, n_cells) / some)

    middle, seen = mean(height_um), mean(depth_um)
    away = height_um - middle[cell]
    spread = mean(away**2) * some
    told = (planes >= _LEAST) & (spread > 0)
    if not told.any():
        return Foci.unknown(n_cells)
    rise = mean(away * depth_um) * some / np.where(told, spread, 1.0)
    scale = _middle(rise[told])
    if scale <= 0:
        return Foci.unknown(n_cells)
    slope = np.where(told, 1 - rise / scale, 0.0) if drifts else np.zeros(n_cells)
    left = (depth_um - seen[cell]) / scale - (1 - slope[cell]) * away
    freedom = (planes - 1 - drifts)[told].sum()
    scatter = float(np.sqrt((left[told[cell]] ** 2).sum() / freedom))
    error = np.full(n_cells, np.inf)
    error[told] = scatter / np.sqrt(spread[told])
    slope, error = _shrunk_slopes(slope, error, told) if drifts else (slope, 0 * slope)
    shift = (1 - slope) * middle - seen / scale
    return _shrunk(shift, slope, error, told, prior_error_um, scale, scatter)


def _middle(values: Floats) -> float:
    """Mean of values, those far from the median moved to the edge."""
    median = float(np.median(values))
    reach = _FAR * float(np.median(np.abs(values - median)))
    return float(np.clip(values, median - reach, median + reach).mean())


def _few(cells: int) -> float:
    """How much wider a 95 % interval is for so many cells than for many."""
    return float(stdtrit(max(1, cells - 1), 0.975) / ndtri(0.975))


def _shrunk_slopes(
    slope: Floats, error: Floats, told: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Shrink the slopes of the cells told of towards 0, by their excess over the errors."""
    excess = float(np.mean(slope[told] ** 2 - error[told] ** 2))
    prior = max(_SLOPE_PRIOR**2, excess)
    kept = np.where(told, prior / (prior + error**2), 0.0)
    return slope * kept, np.sqrt(prior * (1 - kept))


def _shrunk(
    shift: Floats,
    slope: Floats,
    slope_error: Floats,
    told: npt.NDArray[np.bool_],
    prior_error_um: Floats,
    scale: float,
    scatter: float,
) -> Foci:
    """Shrink the shifts towards the prior, and keep its zero."""
    network = scatter**2  # a network's error is nearly the same in all planes of a cell
    prior = prior_error_um**2
    zero, factor = 0.0, 1.0
    for _ in range(20):
        total = factor * prior + network
        weight = told / total
        away = (shift - zero) / np.sqrt(total)
        weight = weight * np.minimum(1, _CLIP / np.maximum(np.abs(away), 1e-9))
        zero = float(weight @ shift / weight.sum())
        seen = float(np.median((shift[told] - zero) ** 2 / prior[told]) / 0.455)
        factor = max(0.05, seen - network / float(np.median(prior[told])))
    kept = np.where(told, factor * prior / (factor * prior + network), 0.0)
    return Foci(
        shift_um=kept * (shift - zero),
        slope=slope,
        error_um=np.sqrt(np.where(told, kept * network, factor * prior)),
        slope_error=slope_error,
        zero_error_um=float(_few(int(told.sum())) / np.sqrt(weight.sum())),
        scale=scale,
        scatter_um=scatter,
    )
