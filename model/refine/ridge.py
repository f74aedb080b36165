"""Depth from features by a last layer alone: ridge regression, out of fold."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from fgaf.model.refine.features import Singles

Floats = npt.NDArray[np.float64]

_PENALTIES: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Per feature, of features with unit deviation."""
_BLOCK: Final = 4096
_LEAST: Final = 1e-9


class RidgeReader:
    """Last layers on fixed features, one for each fold, learned from the other folds.

    Parameters
    ----------
    features
        (M, F).
    fold
        (M,) fold of each patch.
    """

    def __init__(self, features: Singles, fold: npt.NDArray[np.int64]) -> None:
        self._fold = fold
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        self._features = (features - mean) / np.where(deviation > 0, deviation, 1)
        self._axes = [self._principal(fold != k) for k in range(int(fold.max()) + 1)]

    def read(self, label_um: Floats) -> Floats:
        """Depth of each patch by the layer that was not learned from its fold, (M,) µm.

        The penalty is the one whose readings agree best with the labels.

        Parameters
        ----------
        label_um
            (M,) to learn from.
        """
        readings = np.zeros((len(_PENALTIES), len(label_um)))
        for k, (values, axes) in enumerate(self._axes):
            others, own = self._fold != k, self._fold == k
            mean = label_um[others].mean()
            pull = axes.T @ (self._features[others].T.astype(float) @ (label_um[others] - mean))
            turned = self._features[own].astype(float) @ axes
            for which, penalty in enumerate(_PENALTIES):
                ridge = values + penalty * self._features.shape[1]
                readings[which, own] = mean + turned @ (pull / ridge)
        errors = np.abs(readings - label_um).mean(axis=1)
        return np.asarray(readings[int(errors.argmin())])

    def _principal(self, rows: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Squared singular values (R,) of some patches' features, and their axes (F, R)."""
        chosen = np.flatnonzero(rows)
        if len(chosen) > self._features.shape[1]:
            values, axes = np.linalg.eigh(self._products(chosen))
            return np.maximum(values, 0), axes
        part = self._features[chosen].astype(float)
        values, turns = np.linalg.eigh(part @ part.T)
        some = values > _LEAST * values[-1]
        return values[some], part.T @ turns[:, some] / np.sqrt(values[some])

    def _products(self, rows: npt.NDArray[np.intp]) -> Floats:
        """Products of features, summed over some patches, (F, F)."""
        total = np.zeros((self._features.shape[1],) * 2)
        for some in np.array_split(rows, 1 + len(rows) // _BLOCK):
            part = self._features[some].astype(float)
            total += part.T @ part
        return total
