"""Figures of the benchmark report about answers and their errors."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fgaf.model.bench.report.drawing import COLOURS, STYLE, WIDTH, colour_of, signed, svg

_MOST_NUMBERED: Final = 11
"""A confusion matrix with more classes than this is drawn without numbers."""


def intervals(
    methods: Sequence[dict[str, Any]], reference: str, metric: str, scale: float, axis: str
) -> Markup:
    """Draw one metric of every method with its 95 % interval, and the paper's value as a ring.

    Parameters
    ----------
    methods
        Rows of the results, one per method, from the top down.
    reference
        Id of the reference.
    metric
        Key of the metric in ``row["metrics"]``.
    scale
        Factor from the metric to the axis, such as 100 for percent.
    axis
        Label of the axis.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.36 * len(methods) + 0.75), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(methods):
            colour = COLOURS[colour_of(row, reference)]
            found = row["metrics"][metric]
            if found["low"] is not None:
                ends = [scale * found["low"], scale * found["high"]]
                axes.plot(ends, [place, place], color=colour, linewidth=2.5)
            axes.plot(scale * found["value"], place, "o", color=colour, markersize=7)
            if row["paper"] and row["paper"][metric] is not None:
                axes.plot(
                    scale * row["paper"][metric],
                    place,
                    "D",
                    markersize=7,
                    markerfacecolor="none",
                    markeredgecolor=COLOURS["ink"],
                )
        names = [textwrap.fill(row["label"], 20) for row in methods]
        axes.set_yticks(range(len(methods)), names)
        axes.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(axis)
        description = "; ".join(
            f"{row['label']} {scale * row['metrics'][metric]['value']:.2f}" for row in methods
        )
        return svg(figure, f"{axis}, with 95 % intervals: {description}")


def reliability(rows: Sequence[dict[str, Any]], reference: str) -> Markup:
    """Draw the share of correct answers against confidence; the diagonal is perfect calibration.

    Parameters
    ----------
    rows
        Rows of the results whose confidences have a meaning.
    reference
        Id of the reference.
    """
    dashes = {"accent": "-", "second": "--"}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 100], [0, 100], color=COLOURS["muted"], linestyle=":", linewidth=1)
        for row in rows:
            name = colour_of(row, reference)
            bins = row["reliability"]
            x = [100 * part["confidence"] for part in bins]
            y = [100 * part["accuracy"] for part in bins]
            axes.plot(
                x, y, color=COLOURS[name], linestyle=dashes.get(name, "-."), label=row["label"]
            )
            sizes = [15 + 250 * part["share"] for part in bins]
            axes.scatter(x, y, s=sizes, color=COLOURS[name], alpha=0.6, linewidth=0)
        axes.set(xlim=(0, 104), ylim=(-3, 104), aspect="equal")
        axes.set_xlabel("confidence (%)")
        axes.set_ylabel("correct answers (%)")
        figure.legend(loc="outside upper left", ncols=1)
        description = "; ".join(
            f"{row['label']} {100 * row['calibration_error']:.1f} % calibration error"
            for row in rows
        )
        return svg(figure, f"Share of correct answers against confidence: {description}")


def confusion(row: dict[str, Any], small: bool = False) -> Markup:
    """Draw the confusion matrix, in percent of the true class.

    Parameters
    ----------
    row
        Of the method.
    small
        As a thumbnail, without numbers.
    """
    counts = np.asarray(row["confusion"], dtype=np.float64)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    depths = [signed(part["depth_um"]) for part in row["per_class"]]
    n = len(depths)
    with mpl.rc_context(STYLE):
        side = WIDTH / 2 if small else WIDTH
        figure = Figure(figsize=(side, side * 0.95), layout="constrained")
        axes = figure.subplots()
        for i in range(n):
            for j in range(n):
                if not counts[i, j]:
                    continue
                axes.add_patch(
                    Rectangle(
                        (j - 0.5, i - 0.5),
                        1,
                        1,
                        facecolor=COLOURS["accent"],
                        alpha=float(share[i, j]),
                        linewidth=0,
                    )
                )
                if n <= _MOST_NUMBERED and not small:
                    on_dark = share[i, j] > 0.55
                    axes.text(
                        j,
                        i,
                        f"{100 * share[i, j]:.0f}",
                        ha="center",
                        va="center",
                        color=COLOURS["page" if on_dark else "ink"],
                    )
        axes.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal")
        every = max(1, (n - 1) // 2 if small else -(-n // _MOST_NUMBERED))
        axes.set_xticks(range(0, n, every), depths[::every])
        axes.set_yticks(range(0, n, every), depths[::every])
        axes.tick_params(length=0)
        axes.set_xlabel("predicted depth (µm)")
        axes.set_ylabel("depth (µm)")
        worst = share - np.diag(np.diag(share))
        true, said = divmod(int(worst.argmax()), n)
        description = f"Confusion matrix of {row['label']}, percent of each depth's images"
        if worst.max() > 0:
            description += (
                f"; the most common error: {depths[true]} µm predicted as {depths[said]} µm "
                f"({100 * worst.max():.0f} %)"
            )
        return svg(figure, description)


def error_by_depth(rows: Sequence[dict[str, Any]], reference: str) -> Markup:
    """Draw the mean absolute error of some methods against the depth.

    Parameters
    ----------
    rows
        Rows of the results to draw.
    reference
        Id of the reference.
    """
    dashes = {"accent": "-", "second": "--", "rival": "-.", "other": (0, (6, 2)), "plain": ":"}
    marks = {"accent": "o", "second": "s", "rival": "^", "other": "v", "plain": "x"}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        for row in rows:
            name = colour_of(row, reference)
            held = [part for part in row["per_class"] if part["n_patches"]]
            axes.plot(
                [part["depth_um"] for part in held],
                [part["mae_um"] for part in held],
                linestyle=dashes[name],
                marker=marks[name],
                markersize=5,
                color=COLOURS[name],
                label=row["label"],
            )
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.set_xlabel("depth (µm)")
        axes.set_ylabel("mean error (µm)")
        figure.legend(loc="outside upper left", ncols=1)
        description = "; ".join(
            f"{row['label']} {row['metrics']['mae_um']['value']:.2f} µm over all" for row in rows
        )
        return svg(figure, f"Mean error against depth: {description}")


def focus_curves(curves: Sequence[dict[str, Any]], step_um: float) -> Markup:
    """Draw the mean focus curve of each measure, and the middle half of the cells.

    Parameters
    ----------
    curves
        One per focus measure, from `fgaf.model.bench.focus_curves`.
    step_um
        Distance of the planes, µm.
    """
    columns = 2
    n_rows = -(-len(curves) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.55 * n_rows + 0.35), layout="constrained")
        grid = figure.subplots(n_rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, curve in zip(grid.flat, curves, strict=False):
            _draw_curve(axes, curve, step_um)
        for axes in list(grid.flat)[len(curves) :]:
            axes.set_visible(False)
        for axes in list(grid.flat)[max(0, len(curves) - columns) : len(curves)]:
            axes.xaxis.set_tick_params(labelbottom=True)
        figure.supxlabel("depth of the plane (µm)", color=COLOURS["muted"], fontsize=10)
        figure.supylabel("focus measure, scaled", color=COLOURS["muted"], fontsize=10)
        description = "; ".join(
            f"{curve['label']} peaks at the focus plane in "
            f"{100 * curve['peak_at_focus']:.0f} % of cells"
            for curve in curves
        )
        return svg(figure, f"Focus measure against depth, averaged over test cells: {description}")


def _draw_curve(axes: Axes, curve: dict[str, Any], step_um: float) -> None:
    depth = curve["depth_um"]
    axes.axvspan(-step_um / 2, step_um / 2, color=COLOURS["accent"], alpha=0.15, linewidth=0)
    axes.fill_between(
        depth, curve["low"], curve["high"], color=COLOURS["rival"], alpha=0.25, linewidth=0
    )
    axes.plot(depth, curve["mean"], color=COLOURS["rival"], linewidth=2)
    axes.set_title(curve["label"], loc="left", color=COLOURS["ink"])
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 1])
