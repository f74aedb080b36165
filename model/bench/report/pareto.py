"""Figure of the benchmark report: error against cost, and which methods are on the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from fgaf.model.bench.report.drawing import COLOURS, STYLE, WIDTH, colour_of, svg


def pareto(
    methods: Sequence[dict[str, Any]], reference: str, cost: Literal["answer_ms", "parameters"]
) -> Markup:
    """Draw the mean error of every network against its cost, numbered from 1.

    Parameters
    ----------
    methods
        Rows with a cost, in the order of their numbers.
    reference
        Id of the reference.
    cost
        Which: milliseconds per answer, or parameters.
    """
    scale, axis = {
        "answer_ms": (1.0, "time of one answer, one thread (ms)"),
        "parameters": (1e-6, "parameters (millions)"),
    }[cost]
    points = [
        (scale * row["cost"][cost], float(row["metrics"]["mae_um"]["value"])) for row in methods
    ]
    front = pareto_front(points)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        edge = sorted(points[k] for k in front)
        axes.step(*zip(*edge, strict=True), where="post", color=COLOURS["muted"], linewidth=1)
        for number, (row, point) in enumerate(zip(methods, points, strict=True), start=1):
            colour = COLOURS[colour_of(row, reference)]
            best = number - 1 in front
            axes.plot(
                *point, "o", color=colour, markerfacecolor=colour if best else "none", markersize=7
            )
            axes.annotate(
                str(number),
                point,
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=9,
                color=COLOURS["ink"],
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(_minor_label))
        axes.set_ylim(0, 1.12 * max(error for _, error in points))
        axes.margins(x=0.1)
        axes.grid(axis="y")
        axes.set_xlabel(axis)
        axes.set_ylabel("mean error (µm)")
        description = "; ".join(
            f"{row['label']} {x:.3g}, {y:.2f} µm"
            for row, (x, y) in zip(methods, points, strict=True)
        )
        return svg(figure, f"Mean error against {axis}: {description}")


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the Pareto front of the points (cost, error)."""
    return [
        k
        for k, (cost, error) in enumerate(points)
        if not any(c <= cost and e <= error and (c < cost or e < error) for c, e in points)
    ]


def _minor_label(value: float, _place: int) -> str:
    """Label 2 and 5 between the powers of ten."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""
