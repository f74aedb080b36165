"""Method `boosting`: hand-made features and gradient-boosted trees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from fgaf.base.bounds import Bound, LearningRate
from fgaf.base.extras import optional
from fgaf.dataset.splits.split import VALIDATION
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.method import Method, Prediction


class BoostingMethod(Method):
    """Gradient-boosted trees (scikit-learn) on numbers that describe a patch.

    The numbers are focus measures, power in bands of spatial frequency, grey-level statistics
    and the radial profile. The validation cells decide how many rounds of trees are used; without
    such cells all are used.

    Attributes
    ----------
    rounds
        Maximum number of rounds, each with one tree per depth class.
    learning_rate
        Learning rate of the boosting.
    leaves
        Maximum number of leaves of a tree.
    """

    kind: Literal["boosting"]
    rounds: Annotated[int, Bound(1, 10_000)] = 150
    learning_rate: LearningRate = 0.1
    leaves: Annotated[int, Bound(2, 1024)] = 15

    calibrated: ClassVar[bool] = True

    def resolved_settings(self, data: EvaluationSet, seed: int | None) -> dict[str, Any]:
        """List the settings and the version of scikit-learn, which must be installed."""
        version = optional("sklearn").__version__
        return {**super().resolved_settings(data, seed), "scikit_learn": version}

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Train the trees on the training patches, then predict."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        from fgaf.model.bench.methods.features import describe_patches

        archive, grid = data.archive, data.archive.class_depths_um
        rows = data.training_rows
        labels = archive.depth_class[rows]
        if np.unique(labels).size < 2:
            shares = np.zeros((data.rows.size, grid.size))
            shares[:, labels[0]] = 1.0
            return Prediction.of_shares(shares, grid)
        trees = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.rounds,
            max_leaf_nodes=self.leaves,
            early_stopping=False,
            random_state=0,
        )
        trees.fit(describe_patches(archive.images[rows]), labels)
        asked = list(trees.staged_predict_proba(describe_patches(archive.images[data.rows])))
        chosen = len(asked) - 1
        held_out = data.rows_of(VALIDATION)
        if held_out.size:
            seen = np.searchsorted(trees.classes_, archive.depth_class[held_out])
            known = np.isin(archive.depth_class[held_out], trees.classes_)
            own = np.arange(held_out.size)[known], seen[known]
            unseen = describe_patches(archive.images[held_out])
            surprise = [
                -np.log(np.maximum(shares[own], 1e-12)).mean()
                for shares in trees.staged_predict_proba(unseen)
            ]
            chosen = int(np.argmin(surprise))
        shares = np.zeros((data.rows.size, grid.size))
        shares[:, trees.classes_] = asked[chosen]
        return Prediction.of_shares(shares, grid)
