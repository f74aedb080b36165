"""The page of a benchmark of aspiration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from fgaf.model.bench.aspiration.design import TABLE
from fgaf.model.bench.aspiration.figures import successes
from fgaf.model.bench.aspiration.summary import MEASURES
from fgaf.model.bench.aspiration.tables import causes_shown, headline
from fgaf.model.bench.report.page import number, render

_DECIMALS: Final = {"µm": 2, "µm/s": 0, "s": 2}


def aspiration_page(results: dict[str, Any]) -> str:
    """Render the report: success, the paper's beside it, causes, and measures, by factor.

    Parameters
    ----------
    results
        What ``results.json`` holds.

    Returns
    -------
    str
        HTML with all inside; no scripts, no references outside.
    """
    rows = [row for row in results["rows"] if row["trials"]]
    groups = [(name, list(part)) for name, part in groupby(rows, key=lambda row: row["group"])]
    return render(
        "aspiration.html",
        r=results,
        headline=headline(results),
        trials=sum(row["trials"] for row in rows),
        contacts=sum(row["dish_contacts"] for row in rows),
        measures=[(name, unit) for _, name, unit in MEASURES],
        groups=[
            {
                "id": name.replace(" ", "-"),
                "name": "Table III" if name == TABLE else name.capitalize(),
                "figure": successes(part, f"Success, {name}"),
                "rows": [_row(row) for row in part],
                "causes": causes_shown(part),
                "counts": [_counts(row, causes_shown(part)) for row in part],
                "paper": any(row["paper"] for row in part),
            }
            for name, part in groups
        ],
    )


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as text."""
    return {
        "label": row["label"],
        "trials": row["trials"],
        "success": _percent(row["success"]),
        "paper": row["paper"]
        and {
            **_percent(row["paper"]["success"]),
            "counts": f"{row['paper']['successes']}/{row['paper']['trials']}",
            "p": number(row["paper"]["p"], 2),
        },
        "measures": [_measure(row["measures"][name], unit) for name, _, unit in MEASURES],
        "rim_contacts": row["rim_contacts"],
        "dish_contacts": row["dish_contacts"],
        "tip_gap": number(row["tip_gap_um"], 2),
        "passed_over": number(row["passed_over"], 1),
        "agreement": number(100 * row["agreement"], 1),
    }


def _counts(row: dict[str, Any], causes: Sequence[str]) -> dict[str, Any]:
    return {"label": row["label"], "counts": [row["causes"].get(cause, 0) for cause in causes]}


def _percent(found: dict[str, float]) -> dict[str, str]:
    ends = (number(100 * found[end], 1) for end in ("low", "high"))
    return {"value": number(100 * found["value"], 1), "interval": " to ".join(ends)}


def _measure(found: dict[str, float] | None, unit: str) -> dict[str, str]:
    if found is None:
        return {"value": "–", "interval": ""}
    ends = (number(found[end], _DECIMALS[unit]) for end in ("low", "high"))
    return {"value": number(found["value"], _DECIMALS[unit]), "interval": " to ".join(ends)}
