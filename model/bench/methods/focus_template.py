"""The mean focus curve of known cells, shifted along a new cell's planes until it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.model.bench.methods.method import Floats
from fgaf.model.bench.methods.search import cells_of
from fgaf.model.metrics.depth import nearest_class

_FINER: Final = 20
"""Number of positions tried per step of the grid."""
_LEAST_PLANES: Final = 3
_FLOOR: Final = 1e-3


@dataclass(frozen=True)
class FocusTemplate:
    """How the logarithm of a focus measure changes with depth, without its level in each cell.

    Attributes
    ----------
    depth_um
        (C,) ascending.
    curve, spread
        (C,) mean and standard deviation of the logarithm there, each cell's level subtracted.
    floor
        Added to a measure before the logarithm is taken.
    """

    depth_um: Floats
    curve: Floats
    spread: Floats
    floor: float

    @classmethod
    def fit(
        cls, values: Floats, depth_um: Floats, cell: NDArray[Any], class_depths_um: Floats
    ) -> FocusTemplate:
        """Average the curves of known cells.

        Parameters
        ----------
        values, depth_um, cell
            (N,) measure, depth and cell of each patch.
        class_depths_um
            (C,) the depth classes; those without patches are left out.
        """
        floor = _FLOOR * max(float(np.median(np.abs(values))), 1e-12) - min(values.min(), 0.0)
        log = np.log(values + floor)
        near = nearest_class(depth_um, class_depths_um)
        seen = np.unique(near)
        place = np.searchsorted(seen, near)
        number = np.bincount(place)
        curve = np.zeros(seen.size)
        for _ in range(3):  # levels and curve depend on each other where depths are off the grid
            left = log - curve[place]
            level = np.empty(log.size)
            for here in cells_of(cell):
                level[here] = left[here].mean()
            curve = np.bincount(place, log - level) / number
        residual = log - level - curve[place]
        spread = np.sqrt(np.bincount(place, residual**2) / number)
        return cls(
            class_depths_um[seen], curve, np.maximum(spread, _FLOOR * np.ptp(curve) + 1e-9), floor
        )

    def focus(self, values: Floats, z_um: Floats, cell: NDArray[Any]) -> Floats:
        """Find the focus of new cells.

        Parameters
        ----------
        values, z_um, cell
            (M,) measure, plane's position and cell of each patch.

        Returns
        -------
        (K,) position of the focus of each cell, µm, ascending by the numbers in `cell`. It is
        searched within the cell's planes; at least half of them must lie within the template.
        """
        return np.array([self._focus_of(z_um[here], values[here]) for here in cells_of(cell)])

    def _focus_of(self, z: Floats, values: Floats) -> float:
        log = np.log(np.maximum(values + self.floor, 1e-12))
        step = float(np.diff(self.depth_um).mean()) if self.depth_um.size > 1 else 1.0
        tried = np.linspace(z.min(), z.max(), max(2, round(np.ptp(z) / step * _FINER) + 1))
        depth = z[None, :] - tried[:, None]
        slack = 1e-9
        inside = (depth >= self.depth_um[0] - slack) & (depth <= self.depth_um[-1] + slack)
        expected = np.interp(depth, self.depth_um, self.curve)
        spread = np.interp(depth, self.depth_um, self.spread)
        weight = inside / spread**2
        residual = log[None, :] - expected
        surprise = 2 * np.log(spread)
        typical = 1 + float((2 * np.log(self.spread)).mean())
        with np.errstate(invalid="ignore", divide="ignore"):
            level = (weight * residual).sum(axis=1) / weight.sum(axis=1)
            misfit = weight * (residual - level[:, None]) ** 2
        # A plane beyond the template has no information: it counts as an average fit.
        cost = np.where(inside, misfit + surprise, typical).sum(axis=1)
        planes = inside.sum(axis=1)
        enough = planes >= min(max(_LEAST_PLANES, z.size / 2), planes.max())
        return float(tried[np.where(enough, cost, np.inf).argmin()])
