"""The page of a network that segments heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fgaf.base.console import count
from fgaf.dataset.archive import Archive
from fgaf.model.bench.report.page import number, render
from fgaf.model.bench.segmentation import figures
from fgaf.model.bench.segmentation.columns import COLUMNS, figures_of
from fgaf.model.bench.segmentation.examples import Tested, examples


def segmentation_page(
    metrics: dict[str, Any],
    runs: Sequence[dict[str, Any]],
    tested: Sequence[Tested],
    archive: Archive,
) -> str:
    """Render the report of a run, or of all folds: figures, curves over depth, cells with outlines.

    Parameters
    ----------
    metrics
        `metrics.json` of all test cells.
    runs
        `metrics.json` of each run; the same, where there are no folds.
    tested
        The network of each run, and the rows it was tested on.
    archive
        The archive they were trained on.

    Returns
    -------
    str
        HTML with all inside; no scripts, no references outside.
    """
    columns = [column for column in COLUMNS if column[0] in metrics]
    return render(
        "segmentation.html",
        m=metrics,
        runs=runs,
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
        cells=examples(tested, archive),
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
