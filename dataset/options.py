"""Options that several commands of `fgaf-data` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fgaf.dataset.errors import SettingError
from fgaf.dataset.url import Url, location

if TYPE_CHECKING:
    from fgaf.dataset.optics import Optics

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
_OPTICS = (
    ("--pixel-size", "pixel_size_um", "Side of a pixel in the specimen, µm."),
    ("--na", "numerical_aperture", "Numerical aperture of the objective."),
    ("--magnification", "magnification", "Magnification from specimen to camera."),
    ("--medium-index", "medium_index", "Refractive index under the objective; 1.0 when dry."),
    ("--wavelength", "wavelength_um", "Mean wavelength of the light, µm."),
)


def optics_options(command: Any) -> Any:
    """Add the optics' options to a command; their values arrive under the fields' names."""
    for flag, name, text in reversed(_OPTICS):
        command = click.option(flag, name, type=float, help=text)(command)
    return command


def optics_of(values: dict[str, Any]) -> Optics:
    """Take the optics out of a command's values.

    Raises
    ------
    SettingError
        One is not above zero.
    """
    from pydantic import ValidationError

    from fgaf.dataset.optics import Optics

    given = {name: values.pop(name) for _, name, _ in _OPTICS}
    try:
        return Optics(**given)
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        flag = next(flag for flag, field, _ in _OPTICS if field == name)
        raise SettingError(f"{flag} {given[str(name)]:g}: give a number above 0") from error


verify_option = click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Compare raw stacks and archives with their checksums before they are used.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
