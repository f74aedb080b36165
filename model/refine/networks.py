"""Whole networks that read each cell, trained on the cells of the other folds.

A round is a folder `round-N` with the run of each fold and `readings.npz`. From the second round on
the network of a fold goes on from its own weights, so that no network ever saw the cells it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import FormatError
from fgaf.base.files import publishing
from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.split import TEST, TRAIN
from fgaf.dataset.storage.virtual_images import read_rows
from fgaf.model.inference.predict import Predictor
from fgaf.model.networks.settings import RANDOM, TrainSettings
from fgaf.model.training.defaults import steps_per_epoch
from fgaf.model.training.folds import folder_of_fold
from fgaf.model.training.train import train

Bar = Callable[[Iterable[int], str, int], Iterator[int]]
Floats = npt.NDArray[np.float64]

_EPOCHS, _STEPS = 24, 300
_READINGS = "readings.npz"
_AT_ONCE = 4096


class NetworkReader:
    """Networks of all folds and rounds.

    Parameters
    ----------
    archive
        Patches and folds.
    sides
        (K,) sides of each fold's split.
    settings
        Of the networks; 0 epochs are `schedule`.
    out
        Folder of the rounds; what it holds is resumed.
    progress
        Wraps the epochs, as `fgaf.base.console.progress`.
    """

    def __init__(
        self,
        archive: Archive,
        sides: list[npt.NDArray[np.int8]],
        settings: TrainSettings,
        out: Path,
        progress: Bar,
    ) -> None:
        self._archive, self._sides, self._settings = archive, sides, settings
        self._out, self._progress = out, progress
        self._round = 0

    def read(self, label_um: Floats) -> Floats:
        """Train the networks of the next round, and read each patch with that of its fold.

        Parameters
        ----------
        label_um
            (M,) to learn from.

        Returns
        -------
        (M,) µm
        """
        self._round += 1
        folder = self._out / f"round-{self._round}"
        kept = folder / _READINGS
        if kept.is_file():
            return _kept(kept, len(label_um))
        archive = replace(self._archive, depth_um=label_um)
        reading = np.full(len(label_um), np.nan)
        for number, side in enumerate(self._sides, start=1):
            split = f"fold_{number}_of_{len(self._sides)}"
            divided = replace(archive, splits={split: side})
            run = folder_of_fold(folder, number)
            settings = replace(self._settings, split=split)
            if self._round > 1:
                before = folder_of_fold(self._out / f"round-{self._round - 1}", number)
                settings = replace(settings, start=str(before))
            rows_of = divided.split_of_rows(split)
            settings = schedule(settings, int((rows_of == TRAIN).sum()))
            train(
                divided,
                settings,
                run,
                resume=True,
                pictures=False,
                checked=True,
                progress=self._progress,
            )
            predictor = Predictor.load(run)
            rows = np.flatnonzero(rows_of == TEST)
            for some in np.array_split(rows, 1 + len(rows) // _AT_ONCE):
                reading[some] = predictor.read(read_rows(archive.images, some)).depth_um
        with publishing(kept, overwrite=True) as part, part.open("wb") as file:
            np.savez(file, reading_um=reading)
        return reading


def schedule(settings: TrainSettings, patches: int) -> TrainSettings:
    """Set the epochs, unless they are given: fewer than of a usual training, half from a start.

    Long trainings learn the errors of single labels.

    Parameters
    ----------
    settings
        Of the networks.
    patches
        On which a network is trained.
    """
    if settings.epochs:
        return settings
    epochs = max(_EPOCHS, ceil(_STEPS / steps_per_epoch(patches, settings)))
    return replace(settings, epochs=epochs if settings.start == RANDOM else epochs // 2)


def _kept(path: Path, patches: int) -> Floats:
    """Readings of a round that was finished before."""
    try:
        with np.load(path, allow_pickle=False) as file:
            reading = np.asarray(file["reading_um"], dtype=np.float64)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise FormatError(f"{path} cannot be read; delete it to read the patches again") from error
    if reading.shape != (patches,) or not np.isfinite(reading).all():
        raise FormatError(f"{path} is of another archive; delete it to read the patches again")
    return reading
