"""Results of a benchmark: every method evaluated in the same way, and compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.console import count
from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.model.bench.compare import best_method, judge_against, judge_pairs
from fgaf.model.bench.evaluation_set import EvaluationSet, describe, label_error, notices
from fgaf.model.bench.focus_curves import mean_curve, peak_offsets
from fgaf.model.bench.methods import Method
from fgaf.model.bench.motility import compare_groups, peak_measures
from fgaf.model.bench.paper import paper_row, title
from fgaf.model.bench.preset import Preset
from fgaf.model.bench.runs import Run
from fgaf.model.bench.statistics import LEVEL, least_p, spread
from fgaf.model.bench.summary import headline, summary
from fgaf.model.metrics.depth import evaluate, nearest_class

Floats = NDArray[np.float64]

METRICS: Final = (
    "top1",
    "top3",
    "within_one",
    "mae_um",
    "std_um",
    "var_um2",
    "rmse_um",
    "p95_um",
    "bias_um",
    "expected_mae_um",
    "expected_rmse_um",
    "expected_p95_um",
)
"""The metrics that results hold per method, with intervals."""
HARDEST: Final = 4
"""Number of cells shown on which the reference has the largest errors."""


@dataclass(frozen=True)
class Answers:
    """The answers of a method with one seed for all test patches, over all folds.

    Attributes
    ----------
    seed
        None for a deterministic method.
    probabilities, expected_um, values
        (N, C), (N,) and (N,) or None, in the order of the evaluation set's rows.
    runs
        The answers of each run as they were saved.
    """

    seed: int | None
    probabilities: Floats
    expected_um: Floats
    values: Floats | None
    runs: list[dict[str, Any]]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(N,) whether there is an answer: a person may have labelled only some cells."""
        return np.isfinite(self.expected_um)


def judge_runs(
    preset: Preset,
    data: EvaluationSet,
    runs: Sequence[Run],
    answers: Sequence[dict[str, Any]],
    beside: Sequence[Archive] = (),
) -> dict[str, Any]:
    """Evaluate the answers of all runs: one row per method, and notices for the reader.

    Parameters
    ----------
    preset, data
        What was compared, on which cells.
    runs, answers
        Each run and its answers, from `fgaf.model.bench.runs.perform`.
    beside
        Archives of other cells; the focus measures are shown on them too.

    Returns
    -------
    dict
        What ``results.json`` holds.
    """
    asked = {method.id: _put_together(method.id, runs, answers) for method in preset.methods}
    rows = {method.id: _judge(method, asked[method.id], data) for method in preset.methods}
    scores = {name: {one.seed: _scores(one, data) for one in own} for name, own in asked.items()}
    best = best_method(scores, preset.reference)
    for key, one in (("against_reference", preset.reference), ("against_best", best)):
        for name, tests in judge_against(one, scores, data.cell).items():
            rows[name][key] = tests
    methods, pairs = list(rows.values()), judge_pairs(preset, rows, scores, data.cell)
    reference = asked[preset.reference][0]
    return {
        "format": "fgaf-benchmark",
        "format_version": 2,
        "headline": headline(methods, preset.reference, pairs, data),
        "summary": summary(methods, preset.reference, pairs, data),
        "notices": [*notices(data), *_powerless(data, len(methods) - 1), *_unfinished(methods)],
        "judged_by": data.judged_by,
        "circular": data.circular,
        "preset": preset.name,
        "description": preset.description,
        "reference": preset.reference,
        "best": best,
        "data": describe(data),
        "methods": methods,
        "pairs": pairs,
        "label_error": label_error(data),
        "focus_curves": [
            {"id": name, "label": rows[name]["label"], **focus_curve(own[0].values, data)}
            for name, own in asked.items()
            if own[0].values is not None
        ],
        "beside": compare_groups([data.archive, *beside], peak_measures(preset)) if beside else [],
        "cells": _cells_by_error(_decided(reference, data), data),
        "versions": _distinct(answer["versions"] for answer in answers),
        "machines": _distinct(answer["machine"] for answer in answers),
    }


def _powerless(data: EvaluationSet, n_tests: int) -> list[dict[str, str]]:
    """Warn when the cells are too few for any significant difference."""
    n_cells = np.unique(data.cell).size
    least = n_tests * least_p(n_cells)
    if not n_tests or least < LEVEL:
        return []
    text = (
        f"{n_cells} test cells and {n_tests} comparisons are too few for a significant difference: "
        f"the smallest possible corrected p is {min(least, 1):.2f}. Use more test cells, for "
        "example with --folds."
    )
    return [{"level": "note", "text": text}]


def _unfinished(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Say how many trainings ended before their plateau."""
    known = [row["training"] for row in rows if row["training"]]
    known = [training for training in known if training["at_plateau"] is not None]
    total = sum(len(training["best_epochs"]) for training in known)
    early = total - sum(training["at_plateau"] for training in known)
    if not early:
        return []
    text = (
        f"{early} of {count(total, 'training')} ended before the plateau: validation was still "
        "becoming better in the last fifth of the epochs. More epochs may change these rows and "
        "their order."
    )
    return [{"level": "note", "text": text}]


def _put_together(
    name: str, runs: Sequence[Run], answers: Sequence[dict[str, Any]]
) -> list[Answers]:
    """Put the folds of a method together, seed by seed."""
    own = [(run, said) for run, said in zip(runs, answers, strict=True) if run.method.id == name]
    found = []
    for seed in dict.fromkeys(run.seed for run, _ in own):
        parts = [(run, said) for run, said in own if run.seed == seed]
        order = np.argsort(np.concatenate([run.data.rows for run, _ in parts]))

        def joined(key: str, parts: Any = parts, order: Any = order) -> Floats:
            whole = np.concatenate([np.asarray(said[key], np.float64) for _, said in parts])
            return np.asarray(whole[order])

        has_values = parts[0][1]["values"] is not None
        found.append(
            Answers(
                seed,
                joined("probabilities"),
                joined("expected_um"),
                joined("values") if has_values else None,
                [said for _, said in parts],
            )
        )
    return found


def _judge(method: Method, answers: Sequence[Answers], data: EvaluationSet) -> dict[str, Any]:
    """Evaluate one method; its seeds are pooled, intervals are still over cells."""

    def judged(depths_um: Floats, part: Sequence[Answers]) -> dict[str, Any]:
        known = np.concatenate([one.answered for one in part])
        return evaluate(
            np.concatenate([one.probabilities for one in part])[known],
            np.tile(depths_um, len(part))[known],
            data.archive.class_depths_um,
            np.tile(data.cell, len(part))[known],
            data.archive.header.optics.depth_of_field_um,
            expected_um=np.concatenate([one.expected_um for one in part])[known],
        )

    _check_answered(method, answers, data)

    pooled = judged(data.depth_um, answers)
    by_label = judged(data.labels_um, answers)
    each = [judged(data.depth_um, [one]) for one in answers] if len(answers) > 1 else []
    runs = [run for one in answers for run in one.runs]
    settings = {**runs[0]["settings"], **({"split": data.title} if data.folds else {})}
    return {
        "id": method.id,
        "label": (method.label or title(settings) or method.id) + _of_cells(answers[0], data),
        "kind": method.kind,
        "sees": method.sees,
        "settings": settings,
        "seeds": [one.seed for one in answers if one.seed is not None],
        "seconds": sum(run["seconds"] for run in runs),
        "cost": _cost([run["cost"] for run in runs]),
        "training": _training([run.get("training") for run in runs]),
        "metrics": {key: _with_interval(pooled, key) for key in METRICS},
        "per_seed": [{key: one[key] for key in METRICS} for one in each],
        "seed_spread": {key: spread([one[key] for one in each]) for key in METRICS},
        "by_label": {key: by_label[key] for key in ("top1", "mae_um")},
        "calibration_error": pooled["calibration_error"] if method.calibrated else None,
        "reliability": pooled["reliability"] if method.calibrated else None,
        "per_class": pooled["per_class"],
        "confusion": pooled["confusion"],
        "paper": paper_row(settings),
    }


def _check_answered(method: Method, answers: Sequence[Answers], data: EvaluationSet) -> None:
    if not all(one.answered.any() for one in answers):
        raise FgafError(
            f"{method.id!r} has no answer for any of the {np.unique(data.cell).size} test cells; "
            "leave it out, or test other cells with --split or --folds"
        )


def _of_cells(answers: Answers, data: EvaluationSet) -> str:
    """Give the number of cells that a method answered, unless it answered all."""
    if answers.answered.all():
        return ""
    known = np.unique(data.cell[answers.answered]).size
    return f" ({known} of {count(np.unique(data.cell).size, 'cell')})"


def _cost(costs: Sequence[dict[str, float] | None]) -> dict[str, float] | None:
    """Median of what each run measured."""
    known = [cost for cost in costs if cost]
    return {key: median(cost[key] for cost in known) for key in known[0]} if known else None


def _training(trainings: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Epochs of each run, how many were at their plateau, and hours of one core of all."""
    known = [training for training in trainings if training]
    if not known:
        return None
    validated = [one for one in known if one["best_epoch"] is not None]
    return {
        "epochs": [one["epochs"] for one in known],
        "best_epochs": [one["best_epoch"] for one in validated],
        "at_plateau": sum(one["at_plateau"] for one in validated) if validated else None,
        "core_hours": sum(one["core_s"] for one in known) / 3600,
    }


def _scores(answers: Answers, data: EvaluationSet) -> dict[str, Floats]:
    """The compared metrics of each patch, (N,); NaN if there is no answer."""
    grid = data.archive.class_depths_um
    truth = nearest_class(data.depth_um, grid)
    decided = _decided(answers, data)
    right = answers.probabilities.argmax(axis=1) == truth
    return {
        "top1": np.where(answers.answered, right, np.nan),
        "mae_um": np.abs(decided - data.depth_um),
        "expected_mae_um": np.abs(answers.expected_um - data.depth_um),
    }


def _decided(answers: Answers, data: EvaluationSet) -> Floats:
    """Depth of each patch's most likely class, (N,) µm; NaN if there is no answer."""
    depths = data.archive.class_depths_um[answers.probabilities.argmax(axis=1)]
    return np.where(answers.answered, depths, np.nan)


def _with_interval(judged: dict[str, Any], key: str) -> dict[str, float | None]:
    low, high = judged["intervals"][key] or (None, None)
    return {"value": judged[key], "low": low, "high": high}


def _distinct(things: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for thing in things:
        if thing not in found:
            found.append(thing)
    return found


def focus_curve(values: Floats, data: EvaluationSet) -> dict[str, Any]:
    """Average a focus measure over the test cells, each scaled to 0..1, as in Fig. 6.

    Parameters
    ----------
    values
        (N,) the measure of each test patch.
    data
        Gives the depth of each patch.

    Returns
    -------
    dict
        `depth_um`, `mean`, `low` and `high` (quartiles) per depth class, and `peak_at_focus`,
        the share of the `cells` whose peak is at most half a step from the focus.
    """
    off = np.abs(peak_offsets(values, data.depth_um, data.cell))
    half = data.archive.header.step_um / 2 + 1e-9
    return {
        **mean_curve(values, data.depth_um, data.cell, data.archive.class_depths_um),
        "peak_at_focus": float((off <= half).mean()),
        "cells": int(off.size),
    }


def _cells_by_error(decided_um: Floats, data: EvaluationSet) -> list[dict[str, Any]]:
    """List the cells with the largest errors, and the median cell to compare with."""
    error = np.abs(decided_um - data.depth_um)
    grid = data.archive.class_depths_um
    known = np.isfinite(decided_um)
    right = np.zeros(known.size, dtype=bool)
    right[known] = nearest_class(decided_um[known], grid) == nearest_class(
        data.depth_um[known], grid
    )
    cells = np.unique(data.cell[known])
    mean = np.array([error[data.cell == cell].mean() for cell in cells])
    order = np.argsort(-mean, kind="stable")
    chosen = [("hardest", k) for k in order[:HARDEST] if mean[k] > 0]
    middle = order[cells.size // 2]
    if middle not in order[:HARDEST]:
        chosen.append(("typical", middle))
    listed = []
    for why, k in chosen:
        here = np.flatnonzero(data.cell == cells[k])
        listed.append(
            {
                "why": why,
                "cell": int(cells[k]),
                "id": str(data.archive.cells.id[cells[k]]),
                "mae_um": float(mean[k]),
                "rows": data.rows[here].tolist(),
                "depth_um": data.depth_um[here].tolist(),
                "said_um": decided_um[here].tolist(),
                "right": right[here].tolist(),
            }
        )
    return listed
