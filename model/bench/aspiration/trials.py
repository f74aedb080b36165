"""The trials of a benchmark as a table on disk: one line each, added as they end."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from fgaf.base.csv_tables import read_table, write_table
from fgaf.base.errors import FgafError, FormatError
from fgaf.base.files import write_text
from fgaf.base.inputs import read_text
from fgaf.base.workers.cluster import on_cluster
from fgaf.base.workers.code import OTHER_CODE, code_digest
from fgaf.base.workers.outcomes import Outcomes as Work
from fgaf.base.workers.processes import in_processes
from fgaf.model.bench.aspiration.conditions import Conditions
from fgaf.model.bench.aspiration.trial import Outcomes, run_trial

DIGITS: Final = 4
"""Decimals of the numbers in the table."""
HEADINGS: Final = ("row", "trial", *(field.name for field in fields(Outcomes)))
"""Columns of the table."""

Record = dict[str, Any]
"""A line of the table: numbers, NaN where there is none."""
Key = tuple[str, int]
"""Row and number of a trial."""


@dataclass(frozen=True)
class Job:
    """A trial as it is given to a process or a worker.

    Attributes
    ----------
    row, number
        Which trial.
    conditions, seed, model
        As for `run_trial`.
    digest
        Of the code, for workers of a cluster.
    """

    row: str
    number: int
    conditions: Conditions
    seed: int
    model: str
    digest: str = ""


def perform(job: Job) -> Record:
    """Make a trial.

    Parameters
    ----------
    job
        Which.

    Returns
    -------
    dict
        Its line of the table.

    Raises
    ------
    FgafError
        This worker runs another version of this software.
    """
    if job.digest and job.digest != digest():
        raise FgafError(OTHER_CODE)
    outcomes = run_trial(job.conditions, job.seed, job.number, job.model)
    return {"row": job.row, "trial": job.number, **_rounded(asdict(outcomes))}


def digest() -> str:
    """Digest of the code of a trial."""
    return code_digest("fgaf.model.bench.aspiration.trial", _every)


def perform_all(
    jobs: Sequence[Job], workers: int, scheduler: str | None, say: Callable[[str], None]
) -> Iterator[Record | Exception]:
    """Make trials in processes of this machine, or on a Dask cluster.

    Parameters
    ----------
    jobs
        The trials.
    workers
        Processes on this machine; not used with a scheduler.
    scheduler
        Address of a Dask scheduler; see `fgaf.base.workers.cluster.on_cluster`.
    say
        Called when it waits for a worker.

    Yields
    ------
    dict or Exception
        Lines, or errors, in the order in which they come.
    """
    work: Work[Record]
    if scheduler is None:
        work = in_processes(perform, jobs, workers)
    else:
        names = [f"{job.row}-{job.number}" for job in jobs]
        work = on_cluster(perform, jobs, scheduler, names, say)
    for _, outcome in work:
        yield outcome


class Trials:
    """The table of trials in a file.

    Parameters
    ----------
    path
        The file; it need not exist. A line that a killed program left unfinished is dropped.

    Raises
    ------
    FormatError
        It is not such a table.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records: dict[Key, Record] = {}
        if path.is_file():
            self._read()
        self.store()

    def _read(self) -> None:
        text = read_text(self._path)
        whole = text[: text.rfind("\n") + 1]
        try:
            headings, rows = read_table(whole)
            if tuple(headings) != HEADINGS:
                raise ValueError(headings)
            for row in rows:
                record = _record(row)
                self.records[record["row"], record["trial"]] = record
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise FormatError(
                f"{self._path} is not a table of trials; remove it, or choose another folder"
            ) from error

    def add(self, record: Record) -> None:
        """Add a trial at the end of the file, at once."""
        self.records[record["row"], record["trial"]] = record
        text = io.StringIO(newline="")
        csv.writer(text).writerow(_cells(record))
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())

    def store(self) -> None:
        """Write the whole table, sorted by row and number."""
        text = io.StringIO(newline="")
        write_table(text, HEADINGS, (_cells(self.records[key]) for key in sorted(self.records)))
        write_text(self._path, text.getvalue(), overwrite=True)

    def of(self, row: str, count: int) -> list[Record]:
        """The first trials of a row.

        Parameters
        ----------
        row
            Its id.
        count
            Trials with a number below it.
        """
        return [self.records[row, k] for k in range(count) if (row, k) in self.records]


def _every(_module: str) -> bool:
    return True


def _rounded(values: Record) -> Record:
    return {
        name: round(value, DIGITS) if isinstance(value, float) and math.isfinite(value) else value
        for name, value in values.items()
    }


def _cells(record: Record) -> list[Any]:
    return [None if _is_nan(record[name]) else record[name] for name in HEADINGS]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _record(row: dict[str | None, Any]) -> Record:
    """Numbers from the text of a line."""
    record: Record = {"row": row["row"], "trial": int(row["trial"])}
    for field in fields(Outcomes):
        text = row[field.name]
        if field.type == "bool":
            record[field.name] = {"True": True, "False": False}[text]
        elif field.type == "int":
            record[field.name] = int(text)
        elif field.type == "float":
            record[field.name] = float(text) if text else math.nan
        else:
            record[field.name] = text
    return record
