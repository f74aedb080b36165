"""Method `focus`: depth from focus, a search over all planes of a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from fgaf.curate.focus import MEASURES, FocusMeasure
from fgaf.dataset.errors import SettingError
from fgaf.model.exam import Exam
from fgaf.model.methods.method import Method, Prediction, Sight


class FocusMethod(Method):
    """Depth from focus over all planes of a cell.

    Attributes
    ----------
    measure
        Name of the focus measure.
    rule
        "peak": the focus is where the measure is largest, as the paper uses it. "phase": the
        rule of `fgaf.curate`, which tells a phase object's dip from a peak.
    """

    kind: Literal["focus"]
    measure: str = ""
    rule: Literal["peak", "phase"] = "peak"

    sees: ClassVar[Sight] = "stack"
    code: ClassVar[tuple[str, ...]] = (
        "fgaf.model.methods.search",
        "fgaf.curate.focus",
        "fgaf.curate.suggest",
    )

    @model_validator(mode="after")
    def _measure_named(self) -> Self:
        if (self.rule == "peak") != bool(self.measure):
            raise ValueError("rule 'peak' needs a measure, rule 'phase' has its own")
        return self

    def told(self, exam: Exam, seed: int | None) -> dict[str, Any]:
        """List measure and rule; refuse a measure that does not exist."""
        if self.rule == "peak":
            measure_named(self.measure)
        return super().told(exam, seed)

    def answer(self, exam: Exam, told: Mapping[str, Any], folder: Path) -> Prediction:  # noqa: ARG002
        """Search the planes of every test cell for its focus."""
        from fgaf.model.methods.search import (
            focus_values,
            from_focus,
            search_focus,
            suggested_focus,
        )

        grid = exam.archive.class_depths_um
        if self.rule == "phase":
            focus_um = suggested_focus(exam.archive, exam.rows)
            return from_focus(focus_um, exam.labels_um, exam.cell, grid)
        values = focus_values(exam.archive, exam.rows, measure_named(self.measure))
        return replace(search_focus(values, exam.labels_um, exam.cell, grid), values=values)


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
