"""Cross-validation by cell: every cell is tested once, by a network not trained on its group."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.base import console
from fgaf.base.errors import ExistsError
from fgaf.base.files import write_text
from fgaf.base.folder_lock import working_in
from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.split import TEST, make_folds, places_of
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.fit import require_fit
from fgaf.model.training.parallel import leads
from fgaf.model.training.resume import METRICS
from fgaf.model.training.tasks import TASKS
from fgaf.model.training.train import train

_log = logging.getLogger(__name__)

_VALIDATION_SHARE = 0.1

Bar = Callable[[Iterable[int], str, int], Iterator[int]]


def draw_folds(archive: Archive, folds: int, seed: int) -> list[npt.NDArray[np.int8]]:
    """Draw one split per fold, (K,) sides each, by `fgaf.dataset.splits.split.make_folds`.

    Every cell is on the test side of exactly one of them; a tenth of the other cells validates.

    Parameters
    ----------
    archive
        Its K cells are divided.
    folds
        Number of folds.
    seed
        Random seed of the folds.
    """
    made = make_folds(
        *places_of(archive), folds, test_share=0, seed=seed, validation_share=_VALIDATION_SHARE
    )
    return [split.sides for split in made]


def folder_of_fold(out: Path, number: int) -> Path:
    """Folder of the run of one fold.

    Parameters
    ----------
    out
        Folder of the cross-validation.
    number
        Number of the fold, from 1.
    """
    return out / f"fold-{number}"


def cross_validate(
    archive: Archive,
    settings: TrainSettings,
    out: Path,
    folds: int,
    *,
    resume: bool = False,
    overwrite: bool = False,
    checked: bool = False,
    progress: Bar = console.progress,
) -> dict[str, Any]:
    """Train one network per fold and test each cell with the network that was not trained on it.

    Parameters
    ----------
    archive, settings
        As for `fgaf.model.training.train.train`; the archive's own splits are not used.
    out
        Folder for the run of each fold (`fold-1`, ...) and `metrics.json`.
    folds
        Number of folds.
    resume, overwrite, checked, progress
        As for `train`; finished folds are not trained again.

    Returns
    -------
    dict
        What `metrics.json` holds: the task's metrics of all cells, intervals over all of them,
        with `folds` and a few figures of each in `per_fold`. Empty in all processes of a
        distributed run but the leader.

    Raises
    ------
    FgafError
        As `train`; `SettingError` if the cells cannot be divided into these folds.
    """
    if not checked:
        require_fit(archive)
    with working_in(out) if leads() else nullcontext():
        return _cross_validate(archive, settings, out, folds, resume, overwrite, progress)


def _cross_validate(
    archive: Archive,
    settings: TrainSettings,
    out: Path,
    folds: int,
    resume: bool,
    overwrite: bool,
    progress: Bar,
) -> dict[str, Any]:
    if (out / METRICS).exists() and not (resume or overwrite):
        raise ExistsError(
            f"{out} already contains a training run; choose another folder, or pass --resume or "
            "--overwrite"
        )
    splits = draw_folds(archive, folds, settings.seed)
    evidence: dict[int, Any] = {}
    per_fold = []
    task = TASKS[settings.task](archive, settings)
    for number, sides in enumerate(splits, start=1):
        split, run = f"fold_{number}_of_{folds}", folder_of_fold(out, number)
        _log.info("fold %d of %d", number, folds)
        divided = replace(archive, splits={split: sides})
        metrics = train(
            divided,
            replace(settings, split=split),
            run,
            resume=resume,
            overwrite=overwrite,
            checked=True,
            progress=progress,
        )
        if not leads():
            continue
        rows = np.flatnonzero(divided.split_of_rows(split) == TEST)
        evidence |= zip(rows.tolist(), task.evidence_of(run, rows), strict=True)
        per_fold.append({key: metrics[key] for key in task.per_fold})
    if not leads():
        return {}
    tested = sorted(evidence)
    result = task.judge([evidence[row] for row in tested], tested)
    result |= {"task": settings.task, "folds": folds, "seed": settings.seed, "per_fold": per_fold}
    write_text(out / METRICS, json.dumps(result, indent=2) + "\n", overwrite=True)
    return result
