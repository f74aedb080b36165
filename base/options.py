"""Options that commands of every room share, and types for the values of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, get_args

import click

from fgaf.base.bounds import HeadUm, Workers, bound_of

PATH: Final = click.Path(path_type=Path)


class Number(click.ParamType):  # type: ignore[type-arg]
    """A number within the bounds of its kind.

    Parameters
    ----------
    kind
        From `fgaf.base.bounds`, such as ``StepUm``; whole where the kind is.
    """

    def __init__(self, kind: Any) -> None:
        self._plain = click.types.convert_type(get_args(kind)[0])
        self.bound = bound_of(kind)
        self.name = self._plain.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number, or fail with a line that gives the bounds.

        Parameters
        ----------
        value
            What the user gave.
        param
            The option that it is for.
        ctx
            Of the command.
        """
        number = self._plain.convert(value, param, ctx)
        if self.bound is not None and (fault := self.bound.fault(number)):
            self.fail(fault, param, ctx)
        return number


head_option = click.option(
    "--head-length",
    "--head",
    "head_um",
    type=Number(HeadUm),
    default=4.7,
    show_default=True,
    help="Length of a head, µm.",
)
verify_option = click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Compare raw stacks and archives with their checksums before they are used.",
)
workers_option = click.option(
    "--workers",
    type=Number(Workers),
    help="Processes that share the work; the result is the same for any number.  "
    "[default: one for each core]",
)
scheduler_option = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Share the work on the Dask cluster of this scheduler; local:2 starts two workers here.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
