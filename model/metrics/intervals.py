"""Intervals over cells: a bootstrap that draws whole cells with replacement.

The patches of one cell are not independent, so cells are drawn and never patches.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Interval = list[float] | None

DRAWS = 2000
"""Bootstrap draws per interval."""


def cell_draws(n_cells: int, seed: int) -> Integers:
    """Count how often each cell is in each draw, (DRAWS, K); empty for fewer than two cells.

    Parameters
    ----------
    n_cells
        K.
    seed
        Seed of the draws.
    """
    if n_cells < 2:
        return np.zeros((0, n_cells), dtype=np.int64)
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_cells, np.full(n_cells, 1.0 / n_cells), size=DRAWS)


def interval(draws: Floats) -> Interval:
    """The middle 95 % of a figure's draws, [low, high]; None where there are none."""
    if draws.size == 0:
        return None
    low, high = np.percentile(draws, [2.5, 97.5])
    return [float(low), float(high)]


def drawn_means(column: Floats, cell_index: Integers, weights: Integers) -> Floats:
    """Mean of a column in every draw: a ratio of sums over cells.

    Parameters
    ----------
    column
        (N,) values.
    cell_index
        (N,) the cell of each, 0..K-1.
    weights
        (DRAWS, K) from `cell_draws`.

    Returns
    -------
    (DRAWS,); draws without any of the N rows are left out
    """
    n_cells = weights.shape[1]
    counts = weights @ np.bincount(cell_index, minlength=n_cells)
    sums = weights @ np.bincount(cell_index, weights=column, minlength=n_cells)
    means: Floats = sums[counts > 0] / counts[counts > 0]
    return means


def drawn_quantile(column: Floats, cell_index: Integers, weights: Integers, share: float) -> Floats:
    """Quantile of a column in every draw: where its cumulative weight reaches a share.

    Parameters
    ----------
    column, cell_index, weights
        As in `drawn_means`.
    share
        0.5 for the median.

    Returns
    -------
    (DRAWS,); draws without any of the N rows are left out
    """
    order = np.argsort(column, kind="stable")
    ranked, cells = column[order], cell_index[order]
    found = np.full(weights.shape[0], np.nan)
    for draw, weight in enumerate(weights):
        reached = np.cumsum(weight[cells])
        if reached.size and reached[-1]:
            found[draw] = ranked[np.searchsorted(reached, share * reached[-1])]
    drawn: Floats = found[~np.isnan(found)]
    return drawn
