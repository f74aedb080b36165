"""Pretraining: one network for many microscopes, trained on simulated cells only.

Every group of cells has its own simulated microscope: optics, pixel, light, noise and motion are
drawn from the ranges below, depths uniformly. Whole microscopes are held out, so the metrics are
for optics not seen in training.
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.acquire.simulation.settings import Contrast, SimulationSettings
from fgaf.base import console
from fgaf.base.bounds import Cells as CellCount, Seed, require_bounded
from fgaf.base.errors import FgafError, SettingError
from fgaf.base.files import write_text
from fgaf.base.folder_lock import working_in
from fgaf.base.workers.outcomes import in_order
from fgaf.base.workers.processes import in_processes
from fgaf.dataset.archive import CELL_COLUMNS, DEFAULT_SPLIT, Archive, Cells, write_archive
from fgaf.dataset.splits.split import make_split
from fgaf.dataset.storage.optics import Optics
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.train import train

WORLDS, RUN, WEIGHTS, CARD = "worlds.h5", "run", "sim.safetensors", "sim.md"

RANGES: dict[str, tuple[float, float]] = {
    "numerical_aperture": (0.5, 0.75),
    "wavelength_um": (0.46, 0.62),
    "condenser_na": (0.12, 0.48),
    "spherical_waves": (-0.04, 0.06),
    "camera_pixel_um": (4.9, 6.9),
    "photons": (2000, 8000),
    "read_noise": (2, 15),
    "mottle": (0, 0.03),
}
"""Ranges that each microscope draws from uniformly, by the names in `SimulationSettings`."""
INTERVAL_S = (0.0, 0.1)
BEAT_HZ = (5.0, 25.0)
SPEED_UM_S = (10.0, 130.0)
RELIEF, FROZEN = 0.15, 0.2
"""Shares of the microscopes with relief contrast, and with cells that do not move."""

SETTINGS = TrainSettings(epochs=6, view=1.0, stem_stride=2)
"""Settings of the training; it uses whole patches, unlike the preset `default`."""

_FRACTIONS = (0.96, 0.02, 0.02)

Bar = Callable[[Iterable[int], str, int], Iterator[int]]


@dataclass(frozen=True)
class Worlds:
    """Amount of simulated data.

    Parameters
    ----------
    cells
        Total number of cells, nine depths each.
    microscopes
        Number of microscopes; the cells are divided evenly.
    seed
        Random seed.
    """

    cells: CellCount = 6000
    microscopes: CellCount = 300
    seed: Seed = 1

    def __post_init__(self) -> None:
        require_bounded(self)
        if not 3 <= self.microscopes <= self.cells:
            raise SettingError(
                f"{self.cells} cells under {self.microscopes} microscopes: at least three "
                "microscopes with a cell each are needed: for training, validation and test"
            )

    def __str__(self) -> str:
        return f"{self.cells} cells under {self.microscopes} microscopes, seed {self.seed}"


def draw_microscope(worlds: Worlds, number: int) -> dict[str, Any]:
    """Draw one microscope and its cells' motion: arguments of `simulate_cells`.

    Parameters
    ----------
    worlds
        How many cells and microscopes, and the seed.
    number
        Which microscope, counted from 0.
    """
    rng = np.random.default_rng([worlds.seed, number])
    drawn = {key: float(rng.uniform(*span)) for key, span in RANGES.items()}
    drawn["condenser_na"] = min(drawn["condenser_na"], 0.9 * drawn["numerical_aperture"])
    beat, speed = np.sort(rng.uniform(*BEAT_HZ, 2)), np.sort(rng.uniform(*SPEED_UM_S, 2))
    well = drawn["photons"] * float(rng.uniform(1.3, 2.5))
    settings = SimulationSettings.model_validate(
        {
            **drawn,
            "full_well": well,
            "beat_hz": tuple(beat.tolist()),
            "speed_um_s": tuple(speed.tolist()),
        }
    )
    contrast: Contrast = "relief" if rng.uniform() < RELIEF else "brightfield"
    return {
        "cells": (worlds.cells + number) // worlds.microscopes,
        "motile": bool(rng.uniform() >= FROZEN),
        "seed": int(rng.integers(2**31)),
        "interval_s": float(rng.uniform(*INTERVAL_S)),
        "contrast": contrast,
        "settings": settings,
    }


def simulate_world(worlds: Worlds, number: int) -> Archive:
    """Simulate the cells of one microscope, at depths drawn uniformly.

    Parameters
    ----------
    worlds
        How many cells and microscopes, and the seed.
    number
        Which microscope, counted from 0.
    """
    with threadpool_limits(1):  # several microscopes are simulated at once
        cells = simulate_cells(off_grid=True, **draw_microscope(worlds, number))
    gc.collect()  # a microscope's tables, hundreds of MB, are in reference cycles
    return cells


def simulate_worlds(worlds: Worlds, progress: Bar = console.progress, workers: int = 1) -> Archive:
    """Simulate all cells; one sample per microscope, split by microscope.

    Parameters
    ----------
    worlds
        What to simulate.
    progress
        Wraps the loop over the microscopes.
    workers
        Number of processes; the cells are the same for any number.
    """
    numbers = range(worlds.microscopes)
    outcomes = in_processes(partial(simulate_world, worlds), numbers, workers)
    with closing(in_order(outcomes, [f"microscope {number}" for number in numbers])) as each:
        bar = progress(numbers, "simulating microscopes", len(numbers))
        parts = [part for _, part in zip(bar, each, strict=True)]
    table = _joined([part.cells for part in parts])
    offsets = np.cumsum([0, *(part.n_cells for part in parts)])
    rows: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("images", "depth_um", "plane", "center_y", "center_x")
    }
    cell = np.concatenate(
        [part.cell + np.int32(offset) for part, offset in zip(parts, offsets[:-1], strict=True)]
    )
    header = parts[0].header
    split = make_split(
        table,
        rows["center_y"],
        rows["center_x"],
        cell,
        header.patch_px,
        _FRACTIONS,
        "sample",
        worlds.seed,
    )
    return Archive(
        header=header.model_copy(
            update={
                "optics": Optics(),
                "name": str(worlds),
                "description": "simulated motile sperm, depths drawn uniformly",
            }
        ),
        cell=cell,
        cells=table,
        true_depth_um=rows["depth_um"].copy(),
        splits={DEFAULT_SPLIT: split.sides},
        **rows,
    )


def pretrain(
    out: Path,
    worlds: Worlds | None = None,
    settings: TrainSettings = SETTINGS,
    progress: Bar = console.progress,
    workers: int = 1,
) -> dict[str, Any]:
    """Simulate, train, and write the network with its card; resumes after a kill.

    Parameters
    ----------
    out
        Folder for `WORLDS`, the training run `RUN`, `WEIGHTS` and `CARD`.
    worlds, settings
        Amount of data, and training settings.
    progress
        Wraps the long loops.
    workers
        Number of processes for the simulation; the result is the same for any number.

    Returns
    -------
    dict
        The metrics of the run, on held-out microscopes.

    Raises
    ------
    FgafError
        `out` holds another pretraining.
    """
    worlds = worlds or Worlds()
    with working_in(out):
        path = out / WORLDS
        if not path.is_file():
            write_archive(path, simulate_worlds(worlds, progress, workers))
        archive = Archive.read(path)
        if archive.header.name != str(worlds):
            raise FgafError(
                f"{out} was started with {archive.header.name}, not {worlds}; choose "
                "another folder, or use those numbers"
            )
        metrics = train(archive, settings, out / RUN, resume=True, progress=progress)
        checkpoint = Checkpoint.load(out / RUN / "checkpoint.pt")
        kept = {key: metrics[key] for key in _KEPT if key in metrics}
        replace(checkpoint, metrics=kept).save(out / WEIGHTS)
        write_text(out / CARD, _card(worlds, checkpoint.settings, metrics), overwrite=True)
        return metrics


_KEPT = ("top1", "top3", "mae_um", "expected_mae_um", "expected_p95_um", "n_cells", "n_patches")


def _joined(tables: list[Cells]) -> Cells:
    """One table of all cells, the microscope as their sample."""
    columns = {
        name: np.concatenate([getattr(table, name) for table in tables]) for name in CELL_COLUMNS
    }
    numbers = np.concatenate([np.full(len(table), k) for k, table in enumerate(tables)])
    columns["id"] = np.array([f"cell-{k:06d}" for k in range(len(numbers))], dtype=object)
    columns["sample_id"] = np.array([f"microscope-{k:05d}" for k in numbers], dtype=object)
    columns["field"] = np.array([f"field-{k:06d}" for k in range(len(numbers))], dtype=object)
    return Cells.from_columns(columns)


def _card(worlds: Worlds, settings: TrainSettings, metrics: dict[str, Any]) -> str:
    def span(key: str, digits: int = 3) -> str:
        value, interval = f"{metrics[key]:.{digits}f}", metrics["intervals"][key]
        if interval is None:  # of a single cell
            return value
        return f"{value} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"

    command = (
        f"fgaf-pretrain --cells {worlds.cells} --microscopes {worlds.microscopes} "
        f"--seed {worlds.seed} --epochs {settings.epochs}"
    )
    ranges = "\n".join(f"| {key} | {low:g} to {high:g} |" for key, (low, high) in RANGES.items())
    return f"""# The network `sim`

A {settings.backbone} with the FGAF module ({metrics["parameters"] / 1e6:.2f} million parameters)
that estimates the depth of a sperm in one 96 px patch, within ±2 µm of its focus. It was trained
on simulated cells only, without any real image. Use it as a start for fine-tuning (`fgaf-train
dataset.h5 --pretrained sim --out run`); do not rely on its depths on a real microscope without
fine-tuning. Licence: that of fgaf.

Made by `{command}`:
{worlds.cells} cells at nine depths each, drawn uniformly, under {worlds.microscopes} microscopes
that each drew from these ranges (see `fgaf.acquire.simulation.settings` for their meaning):

| setting | range |
|---|---|
{ranges}
| interval between planes, s | {INTERVAL_S[0]:g} to {INTERVAL_S[1]:g} |
| beat, Hz | {BEAT_HZ[0]:g} to {BEAT_HZ[1]:g} |
| speed, µm/s | {SPEED_UM_S[0]:g} to {SPEED_UM_S[1]:g} |
| relief contrast, share | {RELIEF:g} |
| cells that do not move, share | {FROZEN:g} |

On {metrics["n_cells"]} cells of held-out microscopes (same ranges; 95 % intervals over cells):
top-1 {span("top1")}, mean error of the expected depth {span("expected_mae_um")} µm, 95 % within
{span("expected_p95_um")} µm.
"""
