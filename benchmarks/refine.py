"""How far are labels off before and after `fgaf-refine`? On simulated cells, whose truth is known.

    python benchmarks/refine.py                       # three seeds: benchmarks/results/refine.csv
    python benchmarks/refine.py --cells 60 --seeds 0  # quicker, rougher
    python benchmarks/refine.py demo/dataset.h5       # an archive with a truth, as of `make demo`

Without an archive, stacks of single swimming cells are simulated at places that are known, labelled
by the focus suggestion of `fgaf.curate`, eight cells to a stack, and refined: once with cells that
swim along the glass, and once with cells that also climb or dive.
"""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.camera import sensor
from fgaf.acquire.simulation.camera.light import mottle
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.swimming import Pose, draw_swimming
from fgaf.base.options import PATH
from fgaf.curate.detection.crop import crops, planes_round
from fgaf.curate.focus.curves import Curves, measure
from fgaf.curate.focus.suggest import suggest_all
from fgaf.dataset.archive import Archive, ArchiveHeader, Cells
from fgaf.dataset.storage.optics import Optics
from fgaf.model.refine.refine import refine
from fgaf.model.refine.settings import RefineSettings

STEP_UM, STEPS, MARGIN, PATCH_PX, SIDE_PX, STACK = 0.5, 4, 3, 96, 128, 8
PLANE_S = 0.1
"""Time from plane to plane."""
CLIMB = 0.12
"""Standard deviation of the climb of cells that climb, µm per µm that the drive moves."""

Row = dict[str, Any]


def simulate(cells: int, climb: float, seed: int) -> Archive:
    """Simulate and label cells; their truth is known.

    Parameters
    ----------
    cells
        How many are simulated; those without a confident focus are left out.
    climb
        Standard deviation of the cells' steady climb, µm per µm of the drive.
    seed
        Random seed.
    """
    settings = SimulationSettings()
    painter, n = Painter(settings), STEPS + MARGIN
    z = STEP_UM * np.arange(-n, n + 1, dtype=float)
    found: list[tuple[npt.NDArray[Any], Curves, npt.NDArray[Any], npt.NDArray[Any]]] = []
    for number in range(cells):
        rng = np.random.default_rng([seed, number])
        found.append(_cell(painter, settings, rng, z, climb))
    parts: list[Row] = []
    for start in range(0, cells, STACK):
        group = found[start : start + STACK]
        for (frames, _, place, way), told in zip(
            group, suggest_all([curves for _, curves, _, _ in group]), strict=True
        ):
            planes = None if told.problem else planes_round(told.focus_um, z, 1, STEPS)
            if planes is None:
                continue
            y, x = place.T
            images = crops({int(p): frames[p] for p in planes}, y, x, planes, PATCH_PX)
            labels, truth = z[planes] - told.focus_um, z[planes] - way[planes]
            parts.append(
                {
                    "images": images,
                    "depth_um": labels,
                    "true_depth_um": truth,
                    "plane": planes,
                    "focus": told,
                    "source": f"stack-{start // STACK}",
                }
            )
    return _archive(parts, settings)


def _cell(
    painter: Painter,
    settings: SimulationSettings,
    rng: np.random.Generator,
    z: npt.NDArray[Any],
    climb: float,
) -> tuple[npt.NDArray[Any], Curves, npt.NDArray[Any], npt.NDArray[Any]]:
    """Frames, curves, places (P, 2) and focus (P,) of one cell."""
    pixel, exposure = settings.pixel_size_um, settings.reference_exposure_s
    start = Pose(0.0, 0.0, 0.0, yaw=float(rng.uniform(0, 2 * np.pi)))
    way = draw_swimming(rng, start, True, settings.beat_hz, settings.speed_um_s)
    swimmer = Swimmer(draw_sperm(rng, True), way)
    middle, slope = float(rng.uniform(-0.25, 0.25)), float(rng.normal(0, climb))
    frames, place, focus = [], np.empty((z.size, 2)), np.empty(z.size)
    begin = way.pose(z.size / 2 * PLANE_S).z_um
    for k, drive in enumerate(z):
        now = k * PLANE_S
        pose = way.pose(now)
        place[k] = SIDE_PX // 2 + rng.uniform(-0.5, 0.5, 2)
        focus[k] = middle + pose.z_um - begin + slope * drive
        canvas = Canvas((SIDE_PX, SIDE_PX), float(drive))
        shift = (
            place[k, 0] * pixel - pose.y_um,
            place[k, 1] * pixel - pose.x_um,
            float(focus[k]) - pose.z_um,
        )
        painter.sperm(canvas, swimmer, now, exposure, shift)
        clouds = mottle(rng, (SIDE_PX, SIDE_PX), settings)
        frames.append(sensor.expose(canvas.relative() * clouds, exposure, settings, rng))
    stack = np.stack(frames)
    curves = measure(stack, place[:, 0], place[:, 1], z, pixel, cutoff_per_um=settings.cutoff)
    return stack, curves, place, focus


def _archive(parts: list[Row], settings: SimulationSettings) -> Archive:
    per_cell, k = 2 * STEPS + 1, len(parts)
    joined = {
        name: np.concatenate([part[name] for part in parts])
        for name in ("images", "depth_um", "true_depth_um", "plane")
    }
    rows = [
        {
            "id": f"cell-{number}",
            "source": part["source"],
            "source_sha256": "",
            "sample_id": "",
            "field": "",
            "focus_um": part["focus"].focus_um,
            "focus_plane": int(part["plane"][STEPS]),
            "annotator": "auto",
            "labelled_utc": "2026-01-01T00:00:00+00:00",
            "method": "focus-curve",
            "confidence": part["focus"].confidence,
        }
        for number, part in enumerate(parts)
    ]
    cell = np.repeat(np.arange(k, dtype=np.int32), per_cell)
    return Archive(
        header=ArchiveHeader.new(
            step_um=STEP_UM,
            half_range_um=STEP_UM * STEPS,
            patch_px=PATCH_PX,
            optics=Optics(pixel_size_um=settings.pixel_size_um),
        ),
        images=joined["images"],
        depth_um=joined["depth_um"],
        true_depth_um=joined["true_depth_um"],
        plane=joined["plane"].astype(np.int32),
        cell=cell,
        center_y=1000 * cell,
        center_x=0 * cell,
        cells=Cells.from_rows(rows),
        splits={"default": np.zeros(k, np.int8)},
    )


def judge(archive: Archive, rounds: int) -> Row:
    """Refine an archive with a truth, test cells too, and compare the labels before and after.

    Parameters
    ----------
    archive
        With a truth.
    rounds
        See `RefineSettings`.
    """
    settings = RefineSettings(rounds=rounds, test=True)
    with TemporaryDirectory() as folder:
        better = refine(archive, settings, Path(folder) / "rounds").archive
    table = better.refinement
    assert table is not None
    assert better.true_depth_um is not None
    before, after = (
        labels - better.true_depth_um for labels in (table.depth_um_before, better.depth_um)
    )
    cell, k = better.cell, better.n_cells
    offset = np.array([before[cell == each].mean() for each in range(k)])
    slope = np.array(
        [-np.polyfit(table.depth_um_before[cell == c], before[cell == c], 1)[0] for c in range(k)]
    )
    missed = table.change_um + offset - offset.mean()
    return {
        "cells": k,
        "before_um": np.abs(before).mean(),
        "after_um": np.abs(after).mean(),
        "bias_um": after.mean(),
        "before_unbiased_um": np.abs(before - before.mean()).mean(),
        "after_unbiased_um": np.abs(after - after.mean()).mean(),
        "offsets_um": offset.std(),
        "offset_error_um": missed.std(),
        "offset_error_in_se": np.sqrt(np.mean((missed / table.change_se_um) ** 2)),
        "slopes": slope.std(),
        "slope_error": (table.slope - slope).std(),
        "slope_error_in_se": np.sqrt(
            np.mean(((table.slope - slope + slope.mean()) / table.slope_se) ** 2)
        ),
        "slope_gain": np.polyfit(slope, table.slope, 1)[0],
        "to_look_at": int((table.suspect != "").sum()),
    }


@click.command()
@click.argument("archives", type=PATH, nargs=-1, metavar="[ARCHIVE...]")
@click.option("--cells", default=232, show_default=True, help="Simulated for each seed.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Of the simulation.")
@click.option("--rounds", default=RefineSettings.rounds, show_default=True)
@click.option(
    "--out",
    type=PATH,
    default=Path(__file__).parent / "results",
    help="Folder for the table; benchmarks/results by default.",
)
def main(archives: tuple[Path, ...], cells: int, seeds: str, rounds: int, out: Path) -> None:
    """Measure labels before and after refinement."""
    rows: list[Row] = []
    for path in archives:
        rows.append({"what": path.stem, "seed": "", **judge(Archive.read(path), rounds)})
    for seed in [] if archives else list(map(int, seeds.split(","))):
        for what, climb in (("swim", 0.0), ("climb", CLIMB)):
            rows.append({"what": what, "seed": seed, **judge(simulate(cells, climb, seed), rounds)})
            click.echo(_words(rows[-1]))
    if archives:
        click.echo("\n".join(map(_words, rows)))
        return
    with (out / "refine.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {
                k: round(v, 4) if k != "seed" and not isinstance(v, str) else v
                for k, v in row.items()
            }
            for row in rows
        )


def _words(row: Row) -> str:
    return "  ".join(
        f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
    )


if __name__ == "__main__":
    main()
