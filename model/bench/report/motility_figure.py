"""Figure of focus measures on different cells, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from fgaf.model.bench.report.drawing import COLOURS, STYLE, WIDTH, svg

_NAME_WIDTH: Final = 42
"""Characters per line of a group's name, over the whole figure."""


def beside_curves(groups: Sequence[dict[str, Any]]) -> Markup:
    """Draw the mean curve of each measure (rows) on each group of cells (columns).

    Parameters
    ----------
    groups
        As `fgaf.model.bench.motility.compare_groups` gives them.
    """
    labels = [curve["label"] for curve in groups[0]["curves"]]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.4 * len(labels) + 0.9), layout="constrained")
        grid = figure.subplots(len(labels), len(groups), sharex="col", sharey=True, squeeze=False)
        for column, group in enumerate(groups):
            half = group["step_um"] / 2
            for row, curve in enumerate(group["curves"]):
                axes = grid[row, column]
                axes.axvspan(-half, half, color=COLOURS["accent"], alpha=0.15, linewidth=0)
                axes.fill_between(
                    curve["depth_um"],
                    curve["low"],
                    curve["high"],
                    color=COLOURS["rival"],
                    alpha=0.25,
                    linewidth=0,
                )
                axes.plot(curve["depth_um"], curve["mean"], color=COLOURS["rival"], linewidth=2)
                axes.set_ylim(0, 1)
                axes.set_yticks([0, 1])
                heading = f"{100 * curve['failed']['value']:.0f} % fail"
                axes.set_title(
                    f"{'' if column else curve['label']}\n{heading}",
                    loc="left",
                    fontsize=8,
                    color=COLOURS["ink"],
                )
            name = textwrap.fill(group["name"], max(12, _NAME_WIDTH // len(groups)))
            grid[-1, column].set_xlabel(f"depth (µm)\n{name}", color=COLOURS["ink"])
        figure.supylabel("focus measure, scaled", color=COLOURS["muted"], fontsize=10)
        description = "; ".join(
            f"{group['name']}: "
            + ", ".join(
                f"{curve['label']} fails on {100 * curve['failed']['value']:.0f} %"
                for curve in group["curves"]
            )
            for group in groups
        )
        return svg(figure, f"Focus measures against depth, cells side by side. {description}")
