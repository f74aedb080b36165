"""Pictures of a run: learning curves, confusion matrix, reliability, error against depth."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fgaf.base.files import publishing

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#888888"


def plot_history(history: list[dict[str, float]], path: Path) -> None:
    """Draw loss, top-1 and validation error against epochs.

    Parameters
    ----------
    history
        One dict per epoch: epoch, train_loss, train_top1, and with validation cells val_loss,
        val_top1, val_expected_mae_um.
    path
        PNG to write; an older one is replaced.
    """
    figure = _figure(11, 3.4)
    panels = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in history]

    def draw(panel: Any, key: str, label: str, colour: str) -> None:
        if key in history[0]:
            panel.plot(epochs, [row[key] for row in history], color=colour, label=label)
            panel.legend(frameon=False)

    draw(panels[0], "train_loss", "training", _BLUE)
    draw(panels[0], "val_loss", "validation (cross-entropy)", _ORANGE)
    draw(panels[1], "train_top1", "training, augmented", _BLUE)
    draw(panels[1], "val_top1", "validation", _ORANGE)
    draw(panels[2], "val_expected_mae_um", "validation", _ORANGE)
    panels[1].set_ylim(0, 1)
    panels[2].set_ylim(bottom=0)
    names = ("loss", "top-1", "mean error of the expected depth (µm)")
    for panel, name in zip(panels, names, strict=True):
        panel.set(xlabel="epoch", title=name)
        panel.spines[["top", "right"]].set_visible(False)
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
