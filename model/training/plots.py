"""Pictures of a run: learning curves, confusion matrix, reliability, error against depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fgaf.base.files import publishing

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#888888"
_LINES = (_BLUE, _ORANGE)
"""Colours of training and validation."""


@dataclass(frozen=True)
class Panel:
    """One panel of the learning curves.

    Attributes
    ----------
    title
        Name of the quantity.
    lines
        Columns of the history, and the label of each.
    top
        Upper end of the axis; None for that of the values.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    top: float | None = None


def plot_history(history: Sequence[dict[str, float]], panels: Sequence[Panel], path: Path) -> None:
    """Draw columns of the history against epochs.

    Parameters
    ----------
    history
        One dict per epoch: `epoch`, and the columns of the panels; without validation cells some
        are missing.
    panels
        What to draw, from left to right.
    path
        PNG to write; an older one is replaced.
    """
    figure = _figure(3.7 * len(panels), 3.4)
    epochs = [row["epoch"] for row in history]
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        for (key, label), colour in zip(panel.lines, _LINES[-len(panel.lines) :], strict=True):
            if key in history[0]:
                axis.plot(epochs, [row[key] for row in history], color=colour, label=label)
                axis.legend(frameon=False)
        if panel is not panels[0]:
            axis.set_ylim(0, panel.top)
        axis.set(xlabel="epoch", title=panel.title)
        axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def plot_confusion(metrics: dict[str, Any], path: Path) -> None:
    """Draw the confusion matrix of the test cells, each row in percent of its true class.

    Parameters
    ----------
    metrics
        With `confusion`, `class_depths_um`, `top1`, `n_cells`.
    path
        PNG to write.
    """
    counts = np.asarray(metrics["confusion"], dtype=np.float64)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    depths = [f"{depth:+g}" if depth else "0" for depth in metrics["class_depths_um"]]
    side = 2.5 + 0.45 * len(depths)
    figure = _figure(side, side)
    panel = figure.subplots()
    panel.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.5:
            colour = "white" if value > 60 else "black"
            panel.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour)
    panel.set_xticks(range(len(depths)), depths)
    panel.set_yticks(range(len(depths)), depths)
    panel.set(
        xlabel="predicted depth (µm)",
        ylabel="true depth (µm)",
        title=f"top-1 {100 * metrics['top1']:.1f} %, {metrics['n_cells']} test cells",
    )
    _save(figure, path)


def plot_reliability(metrics: dict[str, Any], path: Path) -> None:
    """Draw accuracy against confidence on the test cells; the diagonal is perfect calibration.

    Parameters
    ----------
    metrics
        With `reliability` and `calibration_error`.
    path
        PNG to write.
    """
    rows = metrics["reliability"]
    figure = _figure(4.6, 4.6)
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
    panel.plot([row["confidence"] for row in rows], [row["accuracy"] for row in rows], color=_BLUE)
    panel.scatter(
        [row["confidence"] for row in rows],
        [row["accuracy"] for row in rows],
        s=[20 + 400 * row["share"] for row in rows],
        color=_BLUE,
    )
    panel.set(
        xlim=(0, 1.03),
        ylim=(-0.03, 1.03),
        xlabel="confidence",
        ylabel="share of correct answers",
        title=f"calibration error {100 * metrics['calibration_error']:.1f} %",
    )
    panel.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def plot_depths(metrics: dict[str, Any], path: Path) -> None:
    """Draw the error of the expected depth against the true depth.

    Parameters
    ----------
    metrics
        With `per_class`, `expected_mae_um`, `n_cells`.
    path
        PNG to write.
    """
    rows = [row for row in metrics["per_class"] if row["n_patches"]]
    depths = [row["depth_um"] for row in rows]
    figure = _figure(5.6, 4.0)
    panel = figure.subplots()
    panel.axhline(0, color=_GREY, linestyle="--", linewidth=1)
    panel.plot(
        depths, [row["expected_mae_um"] for row in rows], "o-", color=_BLUE, label="mean size"
    )
    panel.plot(
        depths, [row["expected_bias_um"] for row in rows], "s-", color=_ORANGE, label="mean (bias)"
    )
    panel.legend(frameon=False)
    panel.set(
        xlabel="true depth (µm)",
        ylabel="error of the expected depth (µm)",
        title=f"{metrics['expected_mae_um']:.3f} µm on average, {metrics['n_cells']} test cells",
    )
    panel.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    with publishing(path, overwrite=True) as part:
        figure.savefig(part, format="png", dpi=110)
