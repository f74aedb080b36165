"""The report of a benchmark: one HTML file that needs nothing else, on any screen or paper."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from fgaf.dataset.archive import Archive
from fgaf.model import figures

TABLE: Final = (
    ("top1", "Top-1", "Top-1", "%", 100.0, 1),
    ("top3", "Top-3", "Top-3", "%", 100.0, 1),
    ("within_one", "Within one step", "±1 step", "%", 100.0, 1),
    ("mae_um", "Mean error", "Mean error", "µm", 1.0, 2),
    ("expected_mae_um", "Mean error, continuous", "continuous", "µm", 1.0, 2),
    ("p95_um", "95 % of errors below", "95 % below", "µm", 1.0, 2),
)
"""Columns of the table of methods: metric, heading, the same for phones, unit, factor, decimals."""
HIGHER_IS_BETTER: Final = ("top1", "top3", "within_one")
OPTICS: Final = (
    ("magnification", "{:g}×"),
    ("numerical_aperture", "NA {:g}"),
    ("wavelength_um", "wavelength {:g} µm"),
    ("pixel_size_um", "pixel {:g} µm in the specimen"),
    ("medium_index", "index {:g} before the objective"),
)
"""How each number of the optics is written."""
MOST_PICTURES: Final = 9
"""Planes shown of one cell."""


def render_report(results: dict[str, Any], archive: Archive) -> str:
    """Render the report.

    Parameters
    ----------
    results
        As `fgaf.model.results.judge_runs` gives them, or ``results.json`` holds them.
    archive
        What was examined; the pictures of cells come from it.

    Returns
    -------
    str
        HTML with styles, figures and pictures inside; no scripts, no references outside.
    """
    loader = jinja2.Environment(
        loader=jinja2.PackageLoader("fgaf.model", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    methods, reference = results["methods"], results["reference"]
    chosen = next(row for row in methods if row["id"] == reference)
    drawn = {
        "top1": figures.intervals(methods, reference, "top1", 100.0, "top-1 (%)"),
        "mae": figures.intervals(methods, reference, "mae_um", 1.0, "mean error (µm)"),
        "confusion": figures.confusion(chosen),
        "by_depth": figures.error_by_depth(_telling(methods, reference), reference),
        "curves": Markup(""),
    }
    if results["focus_curves"]:
        drawn["curves"] = figures.focus_curves(results["focus_curves"], results["data"]["step_um"])
    return loader.get_template("report.html").render(
        r=results,
        chosen=chosen,
        columns=[(column[1], column[3]) for column in TABLE],
        table=[_cells(row, methods) for row in methods],
        differences=[_difference(row) for row in methods if row["against_reference"]],
        figures=drawn,
        cells=[_pictured(cell, archive) for cell in results["cells"]],
        difference=difference,
        optics=[
            text.format(results["data"]["optics"][key])
            for key, text in OPTICS
            if results["data"]["optics"][key] is not None
        ],
        has_paper=any(row["paper"] for row in methods),
    )


def number(value: float, decimals: int) -> str:
    """Write a number with so many decimals and a true minus sign, never "-0.0"."""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def difference(value: float, decimals: int) -> str:
    """Write a number with its sign; zero has none."""
    text = number(value, decimals)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def _cells(row: dict[str, Any], methods: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the table of methods as text."""
    values = []
    for key, _heading, short, unit, factor, decimals in TABLE:
        metric = row["metrics"][key]
        shown = [number(factor * other["metrics"][key]["value"], decimals) for other in methods]
        pick = max if key in HIGHER_IS_BETTER else min
        own = number(factor * metric["value"], decimals)
        values.append(
            {
                "heading": short,
                "unit": unit,
                "value": own,
                "interval": _range(metric, factor, decimals),
                "best": float(own) == pick(float(text) for text in shown),
            }
        )
    return {"row": row, "values": values, "paper": _paper_text(row["paper"])}


def _paper_text(paper: dict[str, float] | None) -> str:
    if paper is None:
        return ""
    return (
        f"{number(100 * paper['top1'], 1)} %, {number(100 * paper['top3'], 1)} %, "
        f"{number(paper['mae_um'], 2)} µm"
    )


def _range(metric: dict[str, Any], factor: float, decimals: int) -> str:
    if metric["low"] is None:
        return ""
    low, high = (number(factor * metric[end], decimals) for end in ("low", "high"))
    return f"{low} to {high}"


def _difference(row: dict[str, Any]) -> dict[str, Any]:
    """Differences of a method to the reference as text, with what they amount to."""
    against = row["against_reference"]
    kinds = (("top1", "%", 100.0, 1, 1), ("mae_um", "µm", 1.0, 2, -1))
    parts = []
    for key, _unit, factor, decimals, better in kinds:
        metric = against[key]
        verdict = "not told apart"
        if metric["low"] is not None and (metric["low"] > 0 or metric["high"] < 0):
            verdict = "better" if metric["value"] * better > 0 else "worse"
        interval = ""
        if metric["low"] is not None:
            low, high = (difference(factor * metric[end], decimals) for end in ("low", "high"))
            interval = f"{low} to {high}"
        parts.append(
            {
                "value": difference(factor * metric["value"], decimals),
                "interval": interval,
                "verdict": verdict,
            }
        )
    return {"label": row["label"], "top1": parts[0], "mae": parts[1]}


def _telling(methods: list[dict[str, Any]], reference: str) -> list[dict[str, Any]]:
    """Rows to draw against depth: the networks, and the best of every other kind."""
    chosen = []
    for colour in ("accent", "second", "rival", "other", "plain"):
        rows = [row for row in methods if figures.colour_of(row, reference) == colour]
        rows.sort(key=lambda row: float(row["metrics"]["mae_um"]["value"]))
        chosen += rows if colour == "second" else rows[:1]
    return chosen


def _pictured(cell: dict[str, Any], archive: Archive) -> dict[str, Any]:
    """One cell with its planes as pictures, all in the same stretch of grey."""
    rows = cell["rows"]
    shown = np.unique(np.linspace(0, len(rows) - 1, MOST_PICTURES).round().astype(int)).tolist()
    pixels = np.stack([archive.images[rows[k]] for k in shown]).astype(np.float64)
    low, high = np.percentile(pixels, [0.5, 99.5])
    grey = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1)
    planes = []
    for k, picture in zip(shown, (255 * grey).round().astype(np.uint8), strict=True):
        planes.append(
            {
                "src": Markup(_png(picture)),  # noqa: S704 - base64
                "depth": figures.signed(cell["depth_um"][k]),
                "said": figures.signed(cell["said_um"][k]),
                "right": cell["right"][k],
            }
        )
    return {**cell, "planes": planes, "error": number(cell["mae_um"], 2)}


def _png(grey: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
