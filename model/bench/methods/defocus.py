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
    """Depth from defocus: how contrast goes with depth is calibrated on the training cells.

    Each patch is described by the power of its detail in rising bands of spatial frequency and,
    unless told otherwise, by whether its middle is dark or bright. On the training patches the
    mean of each of these numbers is fitted as a polynomial of depth, and their joint spread as a
    Gaussian that changes slowly with depth. A new patch has the depth at which it is likeliest.

    Attributes
    ----------
    signed
        Whether dark and bright count. Without it the model knows only how blurred a patch is,
        and cannot tell above from below.
    degrees
        Degrees of the polynomials to choose from on the validation cells; without such cells the
        first is taken.
    """

    kind: Literal["defocus"]
    signed: bool = True
    degrees: Annotated[tuple[Annotated[int, Bound(0, 32)], ...], Field(min_length=1)] = (6, 4, 8)

    calibrated: ClassVar[bool] = True

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Calibrate on the training cells, then find the likeliest depth of every test patch."""
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
