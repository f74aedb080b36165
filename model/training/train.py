"""Training: one archive, one loop, one folder that holds all of the run.

The whole set is one tensor in memory; batches are drawn from it and augmented on it. Every
epoch draws from generators seeded by (seed, epoch), so that a run that was killed resumes
from its last epoch and ends with the same numbers as the unbroken one. Under `torchrun` several
processes take their parts of every batch (`fgaf.model.training.parallel`).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from fgaf.base import console
from fgaf.base.errors import SettingError
from fgaf.base.folder_lock import working_in
from fgaf.dataset.archive import Archive
from fgaf.model.inference.checkpoint import load_state
from fgaf.model.networks.settings import TrainSettings, to_toml
from fgaf.model.training.compute import choose_compute
from fgaf.model.training.defaults import resolve_settings
from fgaf.model.training.fit import require_cells, require_fit
from fgaf.model.training.optimise import step_seconds
from fgaf.model.training.parallel import DistributedContext, distributed_context
from fgaf.model.training.plots import plot_confusion, plot_depths, plot_history, plot_reliability
from fgaf.model.training.resume import METRICS
from fgaf.model.training.run import Run
from fgaf.model.training.run_folder import LAST, require_new_run, write_metrics
from fgaf.model.training.sides import load_sides

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
) -> dict[str, Any]:
    """Train a depth classifier and judge it on the test cells.

    Parameters
    ----------
    archive
        Labelled patches with the split that the settings name.
    settings
        Everything else.
    out
        Folder of the run; holds the files listed in
        `fgaf.model.training.run_folder.FILES` afterwards.
    resume
        Go on from the last epoch in `out`, or start where there is none.
    overwrite
        Replace the run in `out`.
    pictures
        Draw the learning curves, confusion matrix and reliability too.
    checked
        `fgaf.model.training.fit.require_fit` has passed the archive already.
    progress
        Wraps the epochs, as `fgaf.base.console.progress`.

    Returns
    -------
    dict
        What `metrics.json` holds: `fgaf.model.metrics.judge` of the test cells, and of the
        run: split, seed, backbone, fgaf, parameters, macs, cells of each side, temperature, ...

    Raises
    ------
    FgafError
        No cells to train on or to test on; patches that show nothing; a run in `out` already, or
        another program at work there; a run that was started with other settings or another
        archive; a training that diverged.
    """
    require_cells(archive, settings.split)
    if not checked:
        require_fit(archive)
    with distributed_context() as team, working_in(out) if team.leads else nullcontext():
        if team.leads:
            require_new_run(out, resume, overwrite)
        return team.share(_train(archive, settings, out, team, resume, pictures, progress))


def _train(
    archive: Archive,
    settings: TrainSettings,
    out: Path,
    team: DistributedContext,
    resume: bool,
    pictures: bool,
    progress: Bar,
) -> dict[str, Any]:
    """Train in a folder that is free for it; the metrics, for the leader only."""
    started = time.perf_counter()
    settings = resolve_settings(settings, archive)
    if settings.batch < team.size:
        raise SettingError(f"batch = {settings.batch} gives {team.size} processes less than one")
    side, n_classes = archive.header.patch_px, archive.n_classes
    machine = team.share(
        choose_compute(settings, lambda m: step_seconds(m, settings, side, n_classes))
    )
    _log.info("%s, %d processes", machine, team.size)
    _log.debug("settings:\n%s", to_toml(settings))
    with machine.used():
        sides, scale = load_sides(archive, settings, machine.device)
        run = Run(archive, settings, out, machine, sides, scale, team)
        state = load_state(out / LAST) if team.leads and resume and (out / LAST).is_file() else None
        if state := team.share(state):
            run.restore(state)
            _log.info("goes on after epoch %d of %s", run.epoch, out)
        run.write_settings()
        left = range(run.epoch, settings.epochs)
        for _ in progress(left, f"training {settings.backbone}", len(left)):
            run.train_epoch()
            if run.stale():
                _log.info("no better for %d epochs: the training ends", settings.patience)
                break
        if not team.leads:
            return {}
        metrics = run.finish()
    if pictures:
        plot_history(run.history, out / "history.png")
        plot_confusion(metrics, out / "confusion.png")
        plot_reliability(metrics, out / "reliability.png")
        plot_depths(metrics, out / "depths.png")
    metrics["timing"]["total_s"] = round(time.perf_counter() - started, 2)
    write_metrics(out / METRICS, metrics)
    return metrics
