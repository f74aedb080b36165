"""How good is a depth that nobody labelled? Calibrated and labelled networks on one microscope.

    python benchmarks/calibration.py inverted DATA benchmarks/results/calibration.csv

The microscope is one of `other_microscope.STANDS`, a second forward model. Its stacks and labelled
patches are made in the folder DATA, once. `fgaf-calibrate` sees raw stacks of one cell each, and no
truth; it is judged by 46 other cells at depths between the classes. Rows "labelled" are trained by
`fgaf-train` on labelled cells there: the same network from random weights (`sim-like`), and the
preset default. Beside the mean error of the expected depth stands that without the common zero,
which for a calibrated network is that of the focus rule. Rows that the CSV has are not made again.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from few_cells import with_fewer
from other_microscope import STANDS, patches, stack

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive, write_archive
from fgaf.model.calibration.calibrate import calibrate
from fgaf.model.calibration.settings import CalibrationSettings
from fgaf.model.inference.predict import Predictor
from fgaf.model.metrics.intervals import cell_draws, drawn_means, interval
from fgaf.model.networks.settings import TrainSettings, preset
from fgaf.model.training.train import train

COLUMNS = (
    "stand", "how", "cells", "seed", "used_cells", "mae_um", "mae_low_um", "mae_high_um", "zero_um",
    "mae_without_zero_um", "held_out_steps_um", "focus_error_um", "zero_error_um", "seconds",
)  # fmt: skip
SIM_LIKE = {"view": 1.0, "stem_stride": 2}


def judged(run: Path, archive: Archive) -> dict[str, Any]:
    """Errors of the expected depth on the test cells, with an interval over cells."""
    rows = np.flatnonzero(archive.split_of_rows() == 2)
    depth, _ = Predictor.load(run).predict(archive.images[rows])
    error = depth - archive.depth_um[rows]
    cell = np.unique(archive.cell[rows], return_inverse=True)[1].astype(np.int64)
    draws = drawn_means(np.abs(error), cell, cell_draws(int(cell.max()) + 1, 0))
    low, high = interval(draws) or (float("nan"), float("nan"))
    zero = float(np.median(error))
    return {
        "mae_um": float(np.abs(error).mean()),
        "mae_low_um": low,
        "mae_high_um": high,
        "zero_um": zero,
        "mae_without_zero_um": float(np.abs(error - zero).mean()),
    }


def calibrated(stacks: list[Path], seed: int, archive: Archive, steps: int) -> dict[str, Any]:
    """One calibration."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        metrics = calibrate(stacks, out, CalibrationSettings(seed=seed, threads=1, steps=steps))
        return {
            **judged(out, archive),
            "used_cells": metrics["n_cells"],
            "held_out_steps_um": metrics["held_out"]["error_um"],
            "focus_error_um": metrics["focus_error_um"],
            "zero_error_um": metrics["zero_error_um"],
            "seconds": metrics["timing"]["total_s"],
        }


def labelled(archive: Archive, cells: int, settings: TrainSettings) -> dict[str, Any]:
    """One training with labels."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        metrics = train(with_fewer(archive, cells, settings.seed), settings, out, pictures=False)
        return {
            **judged(out, archive),
            "used_cells": cells,
            "seconds": metrics["timing"]["total_s"],
        }


def main() -> None:
    """Make what is missing in the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stand", choices=STANDS)
    parser.add_argument("data", type=Path)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--cells", type=int, nargs="*", default=[5, 20])
    parser.add_argument("--labelled", type=int, nargs="*", default=[162])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=CalibrationSettings.steps)
    parser.add_argument("--epochs", type=int, default=0, help="of labelled trainings; 0: theirs")
    arguments = parser.parse_args()
    stand = STANDS[arguments.stand]
    folder = arguments.data / arguments.stand
    folder.mkdir(parents=True, exist_ok=True)
    made = arguments.data / f"{arguments.stand}.h5"
    if not made.is_file():
        write_archive(made, patches(stand, 232, 9, "uniform"))
    archive = Archive.read(made)
    held: set[tuple[str, ...]] = set()
    if arguments.csv.is_file():
        with arguments.csv.open(newline="") as file:
            held = {tuple(row[key] for key in COLUMNS[:4]) for row in csv.DictReader(file)}
    for seed in range(arguments.seeds):
        for how, cells in [
            *(("calibrated", n) for n in arguments.cells),
            *((how, n) for n in arguments.labelled for how in ("sim-like", "default")),
        ]:
            key = (arguments.stand, how, cells, seed)
            if tuple(map(str, key)) in held:
                continue
            if how == "calibrated":
                numbers = range(100 * seed, 100 * seed + cells)
                stacks = [folder / f"{number:05d}.stack.h5" for number in numbers]
                for number, path in zip(numbers, stacks, strict=True):
                    if not path.is_file():
                        stack(stand, path, number)
                try:
                    found = calibrated(stacks, seed, archive, arguments.steps)
                except FgafError as error:
                    print(f"{key}: refused: {error}", flush=True)
                    continue
            else:
                settings = preset("default").with_values(
                    {"seed": seed, "threads": 1, "epochs": arguments.epochs}
                )
                if how == "sim-like":
                    settings = settings.with_values(SIM_LIKE)
                found = labelled(archive, cells, settings)
            row = dict(zip(COLUMNS, key, strict=False)) | found
            new = not arguments.csv.is_file()
            with arguments.csv.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if new:
                    writer.writeheader()
                writer.writerow({name: row.get(name, "") for name in COLUMNS})
            print(key, {name: found[name] for name in ("mae_um", "zero_um")}, flush=True)


if __name__ == "__main__":
    main()
