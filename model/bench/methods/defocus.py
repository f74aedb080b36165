"""Method `defocus`: depth from defocus, by a calibrated model of how a patch blurs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fgaf.base.bounds import Bound
from fgaf.dataset.splits.split import VALIDATION
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.method import Floats, Integers, Method, Prediction


class DefocusMethod(Method):
    """Depth from defocus: how contrast changes with depth is calibrated on the training cells.

    The features of a patch are its power in bands of spatial frequency and, by default, whether its
    centre is dark or bright. On the training patches the mean of each feature is fitted as a
    polynomial of depth, and their covariance as one that changes slowly with depth. The answer for
    a new patch is the depth of maximum likelihood.

    Attributes
    ----------
    signed
        Whether dark and bright are used. Without it the model uses only the blur of a patch, and
        cannot distinguish above from below.
    degrees
        Degrees of the polynomials; the validation cells choose one, and without such cells the
        first is used.
    """

    kind: Literal["defocus"]
    signed: bool = True
    degrees: Annotated[tuple[Annotated[int, Bound(0, 32)], ...], Field(min_length=1)] = (6, 4, 8)

    calibrated: ClassVar[bool] = True

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Calibrate on the training cells, then find the most likely depth of every test patch."""
        from fgaf.model.bench.methods.calibration import Calibration

        archive, grid = data.archive, data.archive.class_depths_um
        rows = data.training_rows
        features = self._features(data, rows)
        held_out = data.rows_of(VALIDATION)
        fits = [
            Calibration.fit(features, archive.depth_um[rows], grid, degree)
            for degree in self.degrees
        ]
        best = fits[0]
        if held_out.size:
            unseen = self._features(data, held_out)
            best = max(fits, key=lambda fit: fit.evidence(unseen, archive.depth_um[held_out]))
        return best.predict(self._features(data, data.rows))

    def _features(self, data: EvaluationSet, rows: Integers) -> Floats:
        from fgaf.model.bench.methods.features import band_powers, signs

        images = data.archive.images[rows]
        bands = band_powers(images)
        return np.concatenate([bands, signs(images)], axis=1) if self.signed else bands
