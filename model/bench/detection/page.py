"""The page of a benchmark of detection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fgaf.model.bench.detection import figures
from fgaf.model.bench.detection.errors import MOST, false_finds, misses, pictured
from fgaf.model.bench.detection.judge import Judged
from fgaf.model.bench.detection.summary import headline
from fgaf.model.bench.report.page import number, render

RATES: Final = (
    ("f1", "F1", "", 1.0, 2),
    ("recall", "Recall", "%", 100.0, 1),
    ("precision", "Precision", "%", 100.0, 1),
)
"""Columns of the tables: figure, heading, unit, factor, decimals; the first is the headline's."""


def detection_page(results: dict[str, Any], outcomes: Sequence[Judged]) -> str:
    """Render the report: figures, curves, groups, and pictures of the first method's errors.

    Parameters
    ----------
    results
        From `fgaf.model.bench.detection.judge.judge`.
    outcomes
        The first method on every field.

    Returns
    -------
    str
        HTML with all inside; no scripts, no references outside.
    """
    methods, head_um = results["methods"], results["head_um"]
    first = methods[0]
    score = float("inf") if first["score"] is None else first["score"]
    errors = [kind(outcomes, score, head_um) for kind in (misses, false_finds)]
    return render(
        "detection.html",
        r=results,
        first=first,
        headline=headline(results),
        rates=RATES,
        rows=[_cells(row) for row in methods],
        groups=[_cells(row) for row in first["groups"]],
        figures={
            "score": figures.over_score(first),
            "recall": figures.precision_over_recall(methods),
        },
        totals=[len(places) for places in errors],
        pictures=[pictured(places[:MOST], score, head_um) for places in errors],
    )


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """One row of a table as text."""
    return {
        "row": row,
        "rates": [
            {
                "value": number(factor * row[key]["value"], decimals),
                "interval": ""
                if row[key]["low"] is None
                else " to ".join(
                    number(factor * row[key][end], decimals) for end in ("low", "high")
                ),
            }
            for key, _heading, _unit, factor, decimals in RATES
        ],
        "off": {
            key: "–" if value is None else number(value, 2)
            for key, value in row["centre_error"].items()
        },
    }
