"""Columns of the tables on segmentation, and their figures as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fgaf.model.bench.report.page import number

Column = tuple[str, str, str, float, int]
"""Key, heading, unit, factor, decimals."""

COLUMNS: Final[tuple[Column, ...]] = (
    ("iou", "IoU", "", 1.0, 3),
    ("dice", "Dice", "", 1.0, 3),
    ("recall", "Heads found", "%", 100.0, 1),
    ("precision", "Regions that are heads", "%", 100.0, 1),
    ("centre_median_px", "Centre off, median", "px", 1.0, 2),
    ("centre_p95_px", "Centre off, 95 % below", "px", 1.0, 2),
    ("centre_median_um", "Centre off, median", "µm", 1.0, 3),
    ("centre_p95_um", "Centre off, 95 % below", "µm", 1.0, 3),
)


def figures_of(metrics: dict[str, Any], columns: Sequence[Column]) -> list[dict[str, str]]:
    """Metrics as text, each with its interval.

    Parameters
    ----------
    metrics
        From `fgaf.model.metrics.heads.evaluate`, or one of its parts.
    columns
        Which.

    Returns
    -------
    list of dict
        `value` and `interval`; a dash and an empty text where there is none.
    """

    def told(key: str, factor: float, decimals: int) -> dict[str, str]:
        value, span = metrics[key], metrics["intervals"][key]
        return {
            "value": "–" if value is None else number(factor * value, decimals),
            "interval": ""
            if span is None
            else " to ".join(number(factor * end, decimals) for end in span),
        }

    return [told(key, factor, decimals) for key, _, _, factor, decimals in columns]
