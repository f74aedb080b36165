"""The outcome of a benchmark of detection in words, and as a table for a terminal."""

from __future__ import annotations

from typing import Any

from fgaf.base.console import count
from fgaf.model.bench.statistics import significance


def headline(results: dict[str, Any]) -> str:
    """What the first method reaches, and which of all methods is the best.

    Parameters
    ----------
    results
        From `fgaf.model.bench.detection.judge.judge`.
    """
    methods = results["methods"]
    first, *others = methods
    best = next(row for row in methods if row["against_best"] is None)
    reached = _reached(first, results)
    if not others:
        return f"{first['label']}: {reached}."
    if first is not best:
        return (
            f"{first['label']} is not the best of {count(len(methods), 'method')}: {reached}, "
            f"{significance(first['against_best'])} worse than {_with_f1(best)}."
        )
    after = max(others, key=lambda row: float(row["f1"]["value"]))
    return (
        f"{first['label']} is the best of {count(len(methods), 'method')}: {reached}; the next, "
        f"{_with_f1(after)}, is {significance(after['against_best'])} worse."
    )


def _reached(row: dict[str, Any], results: dict[str, Any]) -> str:
    recall, precision, f1 = (row[name] for name in ("recall", "precision", "f1"))
    fields = count(results["fields"], "field")
    if row["score"] is None:
        return f"nothing found in {fields}"
    return (
        f"{100 * recall['value']:.0f} % of {count(results['heads'], 'head')} found"
        f"{_interval(recall)} in {fields}, "
        f"{100 * precision['value']:.0f} % of the finds are heads{_interval(precision)}; "
        f"F1 {f1['value']:.2f} at score {row['score']:.2f}, at best {row['best']['f1']:.2f} at "
        f"{row['best']['score']:.2f}"
    )


def _with_f1(row: dict[str, Any]) -> str:
    return f"{row['label']} (F1 {row['f1']['value']:.2f})"


def table(results: dict[str, Any]) -> str:
    """Lay out the figures of all methods, and of the first for each group, for a terminal."""
    methods = results["methods"]
    first = methods[0]
    named = [(row["label"], row) for row in methods]
    groups = (
        [(f"  {row['name']}", row) for row in first["groups"]] if (len(first["groups"]) > 1) else []
    )
    lines = [*named[:1], *groups, *named[1:]]
    width = max(len(name) for name, _ in lines)
    head = f"{'':{width}}  heads  recall %  precision %    F1  centre off µm"
    return "\n".join([head, *(f"{name:{width}}  {_figures(row)}" for name, row in lines)])


def _figures(row: dict[str, Any]) -> str:
    recall, precision, f1 = (row[name]["value"] for name in ("recall", "precision", "f1"))
    off = row["centre_error"]["median_um"]
    shown = "–" if off is None else f"{off:.2f}"
    return f"{row['heads']:5}  {100 * recall:8.1f}  {100 * precision:11.1f}  {f1:.2f}  {shown:>13}"


def _interval(rate: dict[str, float | None]) -> str:
    if rate["low"] is None or rate["high"] is None:
        return ""
    return f" (95 % interval {100 * rate['low']:.0f} to {100 * rate['high']:.0f} %)"
