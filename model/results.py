"""Results of a benchmark: every method judged alike, compared, and summed up in a sentence."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.model.exam import Exam, describe, label_error, notices
from fgaf.model.methods import Method
from fgaf.model.metrics import DRAWS, evaluate, nearest_class
from fgaf.model.preset import Preset

Floats = NDArray[np.float64]

METRICS: Final = (
    "top1",
    "top3",
    "within_one",
    "mae_um",
    "std_um",
    "rmse_um",
    "p95_um",
    "bias_um",
    "expected_mae_um",
    "expected_rmse_um",
    "expected_p95_um",
)
"""The metrics that results hold per method, with intervals."""
COMPARED: Final = ("top1", "mae_um", "expected_mae_um")
"""The metrics whose paired differences to the reference are given."""
HARDEST: Final = 4
"""How many cells are shown that the reference errs most on."""


def judge_runs(
    preset: Preset, exam: Exam, asked: Sequence[Method], answers: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Judge the answers of all runs: one row per method, and what a reader must know.

    Parameters
    ----------
    preset, exam
        What was compared, on which cells.
    asked, answers
        The method and the answers of each run.

    Returns
    -------
    dict
        What ``results.json`` holds.
    """
    rows, scores = {}, {}
    for method in preset.methods:
        own = [answer for who, answer in zip(asked, answers, strict=True) if who is method]
        rows[method.id] = _judge(method, own, exam)
        scores[method.id] = _scores(own, exam)
    for name, row in rows.items():
        row["against_reference"] = None
        if name != preset.reference:
            row["against_reference"] = {
                key: paired_difference(scores[name][key], scores[preset.reference][key], exam.cell)
                for key in COMPARED
            }
    curves = [
        {
            "id": method.id,
            "label": rows[method.id]["label"],
            **focus_curve(np.asarray(answer["values"]), exam),
        }
        for method, answer in zip(asked, answers, strict=True)
        if answer["values"] is not None
    ]
    reference = next(
        answer for who, answer in zip(asked, answers, strict=True) if who.id == preset.reference
    )
    return {
        "format": "fgaf-benchmark",
        "format_version": 1,
        "headline": headline(list(rows.values()), preset.reference, exam),
        "summary": summary(list(rows.values()), preset.reference, exam),
        "notices": notices(exam),
        "judged_by": exam.judged_by,
        "circular": exam.circular,
        "preset": preset.name,
        "description": preset.description,
        "reference": preset.reference,
        "data": describe(exam),
        "methods": list(rows.values()),
        "label_error": label_error(exam),
        "focus_curves": curves,
        "cells": _cells_by_error(_decided(reference, exam), exam),
        "versions": reference["versions"],
        "machine": reference["machine"],
    }


def paired_difference(
    scores: Floats, reference: Floats, cell: NDArray[Any], seed: int = 0
) -> dict[str, float | None]:
    """Mean difference to the reference on the same patches, with a 95 % interval over cells.

    Parameters
    ----------
    scores, reference
        (N,) the same metric per patch, of two methods.
    cell
        (N,) the cell of each patch; the bootstrap draws whole cells.
    seed
        Of the bootstrap.

    Returns
    -------
    dict
        `value`, `low`, `high`; the latter None with fewer than two cells.
    """
    members, index = np.unique(cell, return_inverse=True)
    difference = scores - reference
    n = members.size
    if n < 2:
        return {"value": float(difference.mean()), "low": None, "high": None}
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    drawn = (weights @ np.bincount(index, difference)) / (weights @ np.bincount(index))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": float(difference.mean()), "low": float(low), "high": float(high)}


def headline(methods: Sequence[dict[str, Any]], reference: str, exam: Exam) -> str:
    """Say the outcome in one sentence, and by what it was judged if not by the truth."""
    row = next(row for row in methods if row["id"] == reference)
    said = (
        f"{row['label']} finds the depth of a single image to "
        f"{row['metrics']['mae_um']['value']:.2f} µm on average"
    )
    if exam.circular:
        said = f"Judged by unconfirmed labels of a focus measure, {said}"
    elif exam.judged_by == "labels":
        said = f"Judged by the archive's labels, {said}"
    rivals = [other for other in _searches(methods, "peak") if other is not row]
    if not rivals:
        return f"{said}."
    beaten = [other for other in rivals if _is_beaten(other)]
    measures = "focus measure" if len(rivals) == 1 else "focus measures"
    if len(beaten) == len(rivals):
        which = "the" if len(rivals) == 1 else f"each of the {len(rivals)}"
        return f"{said} and beats {which} {measures} that search the whole stack for its peak."
    if not beaten:
        return f"{said}; it does not clearly beat depth from focus."
    left = " or ".join(other["label"] for other in rivals if other not in beaten)
    return f"{said} and clearly beats {len(beaten)} of {len(rivals)} {measures}, but not {left}."


def summary(methods: Sequence[dict[str, Any]], reference: str, exam: Exam) -> str:
    """Give the figures behind the headline, with intervals."""
    row = next(row for row in methods if row["id"] == reference)
    classes = exam.archive.n_classes
    said = [
        f"{row['label']}: mean error {_metric(row, 'mae_um')}, "
        f"the right one of {classes} depth classes in {_metric(row, 'top1')} of images."
    ]
    kinds = (("peak", "Best focus measure, "), ("phase", ""))
    for rule, what in kinds:
        rivals = [other for other in _searches(methods, rule) if other is not row]
        if rivals:
            best = min(rivals, key=lambda other: float(other["metrics"]["mae_um"]["value"]))
            said.append(
                f"{what}{best['label']}: {_metric(best, 'mae_um')} and {_metric(best, 'top1')}."
            )
    return " ".join(said)


def _searches(methods: Sequence[dict[str, Any]], rule: str) -> list[dict[str, Any]]:
    """Rows of depth from focus by one rule."""
    return [row for row in methods if row["kind"] == "focus" and row["settings"]["rule"] == rule]


def results_csv(results: dict[str, Any]) -> str:
    """One line per method: every metric with the ends of its interval."""
    text = io.StringIO()
    columns = [f"{key}{end}" for key in METRICS for end in ("", "_low", "_high")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label", "kind", "seeds", "judged_by", *columns])
    for row in results["methods"]:
        numbers = [row["metrics"][key][end] for key in METRICS for end in ("value", "low", "high")]
        seeds = " ".join(str(seed) for seed in row["seeds"])
        writer.writerow(
            [row["id"], row["label"], row["kind"], seeds, results["judged_by"], *numbers]
        )
    return text.getvalue()


def _is_beaten(row: dict[str, Any]) -> bool:
    """Whether the reference is better by both top-1 and MAE, beyond the intervals."""
    top1, mae = row["against_reference"]["top1"], row["against_reference"]["mae_um"]
    return top1["high"] is not None and top1["high"] < 0 < mae["low"]


def _judge(method: Method, answers: Sequence[dict[str, Any]], exam: Exam) -> dict[str, Any]:
    """Judge one method; its seeds are pooled, intervals are still over cells."""

    def judged(depths_um: Floats, part: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return evaluate(
            np.concatenate([answer["probabilities"] for answer in part]),
            np.tile(depths_um, len(part)),
            exam.archive.class_depths_um,
            np.tile(exam.cell, len(part)),
            exam.archive.header.optics.depth_of_field_um,
            expected_um=np.concatenate([answer["expected_um"] for answer in part]),
        )

    pooled = judged(exam.depth_um, answers)
    by_label = judged(exam.labels_um, answers)
    seeds = [answer["seed"] for answer in answers if answer["seed"] is not None]
    each = [judged(exam.depth_um, [answer]) for answer in answers] if len(seeds) > 1 else []
    return {
        "id": method.id,
        "label": method.label or _title(answers[0]["settings"]) or method.id,
        "kind": method.kind,
        "sees": method.sees,
        "settings": answers[0]["settings"],
        "seeds": seeds,
        "seconds": sum(answer["seconds"] for answer in answers),
        "metrics": {key: _with_interval(pooled, key) for key in METRICS},
        "per_seed": [{key: one[key] for key in METRICS} for one in each],
        "by_label": {key: by_label[key] for key in ("top1", "mae_um")},
        "calibration_error": pooled["calibration_error"],
        "per_class": pooled["per_class"],
        "confusion": pooled["confusion"],
        "paper": paper_row(answers[0]["settings"]),
    }


def paper_row(settings: dict[str, Any]) -> dict[str, float] | None:
    """Table I's row for a backbone, bare or with the whole module; None for all else."""
    rows = _paper()["fgaf" if settings.get("fgaf") else "bare"]
    if settings.get("backbone") not in rows:
        return None
    if settings["fgaf"] and not (settings["fg"] and settings["af"]):
        return None
    top1, top3, mean, deviation = rows[settings["backbone"]]
    return {"top1": top1 / 100, "top3": top3 / 100, "mae_um": mean, "std_um": deviation}


def _title(settings: dict[str, Any]) -> str:
    """Name a network by its backbone and whether it carries the module."""
    if "backbone" not in settings:
        return ""
    title: str = _paper()["titles"][settings["backbone"]]
    return f"{title} with FGAF" if settings["fgaf"] else title


def _paper() -> dict[str, Any]:
    text = (files("fgaf.model") / "paper.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _with_interval(judged: dict[str, Any], key: str) -> dict[str, float | None]:
    low, high = judged["intervals"][key] or (None, None)
    return {"value": judged[key], "low": low, "high": high}


def _decided(answer: dict[str, Any], exam: Exam) -> Floats:
    """Depth of each patch's likeliest class, (N,) µm."""
    best = np.asarray(answer["probabilities"], dtype=np.float64).argmax(axis=1)
    depths: Floats = exam.archive.class_depths_um[best]
    return depths


def _scores(answers: Sequence[dict[str, Any]], exam: Exam) -> dict[str, Floats]:
    """Each patch's own share of the compared metrics, (N,), averaged over seeds."""
    grid = exam.archive.class_depths_um
    truth = nearest_class(exam.depth_um, grid)
    decided = [_decided(answer, exam) for answer in answers]
    expected = [np.asarray(answer["expected_um"], dtype=np.float64) for answer in answers]
    return {
        "top1": np.mean([nearest_class(said, grid) == truth for said in decided], axis=0),
        "mae_um": np.mean([np.abs(said - exam.depth_um) for said in decided], axis=0),
        "expected_mae_um": np.mean([np.abs(said - exam.depth_um) for said in expected], axis=0),
    }


def focus_curve(values: Floats, exam: Exam) -> dict[str, Any]:
    """Average a focus measure over the test cells, each scaled to 0..1, as in Fig. 6.

    Parameters
    ----------
    values
        (N,) the measure of each test patch.
    exam
        Says at which depth each patch is.

    Returns
    -------
    dict
        `depth_um`, `mean`, `low` and `high` (quartiles) per depth class, and `peak_at_focus`,
        the share of the `cells` whose peak is at most half a step from the focus.
    """
    scaled = np.zeros_like(values)
    at_focus, cells = 0, np.unique(exam.cell)
    for cell in cells:
        here = exam.cell == cell
        low, high = values[here].min(), values[here].max()
        scaled[here] = (values[here] - low) / (high - low) if high > low else 0.0
        offset = abs(float(exam.depth_um[here][values[here].argmax()]))
        at_focus += offset <= exam.archive.header.step_um / 2 + 1e-9
    grid = exam.archive.class_depths_um
    near = nearest_class(exam.depth_um, grid)
    held = [scaled[near == k] for k in range(grid.size)]
    return {
        "depth_um": [float(z) for z, part in zip(grid, held, strict=True) if part.size],
        "mean": [float(part.mean()) for part in held if part.size],
        "low": [float(np.percentile(part, 25)) for part in held if part.size],
        "high": [float(np.percentile(part, 75)) for part in held if part.size],
        "peak_at_focus": at_focus / cells.size,
        "cells": int(cells.size),
    }


def _cells_by_error(decided_um: Floats, exam: Exam) -> list[dict[str, Any]]:
    """List the cells with the largest errors, and the median cell to compare with."""
    error = np.abs(decided_um - exam.depth_um)
    grid = exam.archive.class_depths_um
    right = nearest_class(decided_um, grid) == nearest_class(exam.depth_um, grid)
    cells = np.unique(exam.cell)
    mean = np.array([error[exam.cell == cell].mean() for cell in cells])
    order = np.argsort(-mean, kind="stable")
    chosen = [("hardest", k) for k in order[:HARDEST] if mean[k] > 0]
    middle = order[cells.size // 2]
    if middle not in order[:HARDEST]:
        chosen.append(("typical", middle))
    listed = []
    for why, k in chosen:
        here = np.flatnonzero(exam.cell == cells[k])
        listed.append(
            {
                "why": why,
                "cell": int(cells[k]),
                "id": str(exam.archive.cells.id[cells[k]]),
                "mae_um": float(mean[k]),
                "rows": exam.rows[here].tolist(),
                "depth_um": exam.depth_um[here].tolist(),
                "said_um": decided_um[here].tolist(),
                "right": right[here].tolist(),
            }
        )
    return listed


def _metric(row: dict[str, Any], key: str) -> str:
    """Write one metric of a method with unit and interval."""
    metric = row["metrics"][key]
    factor, decimals, unit = (1, 2, "µm") if key.endswith("_um") else (100, 0, "%")
    text = f"{factor * metric['value']:.{decimals}f} {unit}"
    if metric["low"] is None:
        return text
    low, high = (f"{factor * metric[end]:.{decimals}f}" for end in ("low", "high"))
    return f"{text} (95 % interval {low} to {high})"
