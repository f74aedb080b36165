"""Method `focus`: depth from focus, a search over all planes of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from fgaf.base.errors import SettingError
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.methods.focus_measures import MEASURES, FocusMeasure
from fgaf.model.bench.methods.method import Method, Prediction, Sight


class FocusMethod(Method):
    """Depth from focus over all planes of a cell.

    Attributes
    ----------
    measure
        Name of the focus measure.
    rule
        "peak": the focus is where the measure is largest, as in the paper. "dip": where it is
        smallest between two maxima, as for a phase object. "fitted": where the mean curve of the
        training cells fits best. "phase": the rule of `fgaf.curate`, which has its own measure and
        decides between dip and peak.
    """

    kind: Literal["focus"]
    measure: str = ""
    rule: Literal["peak", "dip", "fitted", "phase"] = "peak"

    sees: ClassVar[Sight] = "stack"

    @model_validator(mode="after")
    def _measure_named(self) -> Self:
        if (self.rule != "phase") != bool(self.measure):
            wrong = "has its own measure: leave measure out" if self.measure else "needs a measure"
            raise ValueError(f"rule {self.rule!r} {wrong}")
        return self

    def resolved_settings(self, data: EvaluationSet, seed: int | None) -> dict[str, Any]:
        """List measure and rule; refuse a measure that does not exist."""
        if self.rule != "phase":
            measure_named(self.measure)
        return super().resolved_settings(data, seed)

    def answer(self, data: EvaluationSet, resolved: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Search the planes of every test cell for its focus."""
        from fgaf.model.bench.methods import search
        from fgaf.model.bench.methods.focus_template import FocusTemplate

        archive, grid = data.archive, data.archive.class_depths_um
        if self.rule == "phase":
            focus_um = search.suggested_focus(archive, data.rows)
            return search.from_focus(focus_um, data.labels_um, data.cell, grid)
        sharpness = measure_named(self.measure)
        values = search.focus_values(archive, data.rows, sharpness)
        if self.rule == "peak":
            found = search.search_focus(values, data.labels_um, data.cell, grid)
            return replace(found, values=values)
        if self.rule == "dip":
            focus_um = search.dip_focus(values, data.labels_um, data.cell)
        else:
            rows = data.training_rows
            template = FocusTemplate.fit(
                search.focus_values(archive, rows, sharpness),
                archive.depth_um[rows],
                archive.cell[rows],
                grid,
            )
            focus_um = template.focus(values, data.labels_um, data.cell)
        return search.from_focus(focus_um, data.labels_um, data.cell, grid)


def measure_named(name: str) -> FocusMeasure:
    """Return the focus measure of that name.

    Raises
    ------
    SettingError
        There is none.
    """
    if name not in MEASURES:
        raise SettingError(f"no focus measure {name!r}; choose one of {', '.join(MEASURES)}")
    return MEASURES[name]
