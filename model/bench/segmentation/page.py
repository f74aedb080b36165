"""The page of a network that segments heads."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fgaf.base.console import count
from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.split import TEST
from fgaf.model.bench.report.page import number, render
from fgaf.model.bench.segmentation import figures
from fgaf.model.bench.segmentation.examples import examples
from fgaf.model.inference.heads import HeadModel

_COLUMNS: Final = (
    ("iou", "IoU", "", 1.0, 3),
    ("dice", "Dice", "", 1.0, 3),
    ("recall", "Heads found", "%", 100.0, 1),
    ("precision", "Regions that are heads", "%", 100.0, 1),
    ("centre_median_px", "Centre off, median", "px", 1.0, 2),
    ("centre_p95_px", "Centre off, 95 % below", "px", 1.0, 2),
    ("centre_median_um", "Centre off, median", "µm", 1.0, 3),
    ("centre_p95_um", "Centre off, 95 % below", "µm", 1.0, 3),
)
"""Figures of the tables: key, heading, unit, factor, decimals."""


def segmentation_page(metrics: dict[str, Any], model: HeadModel, archive: Archive) -> str:
    """Render the report of a run: figures, curves over depth, and cells with their outlines.

    Parameters
    ----------
    metrics
        `metrics.json` of the run.
    model
        Its network.
    archive
        The archive it was trained on.

    Returns
    -------
    str
        HTML with all inside; no scripts, no references outside.
    """
    rows = np.flatnonzero(archive.split_of_rows(metrics["split"]) == TEST)
    columns = [column for column in _COLUMNS if column[0] in metrics]
    return render(
        "segmentation.html",
        m=metrics,
        archive=archive.header.name or (archive.path.name if archive.path else ""),
        headline=_headline(metrics),
        columns=columns,
        all=_cells(metrics, columns),
        distances=[
            {"name": f"{row['distance_um']:g}", "heads": row["n_heads"], **_cells(row, columns)}
            for row in metrics["per_distance"]
        ],
        figures={
            "overlap": figures.overlap_by_depth(metrics["per_depth"]),
            "centre": figures.centre_by_depth(metrics["per_depth"]),
        },
        cells=examples(model, archive, rows),
    )


def _headline(metrics: dict[str, Any]) -> str:
    if metrics["iou"] is None:
        return "No test patch shows a head"
    off = metrics["centre_median_px"]
    return (
        f"Masks overlap with the true ones by {number(100 * metrics['iou'], 1)} % on "
        f"{count(metrics['n_cells'], 'test cell')}"
        + ("" if off is None else f"; centres are off by {number(off, 2)} px in the median")
    )


def _cells(row: dict[str, Any], columns: list[tuple[str, str, str, float, int]]) -> dict[str, Any]:
    """Figures of a row as text, with their intervals."""

    def told(key: str, factor: float, decimals: int) -> dict[str, str]:
        value, span = row[key], row["intervals"][key]
        return {
            "value": "–" if value is None else number(factor * value, decimals),
            "interval": ""
            if span is None
            else " to ".join(number(factor * end, decimals) for end in span),
        }

    return {"figures": [told(key, factor, decimals) for key, _, _, factor, decimals in columns]}
