"""Metrics of predicted depths: accuracies, errors in µm, calibration, intervals over cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.model.metrics.intervals import (
    Floats,
    Integers,
    Interval,
    cell_draws,
    drawn_means,
    drawn_quantile,
    interval,
)

BINS = 15
"""Equal bins of confidence in the calibration error."""


def nearest_class(depths_um: npt.ArrayLike, class_depths_um: npt.ArrayLike) -> Integers:
    """Class of each depth: the nearest on the grid, clipped to its ends.

    Parameters
    ----------
    depths_um
        (N,) depths in µm.
    class_depths_um
        (C,) depth of each class in µm, ascending and equally spaced.

    Returns
    -------
    (N,) integers in 0..C-1. A depth halfway goes to the even neighbour, as `numpy.round` does.
    """
    depths = np.asarray(depths_um, dtype=np.float64)
    grid = np.asarray(class_depths_um, dtype=np.float64)
    if grid.size == 1:
        return np.zeros(depths.shape, dtype=np.int64)
    step = (grid[-1] - grid[0]) / (grid.size - 1)
    classes: Integers = np.round((depths - grid[0]) / step).astype(np.int64)
    return classes.clip(0, grid.size - 1)


def top_k_credit(probabilities: Floats, truth: Integers, k: int) -> Floats:
    """Whether each row's true class is among its `k` most likely, as a credit of 0 to 1.

    Ties share the credit: a class that ties with two others for the last place gets a third.
    Without ties the credit is 0 or 1.

    Parameters
    ----------
    probabilities
        (N, C).
    truth
        (N,) class numbers.
    k
        Places, 1 or more.

    Returns
    -------
    (N,) in 0..1
    """
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)
    above = (probabilities > own).sum(axis=1)
    tied = (probabilities == own).sum(axis=1)
    credit: Floats = (k - above) / tied
    return credit.clip(0.0, 1.0)


def evaluate(
    probabilities: npt.ArrayLike,
    depths_true_um: npt.ArrayLike,
    class_depths_um: npt.ArrayLike,
    cell: npt.ArrayLike,
    depth_of_field_um: float | None = None,
    seed: int = 0,
    expected_um: npt.ArrayLike | None = None,
) -> dict[str, Any]:
    """Every metric of one set of predictions.

    Parameters
    ----------
    probabilities
        (N, C) class probabilities per patch (one-hot where a method gives only a class).
    depths_true_um
        (N,) reference depth of each patch, µm, on or off the class grid.
    class_depths_um
        (C,) depth of each class, µm.
    cell
        (N,) the cell each patch shows; intervals resample these.
    depth_of_field_um
        Eq. (2), for errors in depths of field; None leaves them out.
    seed
        Seed of the bootstrap.
    expected_um
        (N,) continuous estimate, µm; by default the mean over the probabilities.

    Returns
    -------
    dict of JSON values.
        Of the likeliest class: `top1`, `top3`, `within_one` (at most one step off), `mae_um`,
        `std_um` and `var_um2` (spread of the absolute error, the paper's mean ± std),
        `rmse_um`, `p95_um` (of the absolute error), `bias_um` (mean signed error).
        Of the expected depth: the same with the prefix `expected_`.
        `mae_dof`, `expected_mae_dof`: in depths of field. `calibration_error`: top-1,
        expected over 15 bins of confidence, listed in `reliability`.
        `intervals`: for each of these numbers [low, high], 95 % over cells, None with
        fewer than two cells. `per_class`: one dict per class. `confusion`: (C, C) counts,
        rows true. `n_cells`, `n_patches`.

    Raises
    ------
    FgafError
        No rows, shapes that differ, or probabilities that are not finite.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    true_um = np.asarray(depths_true_um, dtype=np.float64)
    grid = np.asarray(class_depths_um, dtype=np.float64)
    _check(p, true_um, grid, np.asarray(cell))
    members, cell_index = np.unique(np.asarray(cell), return_inverse=True)
    truth = nearest_class(true_um, grid)
    decided = p.argmax(axis=1)
    expected = p @ grid if expected_um is None else np.asarray(expected_um, dtype=np.float64)

    columns = {
        "top1": (decided == truth).astype(np.float64),
        "top3": top_k_credit(p, truth, 3),
        "within_one": (np.abs(decided - truth) <= 1).astype(np.float64),
    }
    weights = cell_draws(members.size, seed)
    values, intervals = _means(columns, cell_index, weights)
    for prefix, estimate in (("", grid[decided]), ("expected_", expected)):
        part, part_intervals = _errors(estimate - true_um, cell_index, weights)
        values |= {prefix + key: value for key, value in part.items()}
        intervals |= {prefix + key: value for key, value in part_intervals.items()}
    if depth_of_field_um:
        for key in ("mae", "expected_mae"):
            values[f"{key}_dof"] = values[f"{key}_um"] / depth_of_field_um
            both = intervals[f"{key}_um"]
            intervals[f"{key}_dof"] = both and [end / depth_of_field_um for end in both]

    confidence = p.max(axis=1)
    values["calibration_error"], reliability = _calibration(confidence, columns["top1"])
    confusion = np.zeros((grid.size, grid.size), dtype=np.int64)
    np.add.at(confusion, (truth, decided), 1)
    return {
        **values,
        "intervals": intervals,
        "reliability": reliability,
        "per_class": _per_class(truth, decided, expected, true_um, grid),
        "confusion": confusion.tolist(),
        "class_depths_um": grid.tolist(),
        "n_cells": int(members.size),
        "n_patches": int(p.shape[0]),
    }


def judge(
    probabilities: npt.ArrayLike,
    archive: Archive,
    rows: npt.ArrayLike,
    seed: int = 0,
    expected_um: npt.ArrayLike | None = None,
) -> dict[str, Any]:
    """`evaluate` against an archive: by the true depth where it has one, else by the labels.

    Parameters
    ----------
    probabilities
        (N, C).
    archive
        The archive that holds the `rows`.
    rows
        (N,) row numbers.
    seed, expected_um
        As for `evaluate`.

    Returns
    -------
    dict
        What `evaluate` returns, with `judged_by` ("truth" or "label") and `refined_cells`: how
        many of the cells have labels that networks corrected, by which other networks look better
        than they are. Judged by the truth
        it also holds `by_label` (the same judged by the labels) and `label_mae_um` (how far
        the labels themselves are from the truth).
    """
    index = np.asarray(rows, dtype=np.int64)
    labels = np.asarray(archive.depth_um, dtype=np.float64)[index]
    grid = np.asarray(archive.class_depths_um, dtype=np.float64)
    cell = np.asarray(archive.cell)[index]
    dof = archive.header.optics.depth_of_field_um
    by_label = evaluate(probabilities, labels, grid, cell, dof, seed, expected_um)
    table = archive.refinement
    refined = 0 if table is None else int(table.touched[np.unique(cell)].sum())
    if archive.true_depth_um is None:
        return {**by_label, "judged_by": "label", "refined_cells": refined}
    truth = np.asarray(archive.true_depth_um, dtype=np.float64)[index]
    by_truth = evaluate(probabilities, truth, grid, cell, dof, seed, expected_um)
    return {
        **by_truth,
        "judged_by": "truth",
        "refined_cells": refined,
        "by_label": by_label,
        "label_mae_um": float(np.abs(labels - truth).mean()),
    }


def better_than_chance(metrics: Mapping[str, Any]) -> bool | None:
    """Whether a classifier is better than always answering the most common class.

    Parameters
    ----------
    metrics
        From `evaluate` or `judge`.

    Returns
    -------
    bool or None
        Whether the whole interval of its top-1 is above the share of the most common class; None
        with fewer than two cells, which have no interval.
    """
    interval = metrics["intervals"]["top1"]
    if interval is None:
        return None
    per_class = np.sum(metrics["confusion"], axis=1)
    return bool(interval[0] > per_class.max() / per_class.sum())


def _check(p: Floats, true_um: Floats, grid: Floats, cell: npt.NDArray[Any]) -> None:
    if p.shape[0] == 0:
        raise FgafError("no patches to evaluate: choose a split whose test side has cells")
    if p.shape != (true_um.size, grid.size) or cell.shape != true_um.shape:
        raise FgafError(
            f"probabilities of shape {p.shape} do not fit {true_um.size} depths, "
            f"{cell.size} cell numbers and {grid.size} classes"
        )
    if not (np.isfinite(p).all() and np.isfinite(true_um).all()):
        raise FgafError(
            "probabilities or depths are not finite: the training diverged; lower the learning rate"
        )


def _means(
    columns: dict[str, Floats], cell_index: Integers, weights: Integers
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Mean of each column and its interval."""
    values = {key: float(column.mean()) for key, column in columns.items()}
    intervals = {
        key: interval(drawn_means(column, cell_index, weights)) for key, column in columns.items()
    }
    return values, intervals


def _errors(
    error: Floats, cell_index: Integers, weights: Integers
) -> tuple[dict[str, float], dict[str, Interval]]:
    size = np.abs(error)
    mean_size = drawn_means(size, cell_index, weights)
    mean_square = drawn_means(error**2, cell_index, weights)
    variance = np.maximum(mean_square - mean_size**2, 0.0)
    values = {
        "mae_um": float(size.mean()),
        "std_um": float(size.std()),
        "var_um2": float(size.var()),
        "rmse_um": float(np.sqrt((error**2).mean())),
        "p95_um": float(np.percentile(size, 95)),
        "bias_um": float(error.mean()),
    }
    draws = {
        "mae_um": mean_size,
        "std_um": np.sqrt(variance),
        "var_um2": variance,
        "rmse_um": np.sqrt(mean_square),
        "p95_um": drawn_quantile(size, cell_index, weights, 0.95),
        "bias_um": drawn_means(error, cell_index, weights),
    }
    return values, {key: interval(draw) for key, draw in draws.items()}


def _calibration(confidence: Floats, correct: Floats) -> tuple[float, list[dict[str, float]]]:
    """Compare confidence with accuracy: the calibration error, and its bins."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    reliability = []
    error = 0.0
    for k in np.unique(bins):
        inside = bins == k
        row = {
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(correct[inside].mean()),
            "share": float(inside.mean()),
        }
        error += row["share"] * abs(row["confidence"] - row["accuracy"])
        reliability.append(row)
    return float(error), reliability


def _per_class(
    truth: Integers, decided: Integers, expected: Floats, true_um: Floats, grid: Floats
) -> list[dict[str, Any]]:
    table = []
    for k, depth in enumerate(grid):
        inside = truth == k
        row: dict[str, Any] = {"depth_um": float(depth), "n_patches": int(inside.sum())}
        if inside.any():
            error = grid[decided[inside]] - true_um[inside]
            off = expected[inside] - true_um[inside]
            row["top1"] = float((decided[inside] == k).mean())
            row["mae_um"] = float(np.abs(error).mean())
            row["bias_um"] = float(error.mean())
            row["expected_mae_um"] = float(np.abs(off).mean())
            row["expected_bias_um"] = float(off.mean())
        table.append(row)
    return table
