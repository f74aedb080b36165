"""Figures of the report on detection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from fgaf.model.bench.report.drawing import COLOURS, STYLE, WIDTH, svg

_LOOKS: Final = (("accent", "-"), ("rival", "--"), ("plain", "-."))
"""Colour and line of each method, in order."""


def over_score(row: dict[str, Any]) -> Markup:
    """Draw recall, precision and F1 of a method over the score.

    Parameters
    ----------
    row
        The method's row of the results.
    """
    curve = row["curve"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        if row["score"] is not None:
            axes.axvline(row["score"], color=COLOURS["muted"], linewidth=1, linestyle=":")
        for name, colour, line in (
            ("recall", "second", "--"),
            ("precision", "rival", "-."),
            ("f1", "accent", "-"),
        ):
            values = [100 * value for value in curve[name]]
            label = "F1" if name == "f1" else name
            axes.plot(curve["score"], values, line, color=COLOURS[colour], label=label)
        axes.set(ylim=(0, 102), xlabel="least score", ylabel="%")
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=3)
        return svg(figure, f"Recall, precision and F1 of {row['label']} over the least score")


def precision_over_recall(rows: Sequence[dict[str, Any]]) -> Markup:
    """Draw precision over recall of all methods, with a dot at the score of their figures.

    Parameters
    ----------
    rows
        Rows of the results.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        for row, (colour, line) in zip(rows, _LOOKS, strict=False):
            recall, precision = (
                [100 * value for value in row["curve"][name]] for name in ("recall", "precision")
            )
            axes.plot(recall, precision, line, color=COLOURS[colour], label=row["label"])
            at = [100 * row[name]["value"] for name in ("recall", "precision")]
            axes.plot(*at, "o", color=COLOURS[colour], markersize=7)
        axes.set(xlim=(0, 102), ylim=(0, 102), xlabel="recall (%)", ylabel="precision (%)")
        axes.grid()
        figure.legend(loc="outside upper left", ncols=1)
        told = "; ".join(
            f"{row['label']} average precision {row['average_precision']:.2f}" for row in rows
        )
        return svg(figure, f"Precision over recall: {told}")
