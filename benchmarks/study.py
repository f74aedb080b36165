"""Which readings of the FGAF paper win: trainings on the standard simulated benchmark, as CSV.

    acq simulate-cells --cells 232 --motile --seed 2026 --out dataset.h5
    python benchmarks/study.py dataset.h5 benchmarks/results/readings.csv --group modules

Every row is one training: 10 epochs of the preset `default` but for what the variant says.
Rows that the CSV holds already are not trained again, so a stopped study goes on.
"""

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fgaf.dataset.archive import Archive
from fgaf.model.predict import Predictor
from fgaf.model.settings import preset
from fgaf.model.train import train

EPOCHS = 10
BARE: dict[str, Any] = {"fgaf": False}
LITERAL: dict[str, Any] = {"residual": False, "pooling": "halve"}

GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "modules": {"shufflenet bare": BARE, "default": {}},
    "readings": {
        "WLoss": {"loss": "wloss"},
        "cross-entropy": {"loss": "ce"},
        "last map": {"insertion": "last"},
        "CrossNorm, other sample": {"cross_norm": "sample"},
        "no residual, last map, halved": {"insertion": "last", **LITERAL},
        "SelfNorm": {"self_norm": True},
        "CrossNorm, same depth": {"cross_norm": "depth"},
        "CrossNorm, other channel": {"cross_norm": "channel"},
        "WLoss / mean W": {"loss": "wloss", "wloss_normalise": "mean"},
        "every stage": {"insertion": "every"},
        "no FG": {"fg": False},
        "no AF": {"af": False},
        "width 128": {"width": 128},
        "CORN": {"loss": "corn"},
        "soft targets": {"loss": "soft"},
        "no test-time symmetries": {"tta": False},
    },
    "networks": {
        "resnet18 bare": {"backbone": "resnet18", "precision": "bf16", "threads": 1, **BARE},
        "resnet18 FGAF": {"backbone": "resnet18", "precision": "bf16", "threads": 1},
        "mobilenet_v2 bare": {"backbone": "mobilenet_v2", **BARE},
        "mobilenet_v2 FGAF": {"backbone": "mobilenet_v2"},
    },
}
COLUMNS = (
    "variant", "seed", "epochs", "dataset", "split", "test_cells", "top1", "top1_low", "top1_high",
    "top3", "mae_um", "expected_mae_um", "expected_p95_um", "train_s", "hits_per_cell",
)  # fmt: skip


def trained(archive: Archive, values: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train once; the columns that are measured."""
    settings = preset("default").with_values({"epochs": EPOCHS, "seed": seed, **values})
    with tempfile.TemporaryDirectory() as folder:
        metrics = train(archive, settings, Path(folder) / "run", pictures=False)
        shares = hits_of(archive, Predictor.load(Path(folder) / "run"), settings.split)
    return {
        **{key: metrics[key] for key in COLUMNS if key in metrics},
        "epochs": settings.epochs,
        "dataset": archive.header.name,
        "test_cells": metrics["n_cells"],
        "top1_low": metrics["intervals"]["top1"][0],
        "top1_high": metrics["intervals"]["top1"][1],
        "train_s": metrics["timing"]["train_s"],
        "hits_per_cell": shares,
    }


def hits_of(archive: Archive, predictor: Predictor, split: str) -> str:
    """How many patches of each test cell were right, one digit per cell."""
    rows = np.flatnonzero(archive.split_of_rows(split) == 2)
    right = predictor.probabilities(archive.images[rows]).argmax(axis=1)
    right = right == archive.depth_class[rows]
    return "".join(str(right[archive.cell[rows] == k].sum()) for k in np.unique(archive.cell[rows]))


def summary(path: Path, against: str = "default", planes: int = 9) -> str:
    """Markdown table of a CSV: means over seeds, and the paired difference of top-1.

    The difference is taken over the seeds that both variants have and the same test cells;
    its 95 % interval is a bootstrap over these cells.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    hits = {
        (row["variant"], row["seed"]): np.array([int(digit) for digit in row["hits_per_cell"]])
        for row in rows
    }
    rng = np.random.default_rng(0)
    lines = [
        f"| variant | seeds | top-1 | top-3 | expected depth, mean error µm | top-1 - {against} |",
        "|---|---|---|---|---|---|",
    ]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == variant]
        means = [np.mean([float(row[key]) for row in mine]) for key in _SHOWN]
        shared = [row["seed"] for row in mine if (against, row["seed"]) in hits]
        cell = ""
        if shared and variant != against:
            gain = np.mean([hits[variant, s] - hits[against, s] for s in shared], axis=0) / planes
            drawn = gain[rng.integers(len(gain), size=(2000, len(gain)))].mean(axis=1)
            low, high = np.percentile(drawn, [2.5, 97.5])
            cell = f"{100 * gain.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        top1, top3, error = means
        lines.append(
            f"| {variant} | {len(mine)} | {100 * top1:.1f} | {100 * top3:.1f} | {error:.3f} "
            f"| {cell} |"
        )
    return "\n".join(lines)


_SHOWN = ("top1", "top3", "expected_mae_um")


def main() -> None:
    """Train what is missing in the CSV, then print its summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--group", choices=GROUPS, nargs="*", default=list(GROUPS))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    archive = Archive.read(arguments.dataset)
    held = set()
    if arguments.csv.is_file():
        with arguments.csv.open(newline="") as file:
            held = {(row["variant"], int(row["seed"])) for row in csv.DictReader(file)}
    for seed in range(arguments.seeds):
        for group in arguments.group:
            for variant, values in GROUPS[group].items():
                if (variant, seed) in held:
                    continue
                row = {"variant": variant, "seed": seed, **trained(archive, values, seed)}
                new = not arguments.csv.is_file()
                with arguments.csv.open("a", newline="") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    if new:
                        writer.writeheader()
                    writer.writerow(row)
                print(f"{variant}, seed {seed}: top-1 {row['top1']:.3f}", flush=True)
    print(summary(arguments.csv))


if __name__ == "__main__":
    main()
