"""The benchmark of aspiration: rows of trials, their table, and the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fgaf.base.console import count
from fgaf.base.errors import ExistsError, FgafError, FormatError
from fgaf.base.files import write_text
from fgaf.base.folder_lock import RUN_LOCK, working_in
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.base.version import __version__
from fgaf.model.bench.aspiration.design import TABLE, Row
from fgaf.model.bench.aspiration.page import aspiration_page
from fgaf.model.bench.aspiration.summary import summarise
from fgaf.model.bench.aspiration.tables import results_csv
from fgaf.model.bench.aspiration.trials import Job, Trials, digest, perform_all

Progress = Callable[[Sequence[Any]], Iterable[Any]]

CARD, LINES, RESULTS, SUMMARY, REPORT = (
    "benchmark.json",
    "trials.csv",
    "results.json",
    "results.csv",
    "report.html",
)
_FORMAT: Final = "fgaf-aspiration-benchmark"


@dataclass(frozen=True)
class Request:
    """What a benchmark of aspiration tries.

    Attributes
    ----------
    rows
        The rows.
    trials, factor_trials
        Trials of each row of the table, and of each of the others.
    seed
        Of the random numbers; trial k of every row has the same cell.
    model
        The network: "sim", a run, a checkpoint or an export.
    """

    rows: tuple[Row, ...]
    trials: int = 400
    factor_trials: int = 100
    seed: int = 2026
    model: str = "sim"

    def wanted(self, row: Row) -> int:
        """Trials of a row."""
        return self.trials if row.group == TABLE else self.factor_trials

    def jobs(self) -> list[Job]:
        """All trials: the rows of the table, then the others, each number of all rows in turn."""
        code = digest()
        return [
            Job(row.id, number, row.conditions, self.seed, self.model, code)
            for table in (True, False)
            for number in range(max(self.trials, self.factor_trials))
            for row in self.rows
            if (row.group == TABLE) is table and number < self.wanted(row)
        ]


def run_benchmark(
    request: Request,
    out: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    progress: Progress = iter,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Make the trials that are missing, and write the report.

    Parameters
    ----------
    request
        What to try.
    out
        Folder for ``trials.csv``, ``results.json``, ``results.csv`` and ``report.html``. A stopped
        benchmark of the same seed, network and conditions is resumed there.
    workers, scheduler, say
        As for `fgaf.model.bench.aspiration.trials.perform_all`.
    overwrite
        Start over in a folder that holds another benchmark.
    progress
        Wraps the loop over the trials.

    Returns
    -------
    dict
        What ``results.json`` holds.

    Raises
    ------
    FgafError
        Trials failed; those that did not are kept.
    ExistsError
        The folder holds something else.
    LockedError
        Another program uses the folder.
    """
    with working_in(out):
        _enter(out, request, overwrite)
        table = Trials(out / LINES)
        jobs = [job for job in request.jobs() if (job.row, job.number) not in table.records]
        outcomes = perform_all(jobs, workers, scheduler, say)
        failed: list[Exception] = []
        for _ in progress(jobs):
            outcome = next(outcomes)
            if isinstance(outcome, Exception):
                failed.append(outcome)
            else:
                table.add(outcome)
        table.store()
        if failed:
            raise FgafError(
                f"{count(len(failed), 'trial')} failed: {failed[0]}; the others are kept: run the "
                "same command again to resume"
            ) from failed[0]
        results = {
            "format": _FORMAT,
            "software": f"fgaf {__version__}",
            "seed": request.seed,
            "model": request.model,
            "rows": [summarise(row, table.of(row.id, request.wanted(row))) for row in request.rows],
            "conditions": {row.id: row.conditions.model_dump(mode="json") for row in request.rows},
        }
        for name, text in (
            (RESULTS, json.dumps(results, indent=1) + "\n"),
            (SUMMARY, results_csv(results)),
            (REPORT, aspiration_page(results)),
        ):
            write_text(out / name, text, overwrite=True)
        return results


def _identity(request: Request) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "seed": request.seed,
        "model": request.model,
        "code": digest(),
        "rows": {row.id: _fingerprint(row) for row in request.rows},
    }


def _fingerprint(row: Row) -> str:
    return hashlib.sha256(row.conditions.model_dump_json().encode()).hexdigest()[:16]


def _enter(out: Path, request: Request, overwrite: bool) -> None:
    """Claim the folder, or refuse one that holds something else."""
    card, identity = out / CARD, _identity(request)
    if card.is_file() and not overwrite:
        held = _read_card(card)
        rows = held["rows"]
        differs = [key for key in ("seed", "model", "code") if held[key] != identity[key]]
        if any(rows.get(name, mark) != mark for name, mark in identity["rows"].items()):
            differs.append("settings")
        if differs:
            raise ExistsError(
                f"{out} holds trials with another {' and '.join(differs)}; choose another folder "
                "or pass --overwrite"
            )
        identity["rows"] = rows | identity["rows"]
    elif not card.is_file() and any(path.name != RUN_LOCK for path in out.iterdir()):
        raise ExistsError(f"{out} already exists and is not a benchmark; choose another folder")
    else:
        (out / LINES).unlink(missing_ok=True)
    write_text(card, json.dumps(identity, indent=1) + "\n", overwrite=True)


def _read_card(card: Path) -> dict[str, Any]:
    try:
        held = parse_json(read_bytes(card))
        if held["format"] != _FORMAT or not isinstance(held["rows"], dict):
            raise ValueError(card)
        return {key: held[key] for key in ("format", "seed", "model", "code", "rows")}
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{card} is damaged or of another benchmark; choose another folder"
        ) from error
