"""Method `library`: the depth of the most similar reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from fgaf.base.bounds import Bound, OffsetPx
from fgaf.base.errors import SettingError
from fgaf.dataset.splits.split import VALIDATION
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.method import Floats, Integers, Method, Prediction


class LibraryMethod(Method):
    """Matching with a library of references by normalised cross-correlation.

    Attributes
    ----------
    references
        "profiles": one reference per depth, the mean radial profile of the training cells (after K.
        M. Taute et al., Nature Communications 6, 2015). "images": every training image is a
        reference, and depth is interpolated along the stack of the cell that matches best (general
        defocusing particle tracking; R. Barnkob et al., Lab on a Chip 15, 2015).
    window_px
        Side of the central square that is compared as an image; 0 for a third of the patch.
    shift_px
        Maximum shift of the square for the best match.
    """

    kind: Literal["library"]
    references: Literal["profiles", "images"] = "images"
    window_px: OffsetPx = 0
    shift_px: Annotated[int, Bound(0, 8, "px")] = 1

    calibrated: ClassVar[bool] = True

    def resolved_settings(self, data: EvaluationSet, seed: int | None) -> dict[str, Any]:
        """List the settings; refuse a window that does not fit into the patches."""
        self._window(data)
        return super().resolved_settings(data, seed)

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Match every test patch; validation cells decide how similarity becomes probability."""
        from fgaf.model.bench.methods.matching import fit_sharpness, shares_of

        grid = data.archive.class_depths_um
        scores, expected = self._match(data, data.rows)
        held_out = data.rows_of(VALIDATION)
        sharpness = None
        if held_out.size:
            unseen, _ = self._match(data, held_out)
            sharpness = fit_sharpness(unseen, data.archive.depth_class[held_out])
        return Prediction(shares_of(scores, sharpness), np.clip(expected, grid[0], grid[-1]))

    def _match(self, data: EvaluationSet, asked: Integers) -> tuple[Floats, Floats]:
        """Similarity to each depth class (N, C), and the interpolated depth (N,)."""
        from fgaf.model.bench.methods import matching

        archive, rows = data.archive, data.training_rows
        labels, grid = archive.depth_class[rows], archive.class_depths_um
        if self.references == "profiles":
            scores = matching.match_profiles(
                archive.images[asked], archive.images[rows], labels, grid.size
            )
            return scores, matching.peak_depth(scores, grid)
        likeness = matching.match_images(
            archive.images[asked], archive.images[rows], self._window(data), self.shift_px
        )
        return (
            matching.best_of_class(likeness, labels, grid.size),
            matching.depth_along_best(likeness, archive.depth_um[rows], archive.cell[rows]),
        )

    def _window(self, data: EvaluationSet) -> int:
        side = data.archive.header.patch_px
        window = (self.window_px or max(side // 3, 8)) // 2 * 2
        if window < 8 or window + 2 * self.shift_px + 2 > side:
            raise SettingError(
                f"a window of {window} px shifted by {self.shift_px} px needs "
                f"8 px or more, and room in the patches of {side} px; choose another window_px"
            )
        return window
