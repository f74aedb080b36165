"""What the known steps of the drive say about a network's depths: their sign, scale and error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgaf.base.console import count
from fgaf.base.errors import FgafError
from fgaf.model.metrics.intervals import Interval, cell_draws, drawn_means, interval

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

_AGREE = 0.75
"""Share of the cells whose depths must rise, or fall, with the drive."""
_FOLLOWS = 0.4
"""Median correlation of a cell's depths with the drive from which a sign is told at all."""
_LEAST_CORRELATION = 0.8
_SCALES = (0.6, 1.4)
"""Bounds of the correlation within cells and of the scale, on cells held out."""


@dataclass(frozen=True)
class Steps:
    """Depths of cells against the steps of the drive, each cell's own offset removed.

    Attributes
    ----------
    correlation
        Of depth and drive within the cells.
    scale
        µm of depth per µm of the drive.
    error_um
        Mean distance of a depth from the line of its cell.
    error_interval_um
        95 % bootstrap interval over the cells.
    """

    correlation: float
    scale: float
    error_um: float
    error_interval_um: Interval


def sign_of(height_um: Floats, depth_um: Floats, cell: Integers, n_cells: int) -> int:
    """Find whether a network's depths rise (1) or fall (-1) with the drive.

    Parameters
    ----------
    height_um, depth_um, cell
        (N,) height of a plane over its cell's focus, the network's depth, and the cell.
    n_cells
        K.

    Raises
    ------
    FgafError
        The cells do not agree, or the depths do not follow the drive.
    """
    told = np.array(
        [
            _correlation(height_um[own], depth_um[own])
            for own in (cell == number for number in range(n_cells))
            if own.sum() > 2
        ]
    )
    middle = float(np.median(told)) if len(told) else 0.0
    agree = int((np.sign(told) == np.sign(middle)).sum())
    if abs(middle) < _FOLLOWS or agree < _AGREE * len(told):
        raise FgafError(
            f"the sign of depth is undecided: the network's answers rise with the drive in "
            f"{int((told > 0).sum())} of {count(len(told), 'cell')} and fall in the others (median "
            f"correlation {middle:+.2f}); check the stacks, start --from another network, or label "
            "cells with fgaf-curate"
        )
    return 1 if middle > 0 else -1


def measure_steps(
    height_um: Floats, depth_um: Floats, cell: Integers, n_cells: int, seed: int = 0
) -> Steps:
    """Compare depths with the steps of the drive.

    Parameters
    ----------
    height_um, depth_um, cell
        (N,) height of a plane over its cell's focus by any estimate, corrected for drift; the
        network's depth; the cell. Planes out of the network's range are left out by the caller.
    n_cells
        K.
    seed
        Of the bootstrap.
    """
    planes = np.maximum(np.bincount(cell, minlength=n_cells), 1)
    x = height_um - (np.bincount(cell, height_um, n_cells) / planes)[cell]
    y = depth_um - (np.bincount(cell, depth_um, n_cells) / planes)[cell]
    off = np.abs(y - x)
    draws = drawn_means(off, cell.astype(np.int64), cell_draws(n_cells, seed))
    return Steps(
        correlation=_correlation(x, y),
        scale=float(x @ y / max(float(x @ x), 1e-12)),
        error_um=float(off.mean()) if len(off) else float("nan"),
        error_interval_um=interval(draws),
    )


def require_proportional(steps: Steps) -> None:
    """Refuse depths that do not follow the drive.

    Parameters
    ----------
    steps
        Of cells held out.

    Raises
    ------
    FgafError
        They are not proportional to its steps.
    """
    low, high = _SCALES
    if not (steps.correlation >= _LEAST_CORRELATION and low <= steps.scale <= high):
        raise FgafError(
            f"the depths of cells held out are not proportional to the steps of the drive "
            f"(correlation {steps.correlation:.2f}, {steps.scale:.2f} µm for each µm): nothing is "
            "written; check that z_measured_um is right and the cells are sperm, or take more "
            "stacks"
        )


def _correlation(x: Floats, y: Floats) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else 0.0
