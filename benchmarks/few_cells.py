"""How many cells are enough: learning curves from random and from pretrained weights, as CSV.

    python benchmarks/few_cells.py outside benchmarks/results/few_cells.csv

The data set "outside" is simulated under a microscope that lies outside of every range that
the network that ships was trained on (see its card); "beads" is an archive
of real beads, made as docs/beads.md says, where the two images of a bead count as two cells and
random weights are trained with the preset that `fgaf-train` takes for it. The test cells stay the
same for all numbers of training cells, and the validation cells are left alone. Random weights get
`--steps` steps of training and pretrained ones half of that, the ratio of `fgaf-train`'s own
schedule. The rows of `sim` in the table were made with whole patches and lr = 0.01. Rows that the
CSV holds already are not trained again.
"""

import argparse
import csv
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.dataset.archive import Archive
from fgaf.model.inference.initial_weights import shipped
from fgaf.model.inference.predict import Predictor
from fgaf.model.metrics.depth import judge
from fgaf.model.networks.settings import RANDOM, preset
from fgaf.model.training.defaults import default_preset
from fgaf.model.training.train import train

OUTSIDE = SimulationSettings(
    numerical_aperture=0.8,
    wavelength_um=0.65,
    condenser_na=0.08,
    spherical_waves=0.08,
    camera_pixel_um=4.5,
    photons=1500,
    full_well=3000,
    read_noise=18,
    mottle=0.035,
    beat_hz=(26, 32),
    speed_um_s=(140, 180),
)
SEED = 2027
COLUMNS = (
    "dataset", "start", "cells", "seed", "test_cells", "top1", "top1_low", "top1_high", "top3",
    "mae_um", "expected_mae_um", "expected_mae_low", "expected_mae_high", "expected_p95_um",
    "train_s",
)  # fmt: skip


def with_fewer(archive: Archive, cells: int, seed: int) -> Archive:
    """Leave only so many training cells, drawn by the seed, beside all others of the split."""
    sides = archive.splits["default"]
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(sides == 0))[:cells]
    kept = np.sort(np.concatenate([drawn, np.flatnonzero(sides != 0)]))
    rows = np.isin(archive.cell, kept)
    return replace(
        archive,
        cells=archive.cells.take(kept),
        splits={"default": sides[kept]},
        images=archive.images[rows],
        cell=np.searchsorted(kept, archive.cell[rows]).astype(np.int32),
        **{
            name: values[rows]
            for name in ("depth_um", "plane", "center_y", "center_x", "true_depth_um")
            if (values := getattr(archive, name)) is not None
        },
    )


def epochs_for(steps: int, patches: int, batch: int) -> int:
    """Passes over so many patches that make about so many steps, at least one."""
    return max(1, round(steps * batch / patches))


def measured(archive: Archive, start: str, cells: int, seed: int, steps: int) -> dict[str, Any]:
    """Metrics of one training; of the shipped network as it is for no cells."""
    if cells == 0:
        rows = np.flatnonzero(archive.split_of_rows() == 2)
        metrics = judge(Predictor(shipped()).probabilities(archive.images[rows]), archive, rows)
    else:
        fewer = with_fewer(archive, cells, seed)
        patches = int((fewer.split_of_rows() == 0).sum())
        suits = default_preset(archive, start)
        precision = "fp32" if suits == "default" else "bf16"
        settings = preset(suits).with_values(
            {"seed": seed, "start": start, "threads": 1, "precision": precision}
        )
        taken = steps if start == RANDOM else steps // 2
        settings = replace(settings, epochs=epochs_for(taken, patches, settings.batch))
        with tempfile.TemporaryDirectory() as folder:
            metrics = train(fewer, settings, Path(folder), pictures=False)
    low, high = metrics["intervals"]["top1"]
    error = metrics["intervals"]["expected_mae_um"]
    return {
        **{key: metrics[key] for key in COLUMNS if key in metrics},
        "test_cells": metrics["n_cells"],
        "top1_low": low,
        "top1_high": high,
        "expected_mae_low": error[0],
        "expected_mae_high": error[1],
        "train_s": metrics.get("timing", {}).get("train_s", 0),
    }


def main() -> None:
    """Train what is missing in the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="outside, or an archive")
    parser.add_argument("csv", type=Path)
    parser.add_argument("--cells", type=int, nargs="*", default=[5, 10, 20, 50, 100, 162])
    parser.add_argument("--starts", nargs="*", default=[RANDOM, "sim"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400, help="from random weights")
    arguments = parser.parse_args()
    if arguments.dataset == "outside":
        name, archive = "outside", simulate_cells(232, seed=SEED, settings=OUTSIDE)
    else:
        path = Path(arguments.dataset)
        archive = Archive.read(path)
        name = archive.header.name or path.stem
    held = set()
    if arguments.csv.is_file():
        with arguments.csv.open(newline="") as file:
            held = {
                (row["dataset"], row["start"], int(row["cells"]), int(row["seed"]))
                for row in csv.DictReader(file)
            }
    for seed in range(arguments.seeds):
        for start in arguments.starts:
            for cells in arguments.cells:
                key = (name, start, cells, seed)
                if key in held or (cells == 0 and (start == RANDOM or seed > 0)):
                    continue
                row = dict(zip(COLUMNS, key, strict=False)) | measured(
                    archive, start, cells, seed, arguments.steps
                )
                new = not arguments.csv.is_file()
                with arguments.csv.open("a", newline="") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    if new:
                        writer.writeheader()
                    writer.writerow({column: row[column] for column in COLUMNS})
                print(
                    f"{name}, {start}, {cells} cells, seed {seed}: top-1 {row['top1']:.3f}, "
                    f"expected depth off by {row['expected_mae_um']:.3f} µm",
                    flush=True,
                )


if __name__ == "__main__":
    main()
