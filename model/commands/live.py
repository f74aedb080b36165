"""The command `fgaf-live`: parse, run the live loop, print."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fgaf.acquire.commands.options import set_option
from fgaf.base.bounds import Count, DurationS
from fgaf.base.console import Tool, command_line, count, echo, finish
from fgaf.base.names import printable
from fgaf.base.options import PATH, Number, head_option, json_option, overwrite_option
from fgaf.model.commands.options import (
    PortOrOff,
    allow_host_option,
    heads_option,
    host_option,
    page_option,
    play_option,
    stage_map_option,
)

if TYPE_CHECKING:
    from fgaf.model.live.message import LiveFrame

_TCP = 8766
_REDRAW_S = 0.2


@click.command(cls=Tool)
@click.argument("rig_name", metavar="RIG")
@click.argument("model", type=PATH)
@set_option
@heads_option
@click.option(
    "--track",
    metavar="centre|ID",
    help="Keep a cell in focus with the drive: the one nearest to the centre, or a cell's number.",
)
@click.option(
    "--follow",
    metavar="centre|X,Y[@DISTANCE]",
    help="Keep the cell in its place in x and y too, with the x/y stage: in the centre of the "
    "frame, at a pixel (400,300), or at a distance from one, such as the tip of a pipette "
    "(400,300@100px, 400,300@15um). The cell is that of --track, else the one nearest to the "
    "centre.",
)
@stage_map_option
@play_option
@page_option
@click.option(
    "--tcp",
    type=PortOrOff(),
    default=str(_TCP),
    show_default=True,
    help="Port for programs; 0: any.",
)
@host_option
@allow_host_option
@click.option("--record", type=PATH, metavar="FILE.h5", help="Write all results to a file.")
@click.option("--seconds", type=Number(DurationS), help="End after this time.")
@click.option("--frames", type=Number(Count), help="End after this number of frames.")
@head_option
@click.option("--force", is_flag=True, help="Use a model that was trained on other images.")
@overwrite_option
@json_option
def live(
    rig_name: str,
    model: Path,
    overrides: tuple[str, ...],
    heads: Path | None,
    track: str | None,
    follow: str | None,
    map_path: Path | None,
    play_um: float,
    page: int | None,
    tcp: int | None,
    host: str,
    names: tuple[str, ...],
    record: Path | None,
    seconds: float | None,
    frames: int | None,
    head_um: float,
    force: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Read the depth of every cell in view, frame by frame, and show, publish and record it.

    RIG is a rig file or the built-in simulated microscope (sim, sim-relief, sim-realistic); MODEL a
    training run, a checkpoint, an exported model, or "sim".

    Cells keep their number for as long as they are followed; beads, yeast or blood cells are found
    with a --head-length of theirs. The results are on a page for the browser, on a TCP port as one
    line of JSON per frame, and in a file with --record; docs/live.md describes them. With --track
    the drive follows a cell, within the limits of the rig, and goes back when the run ends. With
    --follow the x/y stage follows it too, and stops where it is when the cell is lost and when the
    run ends; it must be calibrated (`acq calibrate-stage`). Without either nothing moves. When the
    computer is too slow, the oldest frames are dropped and counted.
    Ctrl-C stops it.

    \b
    fgaf-live rig.toml run --record swim.h5
    fgaf-live rig.toml model.onnx --track centre
    fgaf-live rig.toml model.onnx --follow 400,300@100px
    fgaf-live rig.toml model.onnx --heads heads/model.xml
    fgaf-live sim sim --seconds 5
    """  # noqa: D301 - click reads the backspace
    from fgaf.acquire.control.stage_map import StageMap
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.rig import load_rig
    from fgaf.model.live.autofocus import parse_target
    from fgaf.model.live.goal import Goal
    from fgaf.model.live.loop import LiveSettings, open_live, open_live_heads
    from fgaf.model.live.outputs import LiveOutputs

    settings = LiveSettings(
        track=track is not None,
        follow=None if follow is None else Goal.parse(follow),
        target=None if track is None else parse_target(track),
        play_um=play_um,
        head_um=head_um,
    )
    rig = load_rig(rig_name, overrides)
    stage_map = None if follow is None else StageMap.of(rig_name, rig, map_path)
    outlets = LiveOutputs(
        page=page, tcp=tcp, host=host, names=names, record=record, overwrite=overwrite
    )
    screen = Screen(quiet=as_json)
    with Interrupt.on_signals(last=True) as interrupt:
        done = outlets.run(
            rig,
            open_live(model),
            settings,
            interrupt,
            heads=None if heads is None else open_live_heads(heads),
            force=force,
            frames=frames,
            seconds=seconds,
            stage_map=stage_map,
            model_name=str(model),
            heads_name=str(heads or ""),
            command=command_line("fgaf-live", *sys.argv[1:]),
            say=lambda line: echo(line, err=True),
            watch=screen.watch,
        )
    finish(
        f"live for {done.seconds:.1f} s: {count(done.frames, 'frame')} "
        f"({done.rate_hz:.1f} frames/s), {count(done.cells, 'cell')}, latency "
        f"{done.latency_p50_ms:.1f} ms, 99 % within {done.latency_p99_ms:.1f} ms, "
        f"{done.dropped} dropped{_recorded(record, done.frames)}",
        None if record else ["fgaf-live", rig_name, model, "--record", "FILE.h5"],
        done.to_dict(),
        as_json,
    )


def _recorded(record: Path | None, frames: int) -> str:
    if record is None:
        return ""
    return f"; wrote {record}" if frames else f"; no frame came, so {record} was not written"


class Screen:
    """One line that is redrawn on a terminal; no output elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self._draws = sys.stderr.isatty() and not quiet

    def watch(self, results: Iterator[LiveFrame]) -> Iterator[LiveFrame]:
        """Pass results on, and show them."""
        from fgaf.model.live.pace import Rate

        drawn_s, rate = 0.0, Rate()
        for frame in results:
            rate.count()
            if self._draws and time.monotonic() - drawn_s > _REDRAW_S:
                drawn_s = time.monotonic()
                follows = f", follows {frame.target}" if frame.target else ""
                away = "" if frame.off_um is None else f" {frame.off_um:.1f} µm off"
                limit = ", at the drive's limit" if frame.at_limit else ""
                limit += ", at the x/y stage's limit" if frame.stage_at_limit else ""
                line = (
                    f"{rate.hz:5.1f} frames/s, {count(len(frame.cells), 'cell')}, latency "
                    f"{frame.latency_p50_ms:.1f} ms (99 % {frame.latency_p99_ms:.1f}), "
                    f"{frame.dropped} dropped, drive {frame.drive_um:+.2f} µm{follows}{away}{limit}"
                )
                click.echo(f"\r\x1b[K{printable(line)}", nl=False, err=True)
            yield frame
        if self._draws:
            echo("", err=True)
