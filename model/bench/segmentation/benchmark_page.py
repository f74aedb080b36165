"""The page of a benchmark of segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.dataset.archive import Archive
from fgaf.model.bench.report.page import difference, number, render
from fgaf.model.bench.segmentation import figures
from fgaf.model.bench.segmentation.columns import COLUMNS, figures_of
from fgaf.model.bench.segmentation.examples import examples
from fgaf.model.bench.segmentation.judge import COMPARED
from fgaf.model.bench.segmentation.methods import Method
from fgaf.model.bench.segmentation.tables import headline
from fgaf.model.bench.statistics import verdict

_SCALES: Final = {"iou": (1.0, 3), "recall": (100.0, 1), "centre_px": (1.0, 2)}
"""Factor and decimals of the differences."""
_RATES: Final = (("f1", 1.0, 2), ("recall", 100.0, 1), ("precision", 100.0, 1))


def benchmark_page(
    results: dict[str, Any], methods: Sequence[Method], archive: Archive, rows: npt.NDArray[np.intp]
) -> str:
    """Render the report: figures, differences, curves over distance, fields, and outlines.

    Parameters
    ----------
    results
        What ``results.json`` holds.
    methods
        The methods, in the same order; the outlines are of the first network.
    archive
        With masks, as the methods have seen it.
    rows
        (N,) rows of its test patches.

    Returns
    -------
    str
        HTML with all inside; no scripts, no references outside.
    """
    told = results["methods"]
    shown = next((method for method in methods if method.network), None)
    return render(
        "heads.html",
        r=results,
        first=told[0],
        headline=headline(results),
        columns=COLUMNS,
        rows=[
            {
                "row": row,
                "figures": figures_of(row["metrics"], COLUMNS),
                "parameters": "–"
                if row["parameters"] is None
                else f"{row['parameters']:,}".replace(",", " "),
            }
            for row in told
        ],
        pairs=[_pair(row) for row in told[1:]],
        distances=[
            {
                "label": row["label"],
                "distance": f"{part['distance_um']:g}",
                "heads": part["n_heads"],
                "figures": figures_of(part, COLUMNS),
            }
            for row in told
            for part in row["metrics"]["per_distance"]
        ],
        searched=[_searched(row) for row in told if row["fields"]],
        figures={
            "overlap": figures.methods_by_distance(told, "iou", 100.0, "IoU (%)"),
            "centre": figures.methods_by_distance(
                told, "centre_median_px", 1.0, "error of the centre (px)"
            ),
        },
        shown=shown.label if shown else "",
        cells=examples([(shown.network, rows)], archive) if shown and shown.network else [],
    )


def _pair(row: dict[str, Any]) -> dict[str, Any]:
    """Differences of a method to the first as text."""
    cells = []
    for key, higher in COMPARED.items():
        test, (factor, decimals) = row["against_reference"][key], _SCALES[key]
        if test is None:
            cells.append({"value": "–", "interval": "", "verdict": ""})
            continue
        ends = [] if test["low"] is None else [test["low"], test["high"]]
        cells.append(
            {
                "value": difference(factor * test["value"], decimals),
                "interval": " to ".join(difference(factor * end, decimals) for end in ends),
                "verdict": verdict(test, higher),
            }
        )
    return {"label": row["label"], "figures": cells}


def _searched(row: dict[str, Any]) -> dict[str, Any]:
    """Figures of a method on whole fields as text."""
    field = row["fields"]
    cells = []
    for key, factor, decimals in _RATES:
        rate = field[key]
        ends = [] if rate["low"] is None else [rate["low"], rate["high"]]
        cells.append(
            {
                "value": number(factor * rate["value"], decimals),
                "interval": " to ".join(number(factor * end, decimals) for end in ends),
            }
        )
    for key in ("median", "p95"):
        um, px = (field["centre_error"][f"{key}_{unit}"] for unit in ("um", "px"))
        cells.append(
            {"value": "–", "interval": ""}
            if um is None
            else {"value": number(um, 2), "interval": f"{number(px, 1)} px"}
        )
    return {"label": row["label"], "finds": field["finds"], "figures": cells}
