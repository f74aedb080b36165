"""The folder of a run: names of its files, and writing of JSON and CSV."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgaf.base.csv_tables import write_table
from fgaf.base.errors import ExistsError
from fgaf.base.files import publishing
from fgaf.model.inference.predict import CHECKPOINT
from fgaf.model.networks.settings import TaskName
from fgaf.model.training.resume import METRICS, SETTINGS

BEST, LAST = "best.pt", "last.pt"
HISTORY = "history.csv"
PICTURES: dict[TaskName, tuple[str, ...]] = {
    "depth": ("history.png", "confusion.png", "reliability.png", "depths.png"),
    "heads": ("history.png",),
}
REPORT = "report.html"
_COMMON = (CHECKPOINT, BEST, LAST, METRICS, HISTORY, SETTINGS)

Row = dict[str, float]


def files_of(task: TaskName) -> set[str]:
    """Names of all files that a training writes into its folder."""
    return {*_COMMON, *PICTURES[task]}


def require_new_run(out: Path, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that holds another run, or remove that run.

    Parameters
    ----------
    out
        The folder.
    resume
        Whether the run in it is resumed.
    overwrite
        Whether its files may be removed.

    Raises
    ------
    ExistsError
        It contains a run, and neither `resume` nor `overwrite` is set.
    """
    names = {REPORT}.union(*map(files_of, PICTURES))
    old = [out / name for name in sorted(names) if (out / name).exists()]
    if resume:
        return
    if old and not overwrite:
        raise ExistsError(
            f"{out} already contains a training run; choose another folder, or pass --resume or "
            "--overwrite"
        )
    for path in old:
        path.unlink()


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Write metrics as JSON.

    Parameters
    ----------
    path
        The file; an existing one is replaced.
    metrics
        Their values.
    """
    with publishing(path, overwrite=True) as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write the history as CSV.

    Parameters
    ----------
    path
        The file; an existing one is replaced.
    history
        One dict per epoch, at least one.
    """
    with (
        publishing(path, overwrite=True) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        columns = list(history[-1])
        write_table(file, columns, ([row.get(name) for name in columns] for row in history))
