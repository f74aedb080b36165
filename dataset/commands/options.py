"""Options that several commands of `fgaf-data` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fgaf.base.bounds import (
    Aperture,
    Index,
    Magnification,
    PixelUm,
    Seed,
    WavelengthUm,
)
from fgaf.base.options import Number
from fgaf.dataset.storage.url import Url, location

if TYPE_CHECKING:
    from fgaf.dataset.storage.optics import Optics


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


_TEXTS = (
    ("--name", "Name of the archive."),
    ("--description", "What it is."),
    ("--license", "Licence of the images."),
)


def text_options(command: Any) -> Any:
    """Add the texts of a new archive's header to a command."""
    for flag, text in reversed(_TEXTS):
        command = click.option(flag, default="", help=text)(command)
    return command


split_seed_option = click.option(
    "--seed", type=Number(Seed), default=0, show_default=True, help="Seed of the split 'default'."
)
