"""Method `constant`: the same answer for every patch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.method import Floats, Integers, Method, Prediction, Sight


class ConstantMethod(Method):
    """The same answer for every patch."""

    kind: Literal["constant"]

    sees: ClassVar[Sight] = "nothing"

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Predict the class with the least error on the training labels."""
        labels = data.archive.depth_class[data.training_rows]
        return constant(labels, data.rows.size, data.archive.class_depths_um)


def constant(labels: Integers, n_rows: int, class_depths_um: Floats) -> Prediction:
    """Predict the same class always: the one with the least error on the training labels.

    Parameters
    ----------
    labels
        (T,) depth classes of the training patches.
    n_rows
        How many patches to predict.
    class_depths_um
        (C,) the depth classes.

    Returns
    -------
    Prediction
        The class of least mean absolute error comes first (of several, the middle one); the
        others keep their share of the training labels, at ties the nearer one first.
    """
    share = np.bincount(labels, minlength=class_depths_um.size) / labels.size
    cost = np.abs(class_depths_um[:, None] - class_depths_um[None, :]) @ share
    cheapest = np.flatnonzero(np.isclose(cost, cost.min()))
    best = int(cheapest[cheapest.size // 2])
    away = np.abs(np.arange(share.size) - best)
    weight = share - 1e-6 * away
    weight[best] = max(weight[best], weight.max() + 1e-6)
    weight -= min(weight.min(), 0.0)
    weight /= weight.sum()
    return Prediction(
        np.tile(weight, (n_rows, 1)), np.full(n_rows, class_depths_um[best], dtype=np.float64)
    )
