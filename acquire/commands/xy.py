"""The commands for the x/y stage: calibrate it, and list the positions of a mosaic."""

from __future__ import annotations

from pathlib import Path

import click

from fgaf.acquire.commands.options import set_option
from fgaf.base.bounds import Overlap, StepUm, Tiles
from fgaf.base.console import Tool, count, echo, finish
from fgaf.base.options import PATH, Number, json_option, overwrite_option
from fgaf.base.outputs import output_file

_map = click.option(
    "--map",
    "map_path",
    type=PATH,
    metavar="FILE",
    help="The map of the stage.  [default: RIG.stage-map.toml, beside the rig]",
)


@click.command(cls=Tool)
@click.argument("rig_name", metavar="RIG")
@set_option
@click.option(
    "--step",
    type=Number(StepUm),
    help="Distance of the places from the start, µm.  [default: 15 % of the frame's shorter side]",
)
@_map
@json_option
def calibrate_stage(
    rig_name: str,
    overrides: tuple[str, ...],
    step: float | None,
    map_path: Path | None,
    as_json: bool,
) -> None:
    """Measure how moves of the x/y stage of RIG shift the image.

    First focus a fixed specimen with fine detail. The stage visits a small pattern around its
    position, which is printed first, and returns, also after an error or Ctrl-C. The map is written
    beside the rig, over an older one, and holds until camera, stage or optics of the rig change.
    """
    from fgaf.acquire.commissioning.stage_calibration import Pattern, calibrate_stage as calibrate
    from fgaf.acquire.control.stage_map import StageMap
    from fgaf.acquire.control.xy_stage import XYMover
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.rig import load_rig, open_rig

    rig, path = load_rig(rig_name, overrides), map_path or StageMap.path_of(rig_name)
    with Interrupt.on_signals(last=True) as interrupt, open_rig(rig, interrupt) as devices:
        travel = XYMover(devices, rig.xy_stage, interrupt)
        pattern = Pattern.of(devices, rig, travel, step)
        echo(pattern.describe(), err=as_json)
        found = calibrate(devices, rig, travel, pattern, interrupt)
    found.write(path)
    moves = count(found.moves, "move")
    finish(
        f"{found.describe()}\n{moves} fit within {found.residual_px:.2f} px r.m.s.\nwrote {path}",
        ["acq", "mosaic", rig_name, "--rows", 3, "--columns", 3],
        {"file": path, "pixel_size_um": found.pixel_size_um, **found.model_dump()},
        as_json,
    )


@click.command(cls=Tool)
@click.argument("rig_name", metavar="RIG")
@set_option
@click.option("--rows", type=Number(Tiles), required=True, help="Fields along y of the image.")
@click.option("--columns", type=Number(Tiles), required=True, help="Fields along x of the image.")
@click.option(
    "--overlap",
    type=Number(Overlap),
    default=0.1,
    show_default=True,
    help="Share of a field that its neighbour also shows.",
)
@_map
@click.option("--out", type=PATH, metavar="FILE", help="The list to write.  [default: mosaic.csv]")
@overwrite_option
@json_option
def mosaic(
    rig_name: str,
    overrides: tuple[str, ...],
    rows: int,
    columns: int,
    overlap: float,
    map_path: Path | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a list of positions for --positions: overlapping fields around the present position.

    The stage of RIG must be calibrated (`acq calibrate-stage`). Nothing moves; the positions are
    checked against the limits.
    """
    from fgaf.acquire.control.mosaic import mosaic as tiles
    from fgaf.acquire.control.positions import write_positions
    from fgaf.acquire.control.stage_map import StageMap
    from fgaf.acquire.control.xy_stage import XYMover
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.rig import load_rig, open_rig
    from fgaf.base.files import require_new

    out = output_file(out, Path("mosaic.csv"), overwrite, as_json)
    require_new(out, overwrite)
    rig = load_rig(rig_name, overrides)
    stage_map = StageMap.read(map_path or StageMap.path_of(rig_name), rig, rig_name)
    with open_rig(rig) as devices:
        travel = XYMover(devices, rig.xy_stage, Interrupt())
        x_um, y_um = travel.position_um()
        positions = tiles(stage_map, devices.camera.shape, (x_um, y_um), rows, columns, overlap)
        travel.check(positions)
    write_positions(out, positions)
    finish(
        f"wrote {count(len(positions), 'position')}: {out}",
        ["acq", "stack", "--rig", rig_name, "--positions", out],
        {"file": out, "positions": [vars(each) for each in positions]},
        as_json,
    )
