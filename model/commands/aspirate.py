"""The command `fgaf-aspirate`: parse, run the trials, print."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fgaf.acquire.commands.options import set_option
from fgaf.base.bounds import AngleDeg, Count, OffFocusUm, WaitMs
from fgaf.base.console import Tool, command_line, count, echo, finish
from fgaf.base.options import PATH, Number, head_option, json_option, overwrite_option
from fgaf.model.commands.options import (
    allow_host_option,
    heads_option,
    host_option,
    page_option,
    play_option,
    stage_map_option,
)

if TYPE_CHECKING:
    from fgaf.model.aspirate.command import Result
    from fgaf.model.aspirate.settings import AspirationSettings


@click.command(cls=Tool)
@click.argument("rig_name", metavar="RIG")
@click.option(
    "--depth",
    "model",
    type=PATH,
    required=True,
    metavar="RUN",
    help='Network that reads depth: a training run, a checkpoint, an exported model, or "sim".',
)
@set_option
@heads_option
@click.option(
    "--trials", type=Number(Count), default=1, show_default=True, help="Number of trials."
)
@click.option(
    "--depth-by",
    type=click.Choice(["network", "search", "truth"]),
    default="network",
    show_default=True,
    help="Height of the cell: from the network; from a focus search, for cells at rest only; or "
    "the truth of a simulated camera.",
)
@click.option(
    "--go", is_flag=True, help="Move and pump. Without it every move is only told: a dry run."
)
@click.option(
    "--procedure",
    "values",
    metavar="KEY=VALUE",
    multiple=True,
    help="Replace one setting of the procedure, as flow_nl_s=0.02 or retain=constant; may be "
    "repeated. The name paper stands for the paper's values. docs/aspiration.md lists them.",
)
@click.option(
    "--bore-angle",
    "bore_deg",
    type=Number(AngleDeg),
    default=0.0,
    show_default=True,
    help="Direction in the frame from the mouth into the pipette, degrees: 0 right, 90 down.",
)
@stage_map_option
@click.option(
    "--pipette-map",
    "pipette_map_path",
    type=PATH,
    metavar="FILE",
    help="Where the tip is in the image.  [default: RIG.pipette-map.toml, beside the rig]",
)
@click.option(
    "--off-focus",
    "off_um",
    type=Number(OffFocusUm),
    default=-1.0,
    show_default=True,
    help="The drive is kept so far from the focus of the cell, µm: a head in perfect focus is hard "
    "to find.",
)
@play_option
@page_option
@host_option
@allow_host_option
@click.option(
    "--out",
    type=PATH,
    metavar="FILE.h5",
    help="File of the trials: numbers of every frame, results, video.",
)
@click.option(
    "--processing",
    "processing_ms",
    type=Number(WaitMs),
    default=20.0,
    show_default=True,
    help="Simulated devices: how long the processing of a frame takes in simulated time, ms. Real "
    "devices do not wait.",
)
@click.option("--frames", type=Number(Count), help="End after this number of frames.")
@head_option
@click.option("--force", is_flag=True, help="Use a model that was trained on other images.")
@overwrite_option
@json_option
def aspirate(
    rig_name: str,
    model: Path,
    overrides: tuple[str, ...],
    heads: Path | None,
    trials: int,
    depth_by: Any,
    go: bool,
    values: tuple[str, ...],
    bore_deg: float,
    map_path: Path | None,
    pipette_map_path: Path | None,
    off_um: float,
    play_um: float,
    page: int | None,
    host: str,
    names: tuple[str, ...],
    out: Path | None,
    processing_ms: float,
    frames: int | None,
    head_um: float,
    force: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Draw single sperm into the micropipette of the rig RIG, and keep them there.

    RIG is a rig file with the tables [manipulator], [pump] and [xy_stage], or the built-in
    sim-aspiration. The x/y stage keeps a cell before the tip, the pipette goes to its height, and
    the pump draws when it swims towards the tip. Each trial ends as a success or with its cause.

    Without --go nothing moves: every move is printed as it would be made. Stage and pipette must be
    calibrated (`acq calibrate-stage`, `acq calibrate-pipette`). Whatever goes wrong stops the pump,
    raises the pipette and stops the stage; so does Ctrl-C, and the button on the page.

    \b
    fgaf-aspirate rig.toml --depth model.onnx
    fgaf-aspirate rig.toml --depth model.onnx --heads heads.xml --trials 50 --out trials.h5 --go
    fgaf-aspirate sim-aspiration --depth sim --trials 3 --go
    """  # noqa: D301 - click reads the backspace
    from fgaf.acquire.control.pipette_map import PipetteMap
    from fgaf.acquire.control.stage_map import StageMap
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.rig import load_rig
    from fgaf.model.aspirate.loop import LoopSettings
    from fgaf.model.aspirate.run import TrialOutputs
    from fgaf.model.live.loop import open_live, open_live_heads

    settings = LoopSettings(
        trials=trials,
        depth_by=depth_by,
        go=go,
        bore_deg=bore_deg,
        off_um=off_um,
        play_um=play_um,
        head_um=head_um,
        processing_s=processing_ms / 1e3,
        procedure=_procedure(values),
    )
    rig = load_rig(rig_name, overrides)
    pipette_map = PipetteMap.of(rig_name, rig, pipette_map_path)
    stage_map = StageMap.of(rig_name, rig, map_path)
    outputs = TrialOutputs(page=page, host=host, names=names, out=out, overwrite=overwrite)

    def say(line: str) -> None:
        echo(line, err=True)

    def each(result: Result) -> None:
        if as_json:
            echo(json.dumps(result.to_dict()))
        else:
            echo(f"trial {result.trial}: {result.outcome} after {result.seconds:.1f} s")

    if not go:
        say("dry run: nothing moves, every move is told; add --go to make them")
    with Interrupt.on_signals(last=True) as interrupt:
        done = outputs.run(
            rig,
            open_live(model),
            settings,
            interrupt,
            pipette_map=pipette_map,
            stage_map=stage_map,
            heads=None if heads is None else open_live_heads(heads),
            force=force,
            frames=frames,
            about={"model": str(model), "heads": str(heads or "")},
            command=command_line("fgaf-aspirate", *sys.argv[1:]),
            say=say,
            tell=say,
            each=each,
        )
    if as_json:
        echo(json.dumps(done.to_dict()))
        return
    again = ["fgaf-aspirate", rig_name, "--depth", model, "--go"]
    finish(
        f"{'' if go else 'dry run: '}{count(len(done.results), 'trial')}: {done.successes} of "
        f"{count(done.released, 'released cell')} kept, {done.given_up} given up "
        f"before; {count(done.frames, 'frame')}, {done.dropped} dropped; from exposure to "
        f"command {done.command_p50_ms:.1f} ms, 99 % within {done.command_p99_ms:.1f} ms"
        f"{f'; wrote {out}' if out is not None and done.frames else ''}",
        None if go else again,
    )


def _procedure(values: tuple[str, ...]) -> AspirationSettings:
    """The settings of the procedure, with those that were given."""
    from dataclasses import fields

    from fgaf.base.errors import SettingError
    from fgaf.base.names import nearest
    from fgaf.base.toml import parse_assignment
    from fgaf.model.aspirate.settings import PAPER, AspirationSettings

    known = [field.name for field in fields(AspirationSettings) if field.name != "search"]
    for each in values:
        if "=" not in each and each != "paper":
            raise SettingError(f"--procedure {each}: give KEY=VALUE, or paper")
    given = dict(PAPER) if "paper" in values else {}
    given |= dict(parse_assignment(each) for each in values if each != "paper")
    for name in given:
        if name not in known:
            raise SettingError(f"--procedure: no setting {name!r}; {nearest(name, known)}")
    return replace(AspirationSettings(), **given)
