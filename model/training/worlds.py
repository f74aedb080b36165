"""Simulated microscopes for pretraining: an endless supply of cells, none of them drawn twice.

Every group of cells has its own microscope: contrast, optics, light, camera and noise, and how its
sperm look and move, are drawn as for realistic fields, depths uniformly. Microscopes are numbered;
those of the lowest numbers are never trained on.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.acquire.simulation.realistic import draw_settings
from fgaf.base.bounds import Cells as CellCount, Repeats, Seed, require_bounded
from fgaf.base.workers.outcomes import in_order
from fgaf.base.workers.processes import in_processes
from fgaf.dataset.archive import CELL_COLUMNS, DEFAULT_SPLIT, Archive, Cells
from fgaf.dataset.splits.split import TEST, TRAIN, VALIDATION
from fgaf.dataset.storage.optics import Optics

RANGES: dict[str, tuple[float, float]] = {
    "numerical_aperture": (0.45, 0.8),
    "camera_pixel_um": (4.9, 6.9),
}
"""Ranges that each microscope draws from uniformly, by the names in `SimulationSettings`; all else
is drawn by `fgaf.acquire.simulation.realistic.draw_settings`."""
MAGNIFICATION = 40.0
INTERVAL_S = (0.0, 0.1)
"""Range of the time from plane to plane."""

_STREAM = 11


@dataclass(frozen=True)
class Worlds:
    """Amount of simulated data; nine depths of every cell.

    Parameters
    ----------
    microscopes
        Microscopes of one epoch.
    cells
        Cells of each.
    held_out
        Microscopes that are not trained on: a third for validation, the others for the test.
    held_out_cells
        Cells of each of these.
    seed
        Random seed.
    """

    microscopes: Repeats = 24
    cells: CellCount = 16
    held_out: Repeats = 90
    held_out_cells: CellCount = 4
    seed: Seed = 1

    def __post_init__(self) -> None:
        require_bounded(self)

    def __str__(self) -> str:
        return (
            f"{self.cells} cells under each of {self.microscopes} microscopes, "
            f"{self.held_out} microscopes held out, seed {self.seed}"
        )

    def first(self, epoch: int) -> int:
        """Number of the first microscope of an epoch.

        Parameters
        ----------
        epoch
            Counted from 0.
        """
        return self.held_out + epoch * self.microscopes


def draw_microscope(seed: int, number: int) -> dict[str, Any]:
    """Draw one microscope and the motion of its cells: arguments of `simulate_cells`.

    Parameters
    ----------
    seed
        Random seed.
    number
        Which microscope, counted from 0.
    """
    rng = np.random.default_rng([seed, _STREAM, number])
    drawn = {key: float(rng.uniform(*span)) for key, span in RANGES.items()}
    interval_s = float(rng.uniform(*INTERVAL_S))
    settings = draw_settings(int(rng.integers(2**31)), magnification=MAGNIFICATION, **drawn)
    return {
        "motile": settings.motile,
        "seed": settings.seed,
        "interval_s": interval_s,
        "contrast": settings.contrast,
        "bit_depth": 8,
        "settings": settings,
    }


def simulate_microscope(seed: int, number: int, cells: int, side: int) -> Archive:
    """Simulate cells under one microscope, at depths drawn uniformly.

    Parameters
    ----------
    seed
        Random seed.
    number
        Which microscope; cells, fields and samples are named by it.
    cells
        Number of cells.
    side
        The subset of the split for all of them.
    """
    with threadpool_limits(1):  # several microscopes are simulated at once
        part = simulate_cells(cells, off_grid=True, **draw_microscope(seed, number))
    gc.collect()  # a microscope's tables, hundreds of MB, are in reference cycles
    each = range(part.n_cells)
    columns = {key: getattr(part.cells, key) for key in CELL_COLUMNS}
    columns["id"] = np.array([f"cell-{number:06d}-{k:04d}" for k in each], dtype=object)
    columns["field"] = np.array([f"field-{number:06d}-{k:04d}" for k in each], dtype=object)
    columns["sample_id"] = np.array([f"microscope-{number:06d}" for _ in each], dtype=object)
    sides = np.full(part.n_cells, side, np.int8)
    return replace(part, cells=Cells.from_columns(columns), splits={DEFAULT_SPLIT: sides})


def simulate_epoch(worlds: Worlds, epoch: int) -> Archive:
    """Simulate the training cells of one epoch.

    Parameters
    ----------
    worlds
        How many, and the seed.
    epoch
        Counted from 0.
    """
    first = worlds.first(epoch)
    numbers = range(first, first + worlds.microscopes)
    parts = [simulate_microscope(worlds.seed, each, worlds.cells, TRAIN) for each in numbers]
    return join(parts, str(worlds))


def simulate_epochs(
    worlds: Worlds, first: int, last: int, workers: int
) -> Generator[Archive, None, None]:
    """Simulate the training cells of consecutive epochs; workers are one epoch each ahead.

    Parameters
    ----------
    worlds
        How many, and the seed.
    first, last
        The first epoch, and the one after the last.
    workers
        Number of processes; the cells are the same for any number.
    """
    epochs = range(first, last)
    outcomes = in_processes(partial(simulate_epoch, worlds), epochs, workers)
    return in_order(outcomes, [f"epoch {epoch + 1}" for epoch in epochs])


def simulate_held_out(worlds: Worlds, number: int) -> Archive:
    """Simulate the cells of a microscope that is not trained on.

    Parameters
    ----------
    worlds
        How many, and the seed.
    number
        Which microscope.
    """
    side = VALIDATION if 3 * number < worlds.held_out else TEST
    return simulate_microscope(worlds.seed, number, worlds.held_out_cells, side)


def join(parts: Sequence[Archive], name: str) -> Archive:
    """Join archives of several microscopes.

    Parameters
    ----------
    parts
        One for each microscope.
    name
        Of the whole.
    """
    tables = [part.cells for part in parts]
    columns = {
        key: np.concatenate([getattr(table, key) for table in tables]) for key in CELL_COLUMNS
    }
    offsets = np.cumsum([0, *(part.n_cells for part in parts)])
    rows: dict[str, Any] = {
        key: np.concatenate([getattr(part, key) for part in parts])
        for key in ("images", "depth_um", "plane", "center_y", "center_x")
    }
    cell = np.concatenate(
        [part.cell + np.int32(offset) for part, offset in zip(parts, offsets[:-1], strict=True)]
    )
    sides = np.concatenate([part.splits[DEFAULT_SPLIT] for part in parts])
    return Archive(
        header=parts[0].header.model_copy(
            update={
                "optics": Optics(),
                "name": name,
                "description": "simulated sperm, depths drawn uniformly",
            }
        ),
        cell=cell,
        cells=Cells.from_columns(columns),
        true_depth_um=rows["depth_um"].copy(),
        splits={DEFAULT_SPLIT: sides},
        **rows,
    )
