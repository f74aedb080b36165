"""Options that several commands of the model room share."""

from __future__ import annotations

import click

from fgaf.base.bounds import AnyCount
from fgaf.base.options import Number

head_class_option = click.option(
    "--class",
    "classes",
    type=Number(AnyCount),
    multiple=True,
    help="Class of the YOLO boxes that is a head; may be repeated.  [default: every class]",
)
