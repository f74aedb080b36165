"""Method `annotator`: another person's labels of the same cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from fgaf.base.errors import FgafError
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.method import Method, Prediction, Sight


class AnnotatorMethod(Method):
    """A second person's labels of the same cells; the agreement of people is a limit for methods.

    Cells are matched by their source and position. Only cells that the other person kept are
    answered and evaluated.

    Attributes
    ----------
    session
        Folder of a curation session: the blind second pass (`fgaf-curate open --task second`),
        or the labels of a person who is not the archive's annotator.
    archive
        Instead of a session: an archive that the other person made from the same stacks.
    """

    kind: Literal["annotator"]
    session: Path | None = None
    archive: Path | None = None

    sees: ClassVar[Sight] = "all"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.session is None) == (self.archive is None):
            raise ValueError("method annotator: give either session or archive")
        return self

    def resolved_settings(self, data: EvaluationSet, seed: int | None) -> dict[str, Any]:  # noqa: ARG002
        """List the distance of the other person's focus from the archive's for each cell."""
        from fgaf.model.bench.methods.second_labels import from_archive, from_session, match

        labels = []
        if self.session is not None:
            labels += from_session(self.session)
        if self.archive is not None:
            labels += from_archive(self.archive)
        shift_um = match(labels, data.archive)
        if not shift_um:
            raise FgafError(
                f"{self.session or self.archive} has no label by another person of a cell of this "
                "archive; give a session or an archive of the same stacks that another person "
                "labelled"
            )
        return {"shift_um": {str(cell): shift for cell, shift in shift_um.items()}}

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Answer for each plane its distance to the other person's focus."""
        from fgaf.model.bench.methods.search import from_focus

        grid = data.archive.class_depths_um
        known = np.isin(data.cell, [int(cell) for cell in resolved["shift_um"]])
        probabilities = np.full((data.rows.size, grid.size), np.nan)
        expected = np.full(data.rows.size, np.nan)
        if known.any():
            cells = np.unique(data.cell[known])
            shift = np.array([resolved["shift_um"][str(cell)] for cell in cells], dtype=np.float64)
            found = from_focus(shift, data.labels_um[known], data.cell[known], grid)
            probabilities[known], expected[known] = found.probabilities, found.expected_um
        return Prediction(probabilities, expected)
