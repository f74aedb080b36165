"""The command line of the room: ``fgaf-data``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fgaf.dataset import interchange_cli
from fgaf.dataset.console import Program, Tool, finish, progress
from fgaf.dataset.errors import FgafError, SettingError
from fgaf.dataset.options import PATH, json_option, overwrite_option


@click.group(cls=Program)
def main() -> None:
    """Import, inspect, check and split raw stacks and dataset archives."""


for command in interchange_cli.COMMANDS:
    main.add_command(command)


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
