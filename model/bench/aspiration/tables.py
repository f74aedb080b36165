"""The outcome of a benchmark of aspiration: one sentence, a terminal's table, and CSV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from fgaf.base.csv_tables import write_table
from fgaf.model.bench.aspiration.causes import Cause
from fgaf.model.bench.aspiration.summary import MEASURES


def results_csv(results: dict[str, Any]) -> str:
    """One line for each row, named as in ``results.json``; of the paper where it has the row."""
    ends = ("value", "low", "high")
    headings = ["row", "label", "group", "trials", "successes"]
    headings += [f"success_{end}" for end in ends]
    headings += ["paper_successes", "paper_trials", "paper_low", "paper_high", "paper_p"]
    headings += [f"{name}_{end}" for name, _, _ in MEASURES for end in ends]
    headings += ["rim_contacts", "dish_contacts", "tip_gap_um", "passed_over", "agreement"]
    headings += [str(cause) for cause in Cause]
    rows: list[list[Any]] = []
    for row in results["rows"]:
        paper = row["paper"] or {}
        line = [row["id"], row["label"], row["group"], row["trials"], row["successes"]]
        line += [row["success"][end] for end in ends]
        line += [paper.get("successes"), paper.get("trials")]
        line += [paper.get("success", {}).get(end) for end in ("low", "high")]
        line.append(paper.get("p"))
        line += [(row["measures"][name] or {}).get(end) for name, _, _ in MEASURES for end in ends]
        line += [row[key] for key in ("rim_contacts", "dish_contacts", "tip_gap_um")]
        line += [row["passed_over"], row["agreement"]]
        rows.append([*line, *(row["causes"].get(str(cause), 0) for cause in Cause)])
    text = io.StringIO(newline="")
    write_table(text, headings, rows)
    return text.getvalue()


def share(row: dict[str, Any]) -> str:
    """Write a share of successes with its interval, in percent.

    Parameters
    ----------
    row
        With `value`, `low` and `high`; of `fgaf.model.bench.aspiration.summary.wilson`.
    """
    if row["value"] is None:
        return "–"
    return f"{100 * row['value']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def headline(results: dict[str, Any]) -> str:
    """Success with the depth network on cells of both kinds, or the first rows."""
    rows = [row for row in results["rows"] if row["trials"]]
    if not rows:
        return "No trial was made."
    by_id = {row["id"]: row for row in rows}
    shown = [by_id[name] for name in ("immotile-network", "motile-network") if name in by_id]
    told = [f"{row['label']} {share(row['success'])}" for row in shown or rows[:2]]
    return f"Drawn in and kept in view: {'; '.join(told)}"


def table(results: dict[str, Any]) -> str:
    """Lay out the main figures for a terminal."""
    width = max(len(row["label"]) for row in results["rows"])
    lines = [f"{'':{width}}  trials  success % (95 %)        most frequent cause of failure"]
    for row in results["rows"]:
        cause = max(row["causes"], key=row["causes"].get, default="")
        often = f"{cause} ({row['causes'][cause]})" if cause else ""
        line = f"{row['label']:{width}}  {row['trials']:6}  {share(row['success']):22}  {often}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def causes_shown(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Causes that some row has, in their order."""
    return [str(cause) for cause in Cause if any(str(cause) in row["causes"] for row in rows)]
