"""How the features of a patch change with depth: one Gaussian per depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.polynomial import legendre
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from fgaf.model.bench.methods.method import Floats, Prediction
from fgaf.model.metrics.depth import nearest_class

_PER_STEP: Final = 10
"""Number of depths tried per step of the grid."""
_NEAR_STEPS: Final = 0.6
"""Patches within about this many steps give the covariance at a depth."""
_POOLED: Final = 0.2
"""Weight of the covariance over all depths in that at one depth."""
_DIAGONAL: Final = 0.05
_LEAST: Final = 1e-3


@dataclass(frozen=True)
class Calibration:
    """Mean and covariance of features at every depth of a fine grid.

    Attributes
    ----------
    class_depths_um
        (C,) the depth classes.
    depth_um
        (G,) the fine grid, to half a step beyond the classes.
    centre, scale
        (F,) subtracted from the features, and their divisor.
    mean
        (G, F) mean of the scaled features at each depth.
    root
        (G, F, F) lower Cholesky factor of their covariance there.
    """

    class_depths_um: Floats
    depth_um: Floats
    centre: Floats
    scale: Floats
    mean: Floats
    root: Floats

    @classmethod
    def fit(
        cls, features: Floats, depth_um: Floats, class_depths_um: Floats, degree: int
    ) -> Calibration:
        """Fit the curve.

        Parameters
        ----------
        features
            (N, F) features of patches.
        depth_um
            (N,) their depths.
        class_depths_um
            (C,) the depth classes.
        degree
            Degree of the polynomials; lower if there are too few depths.
        """
        centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-12
        x = (features - centre) / scale
        step = float(class_depths_um[1] - class_depths_um[0])
        fine = np.linspace(
            class_depths_um[0] - step / 2,
            class_depths_um[-1] + step / 2,
            class_depths_um.size * _PER_STEP + 1,
        )
        seen = np.unique(nearest_class(depth_um, class_depths_um)).size
        degree = max(0, min(degree, seen - 1))
        low, high = depth_um.min(), max(depth_um.max(), depth_um.min() + step)

        def terms(z: Floats) -> Floats:
            inside = np.clip(z, low, high)
            return np.asarray(legendre.legvander(2 * (inside - low) / (high - low) - 1, degree))

        weights = np.linalg.lstsq(terms(depth_um), x, rcond=None)[0]
        residual = x - terms(depth_um) @ weights
        pooled = residual.T @ residual / len(residual)
        pooled = (1 - _DIAGONAL) * pooled + _DIAGONAL * np.diag(np.diag(pooled))
        pooled += _LEAST * np.eye(len(pooled))
        roots = []
        for z in fine:
            near = np.exp(-0.5 * ((depth_um - z) / (_NEAR_STEPS * step)) ** 2) + 1e-9
            here = (residual * near[:, None]).T @ residual / near.sum()
            roots.append(np.linalg.cholesky((1 - _POOLED) * here + _POOLED * pooled))
        return cls(class_depths_um, fine, centre, scale, terms(fine) @ weights, np.stack(roots))

    def evidence(self, features: Floats, depth_um: Floats) -> float:
        """Mean log probability of the right classes of other patches: higher is better.

        Parameters
        ----------
        features
            (N, F) features of patches that were not used in the calibration.
        depth_um
            (N,) their depths, µm.
        """
        log = self._log_shares(features)
        near = nearest_class(self.depth_um, self.class_depths_um)
        own = near[None, :] == nearest_class(depth_um, self.class_depths_um)[:, None]
        return float(logsumexp(np.where(own, log, -np.inf), axis=1).mean())

    def predict(self, features: Floats) -> Prediction:
        """Compute the probability of each class, and the mean depth."""
        shares = np.exp(self._log_shares(features))
        near = nearest_class(self.depth_um, self.class_depths_um)
        belongs = near[:, None] == np.arange(self.class_depths_um.size)
        probabilities = shares @ belongs.astype(np.float64)
        return Prediction(
            probabilities / probabilities.sum(axis=1, keepdims=True), shares @ self.depth_um
        )

    def _log_shares(self, features: Floats) -> Floats:
        """Log probability of each depth of the fine grid, with a uniform prior, (N, G)."""
        x = (features - self.centre) / self.scale
        log = np.empty((len(x), self.depth_um.size))
        for k, (mean, root) in enumerate(zip(self.mean, self.root, strict=True)):
            off = solve_triangular(root, (x - mean).T, lower=True)
            log[:, k] = -0.5 * (off**2).sum(axis=0) - np.log(np.diag(root)).sum()
        return np.asarray(log - logsumexp(log, axis=1, keepdims=True))
