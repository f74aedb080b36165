"""Options that several commands of `fgaf-data` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from fgaf.base.bounds import (
    Aperture,
    Index,
    Magnification,
    PixelUm,
    WavelengthUm,
    bound_of,
)
from fgaf.dataset.storage.url import Url, location

if TYPE_CHECKING:
    from fgaf.dataset.storage.optics import Optics

PATH = click.Path(path_type=Path)


class _Location(click.ParamType):  # type: ignore[type-arg]
    """A path, or an address such as https://host/dataset.h5."""

    name = "FILE|URL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | Url:
        del param, ctx
        return location(value)


LOCATION = _Location()


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
        """Read the number, or fail with a line that tells the bounds.

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


_OPTICS = (
    ("--pixel-size", "pixel_size_um", PixelUm, "Side of a pixel in the specimen, µm."),
    ("--na", "numerical_aperture", Aperture, "Numerical aperture of the objective."),
    ("--magnification", "magnification", Magnification, "Magnification from specimen to camera."),
    ("--medium-index", "medium_index", Index, "Refractive index under the objective; 1.0: dry."),
    ("--wavelength", "wavelength_um", WavelengthUm, "Mean wavelength of the light, µm."),
)


def optics_options(command: Any) -> Any:
    """Add the optics' options to a command; their values arrive under the fields' names."""
    for flag, name, kind, text in reversed(_OPTICS):
        command = click.option(flag, name, type=Number(kind), help=text)(command)
    return command


def optics_of(values: dict[str, Any]) -> Optics:
    """Take the optics out of a command's values."""
    from fgaf.dataset.storage.optics import Optics

    return Optics(**{name: values.pop(name) for _, name, _, _ in _OPTICS})


verify_option = click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Compare raw stacks and archives with their checksums before they are used.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
