"""The page of a network that segments heads."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgaf.base.console import count
from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.split import TEST
from fgaf.model.bench.report.page import number, render
from fgaf.model.bench.segmentation import figures
from fgaf.model.bench.segmentation.columns import COLUMNS, figures_of
from fgaf.model.bench.segmentation.examples import examples
from fgaf.model.inference.heads import HeadModel


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
    columns = [column for column in COLUMNS if column[0] in metrics]
    return render(
        "segmentation.html",
        m=metrics,
        archive=archive.header.name or (archive.path.name if archive.path else ""),
        headline=_headline(metrics),
        columns=columns,
        all={"figures": figures_of(metrics, columns)},
        distances=[
            {
                "name": f"{row['distance_um']:g}",
                "heads": row["n_heads"],
                "figures": figures_of(row, columns),
            }
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
