"""The command line of the room: ``fgaf-data``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fgaf.dataset.console import Program, Tool, finish, progress
from fgaf.dataset.errors import FgafError, SettingError

if TYPE_CHECKING:
    from fgaf.dataset.optics import Optics

PATH = click.Path(path_type=Path)
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


overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group(cls=Program)
def main() -> None:
    """Import, inspect, check and split raw stacks and dataset archives."""


@main.command("import", cls=Tool)
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="FILES|FOLDER...")
@click.option("--out", "folder", type=PATH, required=True, help="Folder for the raw stack files.")
@click.option("--step", "step_um", type=float, help="Distance of the planes, µm of the drive.")
@click.option("--center", "center_um", type=float, help="Drive position of the middle plane, µm.")
@optics_options
@click.option("--sample", "sample_id", default="", help="Sample that the stacks are of.")
@click.option("--operator", default="", help="Who took them.")
@click.option("--field", default="", help="Name of the field of view, for repeats of one field.")
@click.option(
    "--ignore-metadata",
    is_flag=True,
    help="The files' own z step, positions and pixel size are wrong: go by the options alone.",
)
@overwrite_option
@json_option
def import_command(
    sources: tuple[Path, ...], folder: Path, overwrite: bool, as_json: bool, **values: Any
) -> None:
    """Turn z-stacks into raw stack files NAME.stack.h5.

    FILES are TIFF, OME-TIFF, ImageJ or Micro-Manager TIFF, one z-stack each. A FOLDER is one
    stack of numbered images (TIFF, PNG, BMP, JPEG), or holds TIFF stacks. The z step and the
    pixel size come from the metadata or from the options; where they differ, nothing is guessed.
    """
    from fgaf.dataset.importing import ImportSettings, find_sources, import_stacks

    settings = ImportSettings(optics=optics_of(values), **values)
    found = find_sources(sources)
    written = import_stacks(found, folder, settings, overwrite)
    done = list(progress(written, "import", len(found)))
    planes = sum(stack.shape[0] for stack in done)
    steps = ", ".join(sorted({f"{s.step_um:g} µm by {s.step_source}" for s in done}))
    finish(
        f"wrote {_count(done, 'stack')}, {planes} planes, to {folder} (z step {steps})",
        f"fgaf-curate auto {folder} --out dataset.h5",
        {"stacks": [vars(stack) for stack in done]},
        as_json,
    )


@main.command("import-patches", cls=Tool)
@click.argument("folder", type=PATH)
@click.option("--out", type=PATH, required=True, help="Archive to write.")
@click.option("--step", "step_um", type=float, help="Distance of the pages, µm of the drive.")
@optics_options
@click.option("--sample", "sample_id", default="", help="Sample that all cells are of.")
@click.option(
    "--sample-from",
    default="",
    metavar="REGEX",
    help="Find the sample in each file's path inside FOLDER: its first group, as '^([^/]+)/'.",
)
@click.option("--annotator", default="", help="Who centred the cells on their focus.")
@click.option("--name", default="", help="Name of the archive.")
@click.option("--description", default="", help="What it is.")
@click.option("--license", default="", help="Licence of the images.")
@click.option("--seed", default=0, show_default=True, help="Seed of the split 'default'.")
@overwrite_option
@json_option
def import_patches_command(
    folder: Path, out: Path, overwrite: bool, as_json: bool, **values: Any
) -> None:
    """Turn ready patches into an archive: one multi-page TIFF per cell, the middle page in focus.

    Pages are square, alike in all files, odd in number, the lowest plane first: nine pages at
    0.5 µm are depths from -2 to +2 µm.
    """
    from fgaf.dataset.archive import DEFAULT_SPLIT, write_archive
    from fgaf.dataset.files import require_new
    from fgaf.dataset.info import describe_archive
    from fgaf.dataset.patches import PatchSettings, import_patches

    require_new(out, overwrite)
    settings = PatchSettings(optics=optics_of(values), **values)
    archive = import_patches(folder, settings, lambda files: progress(files, "import", len(files)))
    write_archive(out, archive, overwrite)
    summary = describe_archive(archive)
    sides = ", ".join(f"{n} {side}" for side, n in summary["splits"][DEFAULT_SPLIT].items())
    half = archive.header.half_range_um
    finish(
        f"wrote {out}: {archive.n_cells} cells x {archive.n_classes} depths, ±{half:g} µm; {sides}",
        f"fgaf-train {out} --out RUN",
        {"path": str(out)} | summary,
        as_json,
    )


@main.command(cls=Tool)
@click.argument("path", type=PATH, metavar="FILE")
@click.option("--image", type=PATH, help="Write a contact sheet of an archive, cells x depths.")
@overwrite_option
@json_option
def info(path: Path, image: Path | None, overwrite: bool, as_json: bool) -> None:
    """Say what a raw stack or an archive holds."""
    from fgaf.dataset.archive import Archive
    from fgaf.dataset.files import publishing
    from fgaf.dataset.info import as_text, contact_sheet, describe

    summary = describe(path)
    text = as_text(summary)
    if image is not None:
        from PIL import Image

        with Archive.open(path) as archive, publishing(image, overwrite) as part:
            Image.fromarray(contact_sheet(archive)).save(part, format="PNG")
        text += f"\nwrote {image}"
    finish(text, None, summary, as_json)


@main.command(cls=Tool)
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="FILES...")
@json_option
@click.pass_context
def validate(context: click.Context, paths: tuple[Path, ...], as_json: bool) -> None:
    """Check raw stacks and archives; exit code 1 when any has an error.

    Checksums, structure, ranges, order of the planes, labels against the grid, leakage between
    the sides of a split, constant, saturated and repeated images.
    """
    from fgaf.dataset.validate import validate as check

    reports = []
    for path in progress(paths, "validate", len(paths)):
        report = check(path)
        reports.append(report)
        if not as_json:
            for finding in report.findings:
                click.echo(f"{path}: {finding}")
            if report.ok:
                click.echo(f"{path}: good ({report.format})")
    if as_json:
        click.echo(json.dumps([report.as_dict() for report in reports], indent=2))
    if not all(report.ok for report in reports):
        context.exit(1)


@main.command(cls=Tool)
@click.argument("path", type=PATH, metavar="FILE")
@click.option("--name", required=True, help="Name of the new split.")
@click.option("--out", type=PATH, required=True, help="Archive to write; FILE stays as it is.")
@click.option(
    "--by",
    type=click.Choice(["auto", "sample", "field", "cell"]),
    default="auto",
    show_default=True,
    help="What may not be divided. auto: samples, else fields, where there are three or more.",
)
@click.option(
    "--fractions",
    default="0.7,0.1,0.2",
    show_default=True,
    help="Shares of train, validation and test, counted in cells.",
)
@click.option("--seed", default=0, show_default=True, help="Another seed, another split.")
@overwrite_option
@json_option
def split(
    path: Path,
    name: str,
    out: Path,
    by: str,
    fractions: str,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Add a named split to a copy of an archive.

    Overlapping crops of one field and repeats of a cell always share a side.
    """
    from fgaf.dataset.archive import Archive, write_archive
    from fgaf.dataset.split import SIDES, with_split

    try:
        shares = [float(share) for share in fractions.split(",")]
    except ValueError as error:
        raise SettingError(
            f"--fractions {fractions!r} is not three numbers; give for example 0.7,0.1,0.2"
        ) from error
    if out.resolve() == path.resolve():
        raise FgafError(f"--out {out} is the archive itself, which stays as it is; name a new file")
    archive, made = with_split(Archive.read(path), name, shares, by, seed)
    write_archive(out, archive, overwrite)
    finish(
        f"wrote {out} with split {name!r}: {made}",
        f"fgaf-train {out} --split {name} --out RUN",
        {
            "path": str(out),
            "split": name,
            "by": made.by,
            "groups": made.groups,
            "cells": dict(zip(SIDES, made.counts, strict=True)),
        },
        as_json,
    )


def _count(items: list[Any], noun: str) -> str:
    return f"{len(items)} {noun}{'s' if len(items) != 1 else ''}"
