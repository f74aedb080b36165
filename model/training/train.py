"""Training of a network: one archive, one task, one loop, one folder for the run.

All patches are one tensor in memory; batches are drawn from it and augmented. Every epoch uses
random generators seeded by (seed, epoch), so a run that was killed resumes after its last epoch and
gives the same numbers as an uninterrupted one. Under `torchrun` each of several processes takes a
part of every batch (`fgaf.model.training.parallel`).
"""

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from fgaf.base import console
from fgaf.base.errors import SettingError
from fgaf.base.folder_lock import working_in
from fgaf.dataset.archive import Archive
from fgaf.model.inference.checkpoint import load_state
from fgaf.model.networks.settings import TrainSettings, to_toml
from fgaf.model.training.compute import choose_compute
from fgaf.model.training.fit import require_cells, require_fit
from fgaf.model.training.optimise import step_seconds
from fgaf.model.training.parallel import DistributedContext, distributed_context
from fgaf.model.training.resume import METRICS
from fgaf.model.training.run import Run
from fgaf.model.training.run_folder import LAST, require_new_run, write_metrics
from fgaf.model.training.sides import load_sides
from fgaf.model.training.tasks import TASKS

_log = logging.getLogger(__name__)

Bar = Callable[[Iterable[int], str, int], Iterator[int]]


def train(
    archive: Archive,
    settings: TrainSettings,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    pictures: bool = True,
    checked: bool = False,
    progress: Bar = console.progress,
    supply: Callable[[int], Generator[Archive, None, None]] | None = None,
) -> dict[str, Any]:
    """Train a network for the task of its settings, and evaluate it on the test cells.

    Parameters
    ----------
    archive
        Labelled patches, with the split given by `settings.split`.
    settings
        Settings of the training.
    out
        Folder of the run, for the files of `fgaf.model.training.run_folder.files_of`.
    resume
        Resume after the last epoch in `out`, or start if there is none.
    overwrite
        Replace the run in `out`.
    pictures
        Also draw the learning curves and the other pictures of the task.
    checked
        Whether `fgaf.model.training.fit.require_fit` has already checked the archive.
    progress
        Wraps the epochs, as `fgaf.base.console.progress`.
    supply
        Gives archives of fresh training cells, one for each epoch from a number on, which is never
        0: the first epoch takes those of `archive`.

    Returns
    -------
    dict
        Content of `metrics.json`: what `judge` of the task's module in `fgaf.model.metrics` says
        of the test cells, and data of the run: task, split, seed, backbone, parameters, macs, ...

    Raises
    ------
    FgafError
        There are no cells to train on or to test on; patches are constant; `out` contains a run, or
        another program uses it; the run was started with other settings or another archive; or the
        training diverged.
    """
    require_cells(archive, settings.split)
    if not checked:
        require_fit(archive)
    with distributed_context() as team, working_in(out) if team.leads else nullcontext():
        if team.leads:
            require_new_run(out, resume, overwrite)
        return team.share(_train(archive, settings, out, team, resume, pictures, progress, supply))


def _train(
    archive: Archive,
    settings: TrainSettings,
    out: Path,
    team: DistributedContext,
    resume: bool,
    pictures: bool,
    progress: Bar,
    supply: Callable[[int], Generator[Archive, None, None]] | None,
) -> dict[str, Any]:
    """Train in a folder reserved for it; returns the metrics, in the leader process only."""
    started = time.perf_counter()
    kind = TASKS[settings.task]
    settings = kind.resolve(settings, archive)
    if settings.batch < team.size:
        raise SettingError(
            f"batch = {settings.batch} is less than one patch for each of "
            f"{team.size} processes; raise batch"
        )
    task = kind(archive, settings)
    machine = team.share(choose_compute(settings, lambda m: step_seconds(m, task)))
    _log.info("%s, %d processes", machine, team.size)
    _log.debug("settings:\n%s", to_toml(settings))
    with machine.used():
        sides, scale = load_sides(archive, settings, task.targets(machine.device), machine.device)
        run = Run(task, out, machine, sides, scale, team)
        state = load_state(out / LAST) if team.leads and resume and (out / LAST).is_file() else None
        if state := team.share(state):
            run.restore(state)
            _log.info("resumes after epoch %d of %s", run.epoch, out)
        run.write_settings()
        with closing(supply(max(1, run.epoch))) if supply else nullcontext() as run.fresh:
            left = range(run.epoch, settings.epochs)
            for _ in progress(left, f"training {settings.backbone}", len(left)):
                if run.out_of_time():
                    _log.info("%g hours have passed: the training ends", settings.hours)
                    break
                run.train_epoch()
                if run.stale():
                    _log.info(
                        "no better validation for %d epochs: the training ends", settings.patience
                    )
                    break
        if not team.leads:
            return {}
        metrics = run.finish()
    if pictures:
        task.draw(run.history, metrics, out)
    metrics["timing"]["total_s"] = round(time.perf_counter() - started, 2)
    write_metrics(out / METRICS, metrics)
    return metrics
