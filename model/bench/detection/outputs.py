"""Files of a benchmark of detection: the figures, every find, and the page."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fgaf.base.csv_tables import write_table
from fgaf.base.files import require_all_new, write_text
from fgaf.model.bench.detection.errors import misses
from fgaf.model.bench.detection.judge import Judged
from fgaf.model.bench.detection.page import detection_page

REPORT, RESULTS, FINDS = "report.html", "results.json", "finds.csv"
COLUMNS: Final = ("image", "y", "x", "score", "outcome")


def require_free(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds the files of another benchmark.

    Parameters
    ----------
    folder
        To be written.
    overwrite
        Whether its files may be replaced.

    Raises
    ------
    ExistsError
        One of them is there.
    """
    require_all_new([folder / name for name in (REPORT, RESULTS, FINDS)], overwrite)


def write(
    folder: Path, results: dict[str, Any], outcomes: Sequence[Judged], overwrite: bool
) -> None:
    """Write ``report.html``, ``results.json`` and ``finds.csv``.

    Parameters
    ----------
    folder
        Where; it is made if it is missing.
    results
        The figures.
    outcomes
        The first method on every field: its finds and misses are listed.
    overwrite
        Whether files may be replaced.
    """
    texts = {
        FINDS: _finds(results, outcomes),
        RESULTS: json.dumps(results, indent=1) + "\n",
        REPORT: detection_page(results, outcomes),
    }
    for name, text in texts.items():
        write_text(folder / name, text, overwrite)


def _finds(results: dict[str, Any], outcomes: Sequence[Judged]) -> str:
    file = io.StringIO(newline="")
    write_table(file, COLUMNS, _rows(results, outcomes))
    return file.getvalue()


def _rows(
    results: dict[str, Any], outcomes: Sequence[Judged]
) -> Iterator[tuple[str, str, str, str, str]]:
    """Finds that are kept, by field and best first; then the missed heads."""
    score = (
        float("inf") if results["methods"][0]["score"] is None else results["methods"][0]["score"]
    )
    for one in outcomes:
        kept = one.at(score, results["head_um"])
        for k in range(len(kept.finds)):
            outcome = "right" if kept.match.right[k] else "false"
            outcome = "neither" if kept.match.neither[k] else outcome
            place = (f"{kept.finds.y[k]:.2f}", f"{kept.finds.x[k]:.2f}")
            yield one.field.name, *place, f"{kept.finds.score[k]:.4f}", outcome
    for miss in misses(outcomes, score, results["head_um"]):
        near = "" if miss.score != miss.score else f"{miss.score:.4f}"
        yield miss.outcome.field.name, f"{miss.y:.2f}", f"{miss.x:.2f}", near, "missed"
