"""The command that calibrates the micropipette."""

from __future__ import annotations

from pathlib import Path

import click

from fgaf.acquire.commands.options import set_option
from fgaf.base.bounds import HalfRangeUm, StepUm
from fgaf.base.console import Tool, count, echo, finish
from fgaf.base.options import PATH, Number, json_option


@click.command(cls=Tool)
@click.argument("rig_name", metavar="RIG")
@set_option
@click.option("--go", is_flag=True, help="Move the pipette; else its moves are only printed.")
@click.option(
    "--step",
    type=Number(StepUm),
    default=10.0,
    show_default=True,
    help="Distance of the places from the start, µm.",
)
@click.option(
    "--range",
    "half_range",
    type=Number(HalfRangeUm),
    default=60.0,
    show_default=True,
    help="How far the drive looks for the tip on either side, µm.",
)
@click.option(
    "--find-dish",
    is_flag=True,
    help="Then lower the pipette until its tip touches the dish, and raise it at once.",
)
@click.option(
    "--map",
    "map_path",
    type=PATH,
    metavar="FILE",
    help="The map of the pipette.  [default: RIG.pipette-map.toml, beside the rig]",
)
@json_option
def calibrate_pipette(
    rig_name: str,
    overrides: tuple[str, ...],
    go: bool,
    step: float,
    half_range: float,
    find_dish: bool,
    map_path: Path | None,
    as_json: bool,
) -> None:
    """Measure how moves of the manipulator of RIG move the tip in the image, and its focus.

    First bring the tip into the image and near the focus, well over the dish. The pipette visits
    places beside and over its start, never under it, and is raised at the end, also after an error.
    Without --go nothing moves, and the places are printed.

    --find-dish measures at which height the tip touches, where it can be spared: slowly, and never
    under manipulator.floor_um, which must lie under the dish for this once. It proposes a floor.
    """
    from fgaf.acquire.commissioning.dish_contact import FLOOR_MARGIN_UM, find_dish as touch
    from fgaf.acquire.commissioning.pipette_calibration import (
        calibrate_pipette as calibrate,
        doubt_of,
        pattern_of,
    )
    from fgaf.acquire.control.pipette import PipetteMover
    from fgaf.acquire.control.pipette_map import PipetteMap
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.rig import load_rig, open_rig

    rig, path = load_rig(rig_name, overrides), map_path or PipetteMap.path_of(rig_name)
    with Interrupt.on_signals(last=True) as interrupt, open_rig(rig, interrupt) as devices:
        mover = PipetteMover(
            devices, rig.manipulator, interrupt, lambda line: echo(line, err=as_json), go
        )
        places = pattern_of(mover, step)
        if not go:
            for place in places[1:]:
                mover.go_to(place)
            if find_dish:
                echo(
                    f"the pipette is lowered by 1 µm at a time until it touches, at most to "
                    f"{mover.limits_um[2][0]:g} µm",
                    err=as_json,
                )
            finish(
                "nothing was moved; give --go to move the pipette",
                ["acq", "calibrate-pipette", rig_name, "--go"],
                {"places": places},
                as_json,
            )
            return
        found = calibrate(devices, rig, mover, places, half_range, interrupt)
        found.write(path)
        if find_dish:
            dish_um = touch(devices, rig, mover, found, interrupt)
            found = found.model_copy(update={"dish_um": dish_um})
            found.write(path)
    dish = ""
    if found.dish_um is not None:
        dish = (
            f"the tip touches the dish under z = {found.dish_um:.1f} µm: set manipulator.floor_um "
            f"= {found.dish_um + FLOOR_MARGIN_UM:.1f}\n"
        )
    if doubt := doubt_of(found, rig.optics.medium_index):
        echo(f"warning: {doubt}", err=as_json)
    finish(
        f"{found.describe()}\n{count(found.moves, 'place')} fit within {found.residual_px:.2f} px "
        f"and {found.residual_um:.2f} µm of the drive, r.m.s.\n{dish}wrote {path}",
        ["acq", "rig", "show", rig_name],
        {"file": path, "drive_factor": found.drive_factor, **found.model_dump()},
        as_json,
    )
