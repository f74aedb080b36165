"""The outcome of a benchmark of segmentation: one sentence, a terminal's table, and CSV."""

from __future__ import annotations

import io
from typing import Any, Final

from fgaf.base.console import count
from fgaf.base.csv_tables import write_table
from fgaf.model.bench.segmentation.columns import COLUMNS
from fgaf.model.bench.segmentation.judge import COMPARED
from fgaf.model.bench.statistics import significance

_RATES: Final = ("recall", "precision", "f1")
_ERRORS: Final = ("median_px", "p95_px", "median_um", "p95_um")


def results_csv(results: dict[str, Any]) -> str:
    """One line per method and distance from focus, named as in `results.json`.

    The first line of a method, without `distance_um`, is of all patches and has its differences to
    the first method, its cost and, with the prefix ``field_``, its figures on fields.
    """
    headings = [
        *(
            "id",
            "label",
            "distance_um",
            "patches",
            "heads",
            "chosen_epoch",
            "parameters",
            "latency_ms",
        ),
        *(f"{key}{end}" for key, *_ in COLUMNS for end in ("", "_low", "_high")),
        *(f"{key}_difference{end}" for key in COMPARED for end in ("", "_low", "_high", "_p_holm")),
        *(f"field_{key}{end}" for key in _RATES for end in ("", "_low", "_high")),
        *(f"field_centre_{key}" for key in _ERRORS),
    ]
    rows: list[list[Any]] = []
    for row in results["methods"]:
        metrics, field = row["metrics"], row["fields"] or {}
        against = row["against_reference"] or {}
        line = [row["id"], row["label"], None, metrics["n_patches"], metrics["n_heads"]]
        line += [row["chosen_epoch"], row["parameters"], row["latency_ms"], *_figures(metrics)]
        for key in COMPARED:
            test = against.get(key) or {}
            line += [test.get(end) for end in ("value", "low", "high", "p_holm")]
        for key in _RATES:
            line += [field.get(key, {}).get(end) for end in ("value", "low", "high")]
        rows.append([*line, *(field.get("centre_error", {}).get(key) for key in _ERRORS)])
        for part in metrics["per_distance"]:
            line = [row["id"], row["label"], part["distance_um"], part["n_patches"]]
            line += [part["n_heads"], None, None, None, *_figures(part)]
            rows.append(line + [None] * (len(headings) - len(line)))
    text = io.StringIO(newline="")
    write_table(text, headings, rows)
    return text.getvalue()


def _figures(metrics: dict[str, Any]) -> list[float | None]:
    """Metrics, each with the ends of its interval."""
    return [
        value
        for key, *_ in COLUMNS
        for value in (metrics.get(key), *(metrics["intervals"].get(key) or (None, None)))
    ]


def headline(results: dict[str, Any]) -> str:
    """Which method overlaps best, and how the others compare with the first."""
    first, *others = results["methods"]
    if first["metrics"]["iou"] is None:
        return "No test patch shows a head."
    cells = count(results["test_cells"], "test cell")
    told = f"{first['label']}: IoU {first['metrics']['iou']:.3f} on {cells}"
    best = max(results["methods"], key=lambda row: float(row["metrics"]["iou"]))
    if not others:
        return f"{told}."
    if best is first:
        after = max(others, key=lambda row: float(row["metrics"]["iou"]))
        test = after["against_reference"]["iou"]
        return (
            f"{told}, the best of {count(len(results['methods']), 'method')}; the next, "
            f"{after['label']}, is {significance(test)} worse: {difference(test)}."
        )
    test = best["against_reference"]["iou"]
    return f"{told}; {best['label']} is {significance(test)} better: {difference(test)}."


def difference(test: dict[str, Any]) -> str:
    """Write a difference in IoU with its interval.

    Parameters
    ----------
    test
        From `fgaf.model.bench.statistics.paired`.
    """
    text = f"{test['value']:+.3f}"
    if test["low"] is not None:
        text += f" ({test['low']:+.3f} to {test['high']:+.3f})"
    return text.replace("-", "−")


def table(results: dict[str, Any]) -> str:
    """Lay out the main figures for a terminal."""
    width = max(len(row["label"]) for row in results["methods"])
    lines = [
        f"{'':{width}}  {'IoU':>5}  found %  precision %  centre off px: median, 95 %"
        f"  {'ms':>6}  {'parameters':>10}"
    ]
    for row in results["methods"]:
        m = row["metrics"]
        parameters = "" if row["parameters"] is None else f"{row['parameters']:,}".replace(",", " ")
        lines.append(
            f"{row['label']:{width}}  {_shown(m['iou'], 1, 3):>5}  {_shown(m['recall'], 100, 1):>7}"
            f"  {_shown(m['precision'], 100, 1):>11}"
            f"  {_shown(m['centre_median_px'], 1, 2):>21}, {_shown(m['centre_p95_px'], 1, 1):>4}"
            f"  {row['latency_ms']:6.1f}  {parameters:>10}"
        )
    if results["fields"]:
        told = results["fields"]
        lines.append(f"{count(told['heads'], 'head')} in {count(told['fields'], 'field')}:")
        for row in results["methods"]:
            field = row["fields"]
            recall, precision, f1 = (field[key]["value"] for key in _RATES)
            off = [_shown(field["centre_error"][key], 1, 2) for key in ("median_um", "p95_um")]
            lines.append(
                f"{row['label']:{width}}  found {100 * recall:.1f} %, precision "
                f"{100 * precision:.1f} %, F1 {f1:.2f}, centre off {off[0]} µm, 95 % {off[1]} µm"
            )
    return "\n".join(lines)


def _shown(value: float | None, factor: float, decimals: int) -> str:
    return "–" if value is None else f"{factor * value:.{decimals}f}"
