"""Figures of the report on segmentation: overlap and centre error over depth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from fgaf.model.bench.report.drawing import COLOURS, STYLE, WIDTH, svg

_OVERLAP: Final = (("iou", "IoU", "accent", "-o"), ("recall", "heads found", "rival", "--s"))
_CENTRE: Final = (
    ("centre_median_px", "median", "accent", "-o"),
    ("centre_p95_px", "95 % below", "rival", "--s"),
)

_LOOKS: Final = (
    ("accent", "-o"),
    ("second", "--s"),
    ("rival", "-.^"),
    ("other", ":D"),
    ("plain", "--v"),
)
"""Colour and line of each method, in order."""


def overlap_by_depth(rows: Sequence[dict[str, Any]]) -> Markup:
    """Draw overlap and recall over depth.

    Parameters
    ----------
    rows
        `per_depth` of the metrics.
    """
    return _over_depth(rows, _OVERLAP, 100.0, "%", "Overlap of the masks and heads found")


def centre_by_depth(rows: Sequence[dict[str, Any]]) -> Markup:
    """Draw the error of the centres over depth.

    Parameters
    ----------
    rows
        `per_depth` of the metrics.
    """
    return _over_depth(rows, _CENTRE, 1.0, "error of the centre (px)", "Error of the centres")


def methods_by_distance(
    methods: Sequence[dict[str, Any]], key: str, factor: float, axis: str
) -> Markup:
    """Draw one metric of every method over the distance from focus.

    Parameters
    ----------
    methods
        Rows of the results of the benchmark, each with `label` and `metrics`.
    key
        Of the metric.
    factor
        From the metric to the axis, such as 100 for percent.
    axis
        Label of the axis.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        for row, (colour, style) in zip(methods, cycle(_LOOKS)):
            there = [part for part in row["metrics"]["per_distance"] if part[key] is not None]
            axes.plot(
                [part["distance_um"] for part in there],
                [factor * part[key] for part in there],
                style,
                color=COLOURS[colour],
                label=row["label"],
                markersize=4,
            )
        axes.set(xlabel="distance from focus (µm)", ylabel=axis)
        axes.set_ylim(0, 102 if factor == 100 else None)
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=2)
        return svg(figure, f"{axis} of every method over the distance from focus")


def _over_depth(
    rows: Sequence[dict[str, Any]],
    lines: tuple[tuple[str, str, str, str], ...],
    factor: float,
    unit: str,
    what: str,
) -> Markup:
    """Lines with their intervals as bars."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        for key, label, colour, style in lines:
            there = [row for row in rows if row[key] is not None]
            depths = [row["depth_um"] for row in there]
            values = [factor * row[key] for row in there]
            axes.plot(depths, values, style, color=COLOURS[colour], label=label, markersize=4)
            spans = [(row["depth_um"], row["intervals"][key]) for row in there]
            for depth, span in spans:
                if span is not None:
                    ends = [factor * end for end in span]
                    axes.plot([depth, depth], ends, color=COLOURS[colour], linewidth=1)
        axes.set(xlabel="depth (µm)", ylabel=unit)
        axes.set_ylim(0, 102 if factor == 100 else None)
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=len(lines))
        return svg(figure, f"{what} over depth")
