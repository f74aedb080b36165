"""The report of a benchmark: one self-contained HTML file, for screen and print."""

from __future__ import annotations

from typing import Any, Final

from fgaf.dataset.archive import Archive
from fgaf.model.bench.report import figures
from fgaf.model.bench.report.drawing import colour_of
from fgaf.model.bench.report.motility_figure import beside_curves
from fgaf.model.bench.report.page import difference, number, render
from fgaf.model.bench.report.pareto import pareto
from fgaf.model.bench.report.pictures import pictured
from fgaf.model.bench.statistics import LEVEL, verdict

TABLE: Final = (
    ("mae_um", "Mean error", "µm", 1.0, 2),
    ("top1", "Top-1", "%", 100.0, 1),
    ("expected_mae_um", "Mean error, continuous", "µm", 1.0, 2),
    ("p95_um", "95 % of errors below", "µm", 1.0, 2),
    ("within_one", "Within one step", "%", 100.0, 1),
    ("top3", "Top-3", "%", 100.0, 1),
)
"""Columns of the table of methods: metric, heading, unit, factor, decimals.

The first is the one of the headline: a phone shows it beside the name."""
COMPARED: Final = (
    ("mae_um", "Mean error", "µm", 1.0, 3),
    ("top1", "Top-1", "points", 100.0, 1),
    ("expected_mae_um", "Mean error, continuous", "µm", 1.0, 3),
)
"""Columns of the tables of differences, likewise."""
PAPER: Final = (
    ("top1", "Top-1", "%"),
    ("top3", "Top-3", "%"),
    ("error", "Mean error ± std", "µm"),
    ("variance", "Variance", "µm²"),
    ("parameters", "Parameters", "M"),
    ("latency", "Time", "ms"),
)
"""Columns of the comparison with the paper, each with our figure and the paper's."""
HIGHER_IS_BETTER: Final = ("top1", "top3", "within_one")
OPTICS: Final = (
    ("magnification", "{:g}×"),
    ("numerical_aperture", "NA {:g}"),
    ("wavelength_um", "wavelength {:g} µm"),
    ("pixel_size_um", "pixel {:g} µm in the specimen"),
    ("medium_index", "refractive index {:g} in front of the objective"),
)
"""Text of each number of the optics."""
MOST_MATRICES: Final = 30
"""Small confusion matrices shown beside that of the reference."""


def render_report(results: dict[str, Any], archive: Archive) -> str:
    """Render the report.

    Parameters
    ----------
    results
        From `fgaf.model.bench.results.judge_runs` or ``results.json``.
    archive
        The benchmark's data; the pictures of cells come from it.

    Returns
    -------
    str
        HTML that contains its styles, figures and pictures; no scripts, no external references.
    """
    methods, reference = results["methods"], results["reference"]
    chosen = next(row for row in methods if row["id"] == reference)
    costly = [row for row in methods if row["cost"]]
    return render(
        "report.html",
        r=results,
        chosen=chosen,
        columns=TABLE,
        table=[_cells(row, methods) for row in methods],
        compared=COMPARED,
        differences=[
            {"label": row["label"], "tests": _tested(row["against_reference"])}
            for row in methods
            if row["against_reference"]
        ],
        pairs=_pairs(results["pairs"]),
        paper_columns=PAPER,
        paper=[_beside_paper(row) for row in methods if row["paper"]],
        trainings=[_training(row) for row in methods if row["training"]],
        costs=[_cost(number, row) for number, row in enumerate(costly, start=1)],
        calibrated=[row for row in methods if row["reliability"]],
        figures=_figures(results, chosen, costly),
        cells=[
            {**cell, "planes": pictured(cell, archive), "error": number(cell["mae_um"], 2)}
            for cell in results["cells"]
        ],
        difference=difference,
        level=LEVEL,
        optics=[
            text.format(results["data"]["optics"][key])
            for key, text in OPTICS
            if results["data"]["optics"][key] is not None
        ],
    )


def _figures(
    results: dict[str, Any], chosen: dict[str, Any], costly: list[dict[str, Any]]
) -> dict[str, Any]:
    """Draw all figures; a figure without data is empty."""
    methods, reference = results["methods"], results["reference"]
    telling = _telling(methods, reference)
    sure = [row for row in telling if row["reliability"]]
    others = [row for row in methods if row is not chosen and row["sees"] != "nothing"]
    drawn: dict[str, Any] = {
        "top1": figures.intervals(methods, reference, "top1", 100.0, "top-1 (%)"),
        "mae": figures.intervals(methods, reference, "mae_um", 1.0, "mean error (µm)"),
        "confusion": figures.confusion(chosen),
        "confusions": [
            (row["label"], figures.confusion(row, small=True)) for row in others[:MOST_MATRICES]
        ],
        "by_depth": figures.error_by_depth(telling, reference),
        "reliability": figures.reliability(sure, reference) if sure else "",
        "latency": pareto(costly, reference, "answer_ms") if len(costly) > 1 else "",
        "parameters": pareto(costly, reference, "parameters") if len(costly) > 1 else "",
        "curves": "",
        "beside": beside_curves(results["beside"]) if results["beside"] else "",
    }
    if results["focus_curves"]:
        drawn["curves"] = figures.focus_curves(results["focus_curves"], results["data"]["step_um"])
    return drawn


def _cells(row: dict[str, Any], methods: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the table of methods as text."""
    values = []
    for key, _heading, _unit, factor, decimals in TABLE:
        metric, spread = row["metrics"][key], row["seed_spread"][key]
        shown = [number(factor * other["metrics"][key]["value"], decimals) for other in methods]
        pick = max if key in HIGHER_IS_BETTER else min
        own = number(factor * metric["value"], decimals)
        values.append(
            {
                "value": own,
                "interval": _range(metric, factor, decimals),
                "best": float(own) == pick(float(text) for text in shown),
                "spread": number(factor * spread["std"], decimals) if spread else "",
            }
        )
    return {"row": row, "values": values}


def _range(metric: dict[str, Any], factor: float, decimals: int) -> str:
    if metric["low"] is None:
        return ""
    low, high = (number(factor * metric[end], decimals) for end in ("low", "high"))
    return f"{low} to {high}"


def _tested(tests: dict[str, Any]) -> list[dict[str, str]]:
    """Write differences as text, with their verdict."""
    parts = []
    for key, _heading, _unit, factor, decimals in COMPARED:
        test, interval = tests[key], ""
        if test["low"] is not None:
            low, high = (difference(factor * test[end], decimals) for end in ("low", "high"))
            interval = f"{low} to {high}"
        spread = test["seed_spread"]
        parts.append(
            {
                "value": difference(factor * test["value"], decimals),
                "interval": interval,
                "verdict": verdict(test, key in HIGHER_IS_BETTER),
                "p": _p_text(test["p_holm"]),
                "spread": ""
                if spread is None
                else " to ".join(
                    difference(factor * spread[end], decimals) for end in ("least", "most")
                ),
            }
        )
    return parts


def _p_text(p: float | None) -> str:
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _pairs(pairs: dict[str, Any] | None) -> dict[str, Any] | None:
    if pairs is None:
        return None
    listed = [
        {
            "label": pair["label"],
            "over": pair["over_label"],
            "tests": _tested(pair["gain"]),
            "paper": "" if pair["paper"] is None else difference(100 * pair["paper"]["top1"], 1),
        }
        for pair in pairs["listed"]
    ]
    return {
        "of_fgaf": pairs["n_fgaf"] == len(listed),
        "n_fgaf": pairs["n_fgaf"],
        "listed": listed,
        "mean": _tested(pairs["mean"]) if pairs["mean"] else None,
        "has_paper": any(pair["paper"] for pair in listed),
    }


def _beside_paper(row: dict[str, Any]) -> dict[str, Any]:
    """Our figures and the paper's, in the order of `PAPER`; "–" if there is none."""
    metrics, cost, paper = row["metrics"], row["cost"] or {}, row["paper"]
    error = [(metrics[key]["value"], paper[key]) for key in ("mae_um", "std_um")]
    pairs = [
        _both(metrics["top1"]["value"], paper["top1"], 100, 1),
        _both(metrics["top3"]["value"], paper["top3"], 100, 1),
        tuple(
            " ± ".join(_known(part[k], 1, 2) for part in error) if error[0][k] is not None else "–"
            for k in (0, 1)
        ),
        _both(metrics["var_um2"]["value"], paper["var_um2"], 1, 3),
        _both(cost.get("parameters"), paper["parameters_m"], 1, 1, ours=1e-6),
        _both(cost.get("latency_ms"), paper["latency_ms"], 1, 1),
    ]
    return {"label": row["label"], "row": paper["row"], "pairs": pairs}


def _both(
    mine: float | None,
    theirs: float | None,
    factor: float,
    decimals: int,
    ours: float | None = None,
) -> tuple[str, str]:
    return _known(mine, ours or factor, decimals), _known(theirs, factor, decimals)


def _known(value: float | None, factor: float, decimals: int) -> str:
    return "–" if value is None else number(factor * value, decimals)


def _cost(place: int, row: dict[str, Any]) -> dict[str, Any]:
    cost, metrics = row["cost"], row["metrics"]
    return {
        "number": place,
        "label": row["label"],
        "values": [
            number(metrics["mae_um"]["value"], 2),
            number(cost["answer_ms"], 1),
            number(100 * metrics["top1"]["value"], 1),
            number(cost["latency_ms"], 1),
            number(cost["parameters"] / 1e6, 2),
            number(cost["macs"] / 1e6, 0),
        ],
    }


def _training(row: dict[str, Any]) -> dict[str, Any]:
    """Epochs and time of a method's trainings as text; "–" without validation cells."""
    training, plateau = row["training"], "–"
    if training["at_plateau"] is not None:
        plateau = f"{training['at_plateau']} of {len(training['best_epochs'])}"
    return {
        "label": row["label"],
        "values": [
            ", ".join(map(str, training["epochs"])),
            ", ".join(map(str, training["best_epochs"])) or "–",
            plateau,
            number(training["core_hours"], 2),
        ],
    }


def _telling(methods: list[dict[str, Any]], reference: str) -> list[dict[str, Any]]:
    """Rows to draw against depth or confidence: the reference, and the best of each other kind."""
    chosen = []
    for colour in ("accent", "second", "rival", "other", "plain"):
        rows = [row for row in methods if colour_of(row, reference) == colour]
        rows.sort(key=lambda row: float(row["metrics"]["mae_um"]["value"]))
        chosen += rows[:1]
    return chosen
