"""The benchmark: several methods predict the same test cells and are evaluated in the same way.

Answers are one JSON file per run (`fgaf.model.bench.runs`); a stopped benchmark can be resumed.
Evaluation is cheap and repeated each time, from the answers of all runs.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fgaf.base.console import count
from fgaf.base.errors import ExistsError, FgafError, FormatError, SettingError
from fgaf.base.files import write_text
from fgaf.base.folder_lock import RUN_LOCK, working_in
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.base.outputs import is_taken, numbered
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.model.bench.evaluation_set import EvaluationSet
from fgaf.model.bench.motility import peak_measures
from fgaf.model.bench.preset import Preset
from fgaf.model.bench.report.report import render_report
from fgaf.model.bench.report.tables import results_csv, results_tex
from fgaf.model.bench.results import judge_runs
from fgaf.model.bench.runs import Run, load, perform, plan_runs, save

_log = logging.getLogger(__name__)

_CARD = "benchmark.json"

Say = Callable[[str], None]
Outcome = tuple[Run, dict[str, Any] | Exception]


def run_benchmark(
    archive: Archive,
    preset: Preset,
    out: Path,
    *,
    seeds: Sequence[int] | None = None,
    folds: int | None = None,
    split: str = DEFAULT_SPLIT,
    overwrite: bool = False,
    keep_models: bool = False,
    scheduler: str | None = None,
    beside: Sequence[Archive] = (),
    say: Say = lambda _line: None,
) -> dict[str, Any]:
    """Run every method of a preset on the test cells and evaluate the answers.

    Parameters
    ----------
    archive
        The data; training is fastest with the data in memory (`Archive.read`).
    preset
        What to compare.
    out
        Folder for ``runs/*.json``, ``models/``, ``results.json``, ``results.csv``,
        ``tables.tex`` and ``report.html``. An unfinished benchmark of the same preset and data is
        resumed.
    seeds, folds
        Used instead of the preset's values; 0 folds for the split.
    split
        Which split of the archive to use; not used with folds.
    overwrite
        Start over in a folder that holds another benchmark.
    keep_models
        Keep the state that a stopped training resumes from (last.pt) and the best epoch's
        network (best.pt) of finished runs too.
    scheduler
        Address of a Dask scheduler whose workers do the runs, see `fgaf.model.bench.cluster`; None
        for this process.
    beside
        Archives of other cells, such as immotile ones; the focus measures are shown on them too.
    say
        Called with a line per run, when the run starts or is already finished.

    Returns
    -------
    dict
        What ``results.json`` holds.

    Raises
    ------
    FgafError
        The archive has nothing to train on or to test on; or runs failed, and the answers of all
        others are kept.
    ExistsError
        The folder holds something else.
    LockedError
        Another program uses the folder.
    """
    if scheduler and keep_models:
        raise SettingError(
            "--keep-models needs the runs on this machine: workers send answers, not networks; "
            "leave out --scheduler"
        )
    data = EvaluationSet(archive, split, preset.folds if folds is None else folds)
    data.check()
    if beside:
        peak_measures(preset)
    runs = plan_runs(preset, data, seeds)
    with working_in(out):
        _enter(out, preset, data, overwrite)
        answers = {run.name: answer for run in runs if (answer := load(run, out))}
        for number, run in enumerate(runs, start=1):
            if run.name in answers:
                say(f"[{number}/{len(runs)}] {run.name} (finished before)")
        missing = [run for run in runs if run.name not in answers]
        failed = []
        for run, outcome in _outcomes(missing, runs, out, scheduler, say):
            if isinstance(outcome, Exception):
                failed.append((run, outcome))
                continue
            save(run, outcome, out)
            answers[run.name] = outcome
            if not keep_models:
                _forget_states(out / "models" / run.name)
        if failed:
            raise _failure(failed, len(runs))
        results = judge_runs(preset, data, runs, [answers[run.name] for run in runs], beside)
        for name, text in (
            ("results.json", json.dumps(results, indent=1) + "\n"),
            ("results.csv", results_csv(results)),
            ("tables.tex", results_tex(results)),
            ("report.html", render_report(results, archive)),
        ):
            write_text(out / name, text, overwrite=True)
        return results


def _outcomes(
    missing: Sequence[Run], runs: Sequence[Run], out: Path, scheduler: str | None, say: Say
) -> Iterable[Outcome]:
    """Do runs here or on a cluster; yield answers, or errors, as they come."""
    numbers = {run.name: f"[{number}/{len(runs)}]" for number, run in enumerate(runs, start=1)}
    if not missing:
        return ()
    if scheduler is None:
        return _here(missing, out, lambda run: say(f"{numbers[run.name]} {run.name}"))
    from fgaf.model.bench.cluster import perform_on

    return perform_on(
        scheduler, missing, say, lambda run: say(f"{numbers[run.name]} {run.name} (answered)")
    )


def _here(runs: Sequence[Run], out: Path, begin: Callable[[Run], None]) -> Iterator[Outcome]:
    for run in runs:
        begin(run)
        try:
            outcome: dict[str, Any] | Exception = perform(run, out / "models" / run.name)
        except FgafError as error:
            _log.info("%s failed", run.name, exc_info=True)
            outcome = error
        yield run, outcome


def _failure(failed: Sequence[tuple[Run, Exception]], n_runs: int) -> FgafError:
    """Summarise the failed runs; only the first cause is given in full."""
    run, cause = failed[0]
    others = "" if len(failed) == 1 else f" (and {len(failed) - 1} more)"
    error = FgafError(
        f"{run.name}{others} failed: {cause}; the answers of the other {n_runs - len(failed)} of "
        f"{count(n_runs, 'run')} are kept: run the same command again to resume"
    )
    error.__cause__ = cause
    return error


def _forget_states(folder: Path) -> None:
    """Remove the files needed only to resume training; the network itself stays."""
    if folder.is_dir():
        from fgaf.model.training.run_folder import BEST, LAST

        for name in (BEST, LAST):
            (folder / name).unlink(missing_ok=True)


def folder_for(usual: Path, preset: Preset, data: EvaluationSet) -> Path:
    """Choose the folder of a benchmark when none was given.

    Parameters
    ----------
    usual
        The preferred name.
    preset, data
        The benchmark.

    Returns
    -------
    Path
        The first of ``usual``, ``usual-2``, ... that is free or holds the same benchmark, which is
        then resumed.
    """
    identity = _identity(preset, data)
    return next(
        folder
        for folder in numbered(usual)
        if not is_taken(folder)
        or ((folder / _CARD).is_file() and _read_card(folder / _CARD) == identity)
    )


def _identity(preset: Preset, data: EvaluationSet) -> dict[str, Any]:
    return {
        "format": "fgaf-benchmark-folder",
        "preset": preset.model_dump(mode="json", exclude={"seeds", "folds", "description"}),
        "archive": data.archive.fingerprint,
        "split": data.title,
    }


def _enter(out: Path, preset: Preset, data: EvaluationSet, overwrite: bool) -> None:
    """Claim the folder for this benchmark, or refuse one that holds something else."""
    identity = _identity(preset, data)
    card = out / _CARD
    if card.is_file():
        held = _read_card(card)
        if held == identity:
            return
        if not overwrite:
            names = {"preset": "preset or settings", "archive": "archive", "split": "split"}
            differs = [name for key, name in names.items() if held.get(key) != identity[key]]
            raise ExistsError(
                f"{out} contains a benchmark with another {' and '.join(differs)}; "
                "choose another folder or pass --overwrite"
            )
        for folder in ("runs", "models"):
            shutil.rmtree(out / folder, ignore_errors=True)
    elif any(path.name != RUN_LOCK for path in out.iterdir()):
        raise ExistsError(f"{out} already exists and is not a benchmark; choose another folder")
    write_text(card, json.dumps(identity, indent=1) + "\n", overwrite=True)


def _read_card(card: Path) -> dict[str, Any]:
    try:
        held = parse_json(read_bytes(card))
    except ValueError as error:
        raise FormatError(
            f"{card} is damaged; choose another folder, or remove that one completely"
        ) from error
    return held if isinstance(held, dict) else {}
