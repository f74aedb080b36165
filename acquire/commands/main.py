"""The command `acq`: take focus stacks on a real or simulated microscope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fgaf.acquire.commands.live import live
from fgaf.acquire.commands.pipette import calibrate_pipette
from fgaf.acquire.commands.recording import stack, sweep
from fgaf.acquire.commands.setup import check, devices, rig
from fgaf.acquire.commands.xy import calibrate_stage, mosaic
from fgaf.base.bounds import Cells, CropPx, HalfRangeUm, Seed, StepUm
from fgaf.base.console import Program, Tool, bar, count, echo, finish, progress
from fgaf.base.options import PATH, Number, json_option, overwrite_option
from fgaf.base.outputs import output_file


@click.group(cls=Program)
def main() -> None:
    """Take focus stacks on a real or simulated microscope.

    All positions are in micrometres of the focus drive.
    """


@main.command(cls=Tool)
@click.argument("part", type=PATH)
@overwrite_option
@json_option
def recover(part: Path, overwrite: bool, as_json: bool) -> None:
    """Publish the planes of a broken run from PART (NAME.stack.h5.part)."""
    from fgaf.dataset.raw import recover as publish, stack_of

    echo(f"writing {stack_of(part)}", err=as_json)
    found = publish(part, overwrite)
    finish(
        f"recovered {found.planes} of {count(found.planned, 'plane')}: {found.path}",
        ["fgaf-curate", "auto", found.path],
        {"file": found.path, "planes": found.planes, "planned": found.planned},
        as_json,
    )


@main.command(cls=Tool)
@click.option("--cells", type=Number(Cells), default=232, show_default=True)
@click.option("--motile/--immotile", default=True, show_default=True)
@click.option("--seed", type=Number(Seed), default=2026, show_default=True, help="Random seed.")
@click.option(
    "--contrast",
    type=click.Choice(["brightfield", "relief", "phase", "phase-negative", "dic"]),
    default="brightfield",
    show_default=True,
)
@click.option(
    "--step", type=Number(StepUm), default=0.5, show_default=True, help="µm between planes."
)
@click.option(
    "--range",
    "half_range",
    type=Number(HalfRangeUm),
    default=2.0,
    show_default=True,
    help="Half range in µm.",
)
@click.option(
    "--patch", type=Number(CropPx), default=96, show_default=True, help="Side of a patch in pixels."
)
@click.option("--off-grid", is_flag=True, help="Draw depths uniformly, not at whole steps.")
@click.option("--masks", is_flag=True, help="Write the masks of the heads, too.")
@click.option(
    "--out", type=PATH, metavar="FILE", help="The archive to write.  [default: simulated.h5]"
)
@overwrite_option
@json_option
def simulate_cells(
    cells: int,
    motile: bool,
    seed: int,
    contrast: Any,
    step: float,
    half_range: float,
    patch: int,
    off_grid: bool,
    masks: bool,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write an archive of simulated cells, cropped and labelled by their true depth.

    The standard simulated benchmark: it needs no acquisition and no curation.
    """
    from fgaf.acquire.simulation.cells import simulate_cells as simulate
    from fgaf.base.files import require_new
    from fgaf.dataset.archive import write_archive

    out = output_file(out, Path("simulated.h5"), overwrite, as_json)
    require_new(out, overwrite)
    archive = simulate(
        cells,
        motile,
        seed,
        off_grid,
        contrast,
        step,
        half_range,
        patch,
        progress=lambda each: progress(each, count(cells, "cell"), cells),
        masks=masks,
    )
    write_archive(out, archive, overwrite, bar("writing"))
    finish(
        f"wrote {count(archive.n_cells, 'cell')}, {count(len(archive.depth_um), 'patch')}: {out}",
        ["fgaf-train", out],
        {"file": out, "cells": archive.n_cells, "patches": len(archive.depth_um)},
        as_json,
    )


for _command in (
    stack,
    sweep,
    live,
    devices,
    rig,
    check,
    calibrate_stage,
    mosaic,
    calibrate_pipette,
):
    main.add_command(_command)
