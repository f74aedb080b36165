"""What the trials of a row say: success with its interval, physical measures, and causes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import binomtest, fisher_exact

from fgaf.model.bench.aspiration.causes import Cause
from fgaf.model.bench.aspiration.design import Row
from fgaf.model.bench.aspiration.trials import Record

PAPER: Final = {
    "immotile-gray_level_gradient": (48, 50),
    "immotile-network": (49, 50),
    "motile-network": (46, 50),
}
"""Successes and trials of Table III, by row; a search on motile cells was "not applicable"."""

MEASURES: Final = (
    ("z_error_um", "tip over cell, r.m.s.", "µm"),
    ("depth_error_um", "height known wrongly by, r.m.s.", "µm"),
    ("entry_radius_um", "entry off the axis", "µm"),
    ("entry_over_um", "entry over the axis", "µm"),
    ("entry_speed_um_s", "speed at entry", "µm/s"),
    ("entry_s", "time to entry", "s"),
    ("in_view_s", "time in view", "s"),
)
"""Columns that are summarised, their names and units."""
_SQUARED: Final = ("z_error_um", "depth_error_um")


def wilson(successes: int, trials: int) -> dict[str, float | None]:
    """Share of successes with its 95 % interval after Wilson.

    Parameters
    ----------
    successes, trials
        Counts.

    Returns
    -------
    dict
        `value`, `low`, `high`; None without trials.

    Examples
    --------
    >>> {key: round(share, 3) for key, share in wilson(48, 50).items()}
    {'value': 0.96, 'low': 0.865, 'high': 0.989}
    """
    if not trials:
        return {"value": None, "low": None, "high": None}
    found = binomtest(successes, trials).proportion_ci(method="wilson")
    return {"value": successes / trials, "low": float(found.low), "high": float(found.high)}


def summarise(row: Row, records: Sequence[Record]) -> dict[str, Any]:
    """Summarise the trials of a row.

    Parameters
    ----------
    row
        The row.
    records
        Its trials.

    Returns
    -------
    dict
        `id`, `label`, `group`, `trials`, `successes`, `success` with its interval, `causes` (how
        many of each), `measures` (`value` and the middle 90 %, `low` and `high`), `rim_contacts`
        and `dish_contacts` (trials in which the head touched glass, and the glass the dish),
        `tip_gap_um` (least), `passed_over` (cells for each trial), `agreement` (share in which the
        procedure's verdict is right), and `paper`: counts, interval, and p of Fisher's exact test
        against ours; None where the paper has no such row.
    """
    successes, count = sum(record["success"] for record in records), len(records)
    causes = Counter(record["cause"] for record in records if not record["success"])
    told = {
        "id": row.id,
        "label": row.label,
        "group": row.group,
        "motile": row.conditions.motile,
        "trials": count,
        "successes": successes,
        "success": wilson(successes, count),
        "causes": {str(cause): causes[cause] for cause in Cause if causes[cause]},
        "measures": {name: _measure(name, records) for name, _, _ in MEASURES},
        "rim_contacts": sum(record["rim_touches"] > 0 for record in records),
        "dish_contacts": sum(record["tip_gap_um"] <= 0 for record in records),
        "tip_gap_um": min((record["tip_gap_um"] for record in records), default=None),
        "passed_over": float(np.mean([record["passed_over"] for record in records]))
        if records
        else None,
        "agreement": float(
            np.mean([record["success"] == (record["verdict"] == "success") for record in records])
        )
        if records
        else None,
        "paper": None,
    }
    if row.id in PAPER and count:
        theirs, of = PAPER[row.id]
        table = [[theirs, of - theirs], [successes, count - successes]]
        told["paper"] = {
            "successes": theirs,
            "trials": of,
            "success": wilson(theirs, of),
            "p": float(fisher_exact(table).pvalue),
        }
    return told


def _measure(name: str, records: Sequence[Record]) -> dict[str, float] | None:
    """Median, or r.m.s., of a column, and the middle 90 % of its values; None without any."""
    values = np.array([record[name] for record in records], float)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, [5, 95])
    value = np.sqrt(np.mean(values**2)) if name in _SQUARED else np.median(values)
    return {"value": float(value), "low": float(low), "high": float(high)}
