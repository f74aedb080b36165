"""Figures of the report on aspiration: success by factor, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from fgaf.model.bench.report.drawing import COLOURS, STYLE, WIDTH, svg


def successes(rows: Sequence[dict[str, Any]], what: str) -> Markup:
    """Draw the success of rows with 95 % intervals; the paper's as a diamond with its interval.

    Parameters
    ----------
    rows
        Rows of the results, from the top down, each with trials.
    what
        What they are, for those who cannot see it.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.34 * len(rows) + 0.8), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            colour = COLOURS["accent" if row["motile"] else "rival"]
            _point(axes, place, row["success"], colour, "o", 2.5)
            if row["paper"]:
                _point(axes, place + 0.25, row["paper"]["success"], COLOURS["ink"], "D", 1.0)
        axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"], labelsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(-2, 102)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("success (%)")
        told = "; ".join(f"{row['label']} {100 * row['success']['value']:.0f} %" for row in rows)
        return svg(figure, f"{what}: {told}")


def _point(
    axes: Any, place: float, found: dict[str, float], colour: str, mark: str, width: float
) -> None:
    axes.plot(
        [100 * found["low"], 100 * found["high"]], [place, place], color=colour, linewidth=width
    )
    hollow = {"markerfacecolor": "none"} if mark == "D" else {}
    axes.plot(100 * found["value"], place, mark, color=colour, markersize=6, **hollow)
