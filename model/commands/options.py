"""Options that several commands of the model room share."""

from __future__ import annotations

from typing import Any, Final

import click

from fgaf.base.bounds import AnyCount, DistanceUm, Port
from fgaf.base.options import PATH, Number

OFF: Final = "off"
_PAGE: Final = 8765


class PortOrOff(Number):
    """A port's number, or "off"."""

    def __init__(self) -> None:
        super().__init__(Port)
        self.name = "PORT|off"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Read the port, or None for "off".

        Parameters
        ----------
        value
            What the user gave.
        param
            The option that it is for.
        ctx
            Of the command.
        """
        if value is None or value == OFF:
            return None
        port: int = super().convert(value, param, ctx)
        return port


head_class_option = click.option(
    "--class",
    "classes",
    type=Number(AnyCount),
    multiple=True,
    help="Class of the YOLO boxes that is a head; may be repeated.  [default: every class]",
)
heads_option = click.option(
    "--heads",
    type=PATH,
    metavar="RUN",
    help="Segment the head of each known cell with this network, a run of `fgaf-train --task "
    "heads` or its export: its centre is the cell's place.",
)
stage_map_option = click.option(
    "--map",
    "map_path",
    type=PATH,
    metavar="FILE",
    help="How the x/y stage moves the image.  [default: RIG.stage-map.toml, beside the rig]",
)
play_option = click.option(
    "--play",
    "play_um",
    type=Number(DistanceUm),
    default=0.0,
    help="Backlash of the drive, µm, from `acq check`: compensated when a cell is followed.",
)
page_option = click.option(
    "--page",
    type=PortOrOff(),
    default=str(_PAGE),
    show_default=True,
    help="Port of the page; 0: any.",
)
host_option = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Everyone who reaches it can view; whatever moves or stops needs "
    "the token in the page's address.",
)
allow_host_option = click.option(
    "--allow-host",
    "names",
    metavar="NAME",
    multiple=True,
    help="Another host name of this computer for the page; may be repeated.",
)
