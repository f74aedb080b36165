"""The command `acq`: take focus stacks, on a microscope or on the simulated one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fgaf.acquire.options import json_option, overwrite_option, rig_option, set_option
from fgaf.acquire.setup_cli import check, devices, rig
from fgaf.dataset.console import Program, Tool, finish, progress

_FILE = click.Path(path_type=Path)


@click.group(cls=Program)
def main() -> None:
    """Take focus stacks, on a microscope or on the simulated one.

    All positions are in micrometres of the focus drive.
    """


@main.command(cls=Tool)
@click.option("--step", type=float, default=0.5, show_default=True, help="µm between planes.")
@click.option(
    "--range",
    "half_range",
    type=float,
    default=2.0,
    show_default=True,
    help="Half range in µm: 2 is ±2 µm about the centre. Other tools take the total.",
)
@click.option("--center", type=float, help="Middle plane in µm.  [default: where the drive is]")
@click.option("--out", type=_FILE, required=True, metavar="DIR", help="Folder for the stacks.")
@rig_option
@set_option
@click.option("--repeat", type=int, default=1, show_default=True, help="Stacks one after another.")
@click.option("--name", default="", help="File name.  [default: SAMPLE_time, in UTC]")
@click.option("--sample", default="", metavar="ID", help="Recorded; groups cells in the split.")
@click.option("--field", default="", metavar="NAME", help="Field of view; repeats share it.")
@click.option("--operator", default="", help="Recorded.")
@click.option("--exposure-ms", type=float, help="Exposure time, instead of the rig's.")
@click.option("--seed", type=int, help="Seed of the simulated specimen.")
@click.option("--realtime", is_flag=True, help="Let simulated time take as long as real time.")
@click.option(
    "--truth/--no-truth",
    default=True,
    show_default=True,
    help="Write what a simulated camera knows of the cells beside the stack.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, print the planes, move nothing.")
@overwrite_option
@json_option
def stack(
    step: float,
    half_range: float,
    center: float | None,
    out: Path,
    rig_name: str,
    overrides: tuple[str, ...],
    repeat: int,
    name: str,
    sample: str,
    field: str,
    operator: str,
    exposure_ms: float | None,
    seed: int | None,
    realtime: bool,
    truth: bool,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Take focus stacks: move, wait for arrival, settle, expose, check, plane by plane.

    The drive is returned to where it was, also after an error or Ctrl-C. A broken run leaves what
    it has in a .part file: `acq recover` publishes it.
    """
    from fgaf.acquire.engine import Engine
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.plan import StackPlan
    from fgaf.acquire.recording import Labels, record_stacks, stack_paths
    from fgaf.acquire.rig import load_rig, open_rig
    from fgaf.dataset.errors import SettingError

    plan = StackPlan(step, half_range, center or 0.0)
    paths = stack_paths(out, repeat, name, sample)
    if (seed is not None or realtime) and load_rig(rig_name, overrides).simulation is None:
        raise SettingError(f"--seed and --realtime are for simulated rigs; {rig_name} is none")
    rig = load_rig(rig_name, (*overrides, *_settings(seed, realtime, exposure_ms)))
    with Interrupt.on_signals() as interrupt, open_rig(rig) as devices:
        engine = Engine(devices, rig.camera, rig.stage, interrupt)
        if center is None:
            plan = plan.about(round(engine.position_um(), 3))
        engine.check(plan)
        click.echo(plan.describe(), err=as_json)
        if not dry_run:
            record_stacks(
                devices,
                rig,
                plan,
                paths,
                Labels(sample, operator, field),
                truth=truth,
                overwrite=overwrite,
                interrupt=interrupt,
                progress=progress,
            )
    files = f"{paths[0]}" if repeat == 1 else f"{paths[0]} to {paths[-1].name}"
    wrote = f"{'would write' if dry_run else 'wrote'} {_count(repeat, 'stack')} of "
    finish(
        f"{wrote}{_count(len(plan), 'plane')}: {files}",
        f"fgaf-curate auto {paths[0] if repeat == 1 else out} --out {out / 'dataset.h5'}",
        {
            "files": paths,
            "planes": len(plan),
            "z_um": list(plan),
            "step_um": plan.step_um,
            "half_range_um": plan.half_range_um,
            "center_um": plan.center_um,
            "dry_run": dry_run,
        },
        as_json,
    )


@main.command(cls=Tool)
@click.argument("part", type=_FILE)
@overwrite_option
@json_option
def recover(part: Path, overwrite: bool, as_json: bool) -> None:
    """Publish the planes that a broken run left in PART (NAME.stack.h5.part)."""
    from fgaf.dataset.raw import recover as publish

    found = publish(part, overwrite)
    finish(
        f"recovered {found.planes} of {found.planned} planes: {found.path}",
        f"fgaf-curate auto {found.path} --out {found.path.parent / 'dataset.h5'}",
        {"file": found.path, "planes": found.planes, "planned": found.planned},
        as_json,
    )


@main.command(cls=Tool)
@click.option("--cells", type=int, default=232, show_default=True)
@click.option("--motile/--immotile", default=True, show_default=True)
@click.option("--seed", type=int, default=2026, show_default=True, help="All follows from it.")
@click.option(
    "--contrast",
    type=click.Choice(["brightfield", "relief"]),
    default="brightfield",
    show_default=True,
)
@click.option("--step", type=float, default=0.5, show_default=True, help="µm between planes.")
@click.option(
    "--range", "half_range", type=float, default=2.0, show_default=True, help="Half range in µm."
)
@click.option("--patch", type=int, default=96, show_default=True, help="Side of a patch in pixels.")
@click.option("--off-grid", is_flag=True, help="Draw depths uniformly, not at whole steps.")
@click.option("--out", type=_FILE, required=True, metavar="FILE", help="The archive to write.")
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
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write an archive of simulated cells, cropped and labelled by their true depth.

    The standard simulated benchmark: it needs no acquisition and no curation.
    """
    from fgaf.acquire.simulation.cells import simulate_cells as simulate
    from fgaf.dataset.archive import write_archive
    from fgaf.dataset.files import require_new

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
        progress=lambda each: progress(each, f"{cells} cells", cells),
    )
    write_archive(out, archive, overwrite)
    finish(
        f"wrote {_count(archive.n_cells, 'cell')}, {_count(len(archive.depth_um), 'patch')}: {out}",
        f"fgaf-train {out} --out {out.with_suffix('')}-run",
        {"file": out, "cells": archive.n_cells, "patches": len(archive.depth_um)},
        as_json,
    )


for _command in (devices, rig, check):
    main.add_command(_command)


def _settings(seed: int | None, realtime: bool, exposure_ms: float | None) -> list[str]:
    settings = {
        "simulation.seed": seed,
        "stage.options.realtime": "true" if realtime else None,
        "camera.exposure_ms": exposure_ms,
    }
    return [f"{key}={value}" for key, value in settings.items() if value is not None]


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
