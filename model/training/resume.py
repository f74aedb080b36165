"""Resuming a training: which run, and with which settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgaf.base.console import count
from fgaf.base.errors import SettingError
from fgaf.base.folder_lock import RUN_LOCK
from fgaf.base.lock import is_written
from fgaf.model.networks.settings import TrainSettings, read_settings
from fgaf.model.training.parallel import leads

SETTINGS, METRICS = "settings.toml", "metrics.json"
RUN, FOLDS, FIRST_FOLD = "-run", "-folds", "fold-1"

_ZERO_SUITS = ("epochs", "lr", "view", "stem_stride")
_FOLD_SPLIT = re.compile(r"fold_\d+_of_(\d+)")


@dataclass(frozen=True)
class Resumed:
    """A run to resume.

    Attributes
    ----------
    folder
        The run, or the folder of a cross-validation.
    settings
        Its settings.
    folds
        Number of folds of a cross-validation; None for a single run.
    """

    folder: Path
    settings: TrainSettings
    folds: int | None

    @classmethod
    def of(cls, folder: Path) -> Resumed | None:
        """Read the settings that a run was started with; None where the folder has no run.

        Raises
        ------
        SettingError, FormatError
            Its settings.toml cannot be read.
        """
        for place in (folder, folder / FIRST_FOLD):
            if (place / SETTINGS).is_file():
                settings = read_settings(place / SETTINGS)
                fold = _FOLD_SPLIT.fullmatch(settings.split) if place != folder else None
                return cls(folder, settings, int(fold[1]) if fold else None)
        return None

    def check(self, given: Mapping[str, Any], folds: int | None, source: str) -> None:
        """Refuse settings that differ from those of the run.

        Parameters
        ----------
        given
            Settings by name; a zero that means "automatic" agrees with any value.
        folds
            Number of folds; None where it was not given.
        source
            Where they come from, for the error.

        Raises
        ------
        SettingError
            One differs, or is not a setting; the message names both values.
        """
        wanted = self.settings.with_values(given)
        for key in given:
            requested, held = getattr(wanted, key), getattr(self.settings, key)
            by_fold = key == "split" and self.folds is not None
            if requested == held or by_fold or (key in _ZERO_SUITS and not requested):
                continue
            raise SettingError(
                f"{self.folder} was started with {key} = {held}, and {source} gives {requested}; "
                "leave it out to resume, or train into another folder"
            )
        if folds is not None and folds != self.folds:
            started = "without folds" if self.folds is None else f"with {count(self.folds, 'fold')}"
            raise SettingError(
                f"{self.folder} was started {started}, and --folds is {folds}; leave it out to "
                "resume, or train into another folder"
            )


def usual_folder(dataset: Path, folds: int | None) -> Path:
    """Default folder of a run: DATASET-run, or DATASET-folds.

    Parameters
    ----------
    dataset
        The archive's file.
    folds
        Number of folds of a cross-validation; None for a single run.
    """
    return Path(f"{dataset.stem}{RUN if folds is None else FOLDS}")


def unfinished_run(dataset: Path, folds: int | None) -> Path:
    """Find the only unfinished run of an archive, under its default names.

    A run that another program is training now does not count.

    Parameters
    ----------
    dataset
        The archive.
    folds
        Number of folds, to look for a cross-validation; None to look for both kinds.

    Raises
    ------
    SettingError
        There is none, or there are several; the message lists them.
    """
    kinds = (FOLDS,) if folds is not None else (RUN, FOLDS)
    named = re.compile(rf"{re.escape(dataset.stem)}({'|'.join(kinds)})(-\d+)?")
    started = [
        folder
        for folder in sorted(Path().iterdir())
        if named.fullmatch(folder.name)
        and not (folder / METRICS).exists()
        and any((folder / place / SETTINGS).is_file() for place in ("", FIRST_FOLD))
    ]
    busy = [folder for folder in started if leads() and is_written(folder / RUN_LOCK)]
    idle = [folder for folder in started if folder not in busy]
    if len(idle) != 1:
        found = (
            f"are several unfinished runs ({', '.join(map(str, idle))})"
            if idle
            else f"is no unfinished run named {dataset.stem}{RUN} or similar"
        )
        trained = f"; another program is training {', '.join(map(str, busy))}" if busy else ""
        raise SettingError(f"there {found} in this folder{trained}; give the run with --out RUN")
    return idle[0]
