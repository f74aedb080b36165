"""Options that several commands of `acq` share."""

from __future__ import annotations

import click

rig_option = click.option(
    "--rig",
    "rig_name",
    default="sim",
    show_default=True,
    metavar="NAME|FILE",
    help="A rig file (TOML), or the built-in simulated microscope: sim (bright field), sim-relief, "
    "sim-phase, sim-phase-negative, sim-dic, sim-realistic, sim-aspiration (with a micropipette).",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace one setting of the rig, as stage.settle_ms=30; may be repeated.",
)
