"""The command line of the room: ``fgaf-data``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fgaf.base.console import Program, Tool, bar, echo, finish
from fgaf.base.errors import SettingError
from fgaf.base.options import PATH, json_option, overwrite_option, verify_option
from fgaf.dataset.commands import derive, interchange, share
from fgaf.dataset.commands.options import LOCATION
from fgaf.dataset.storage.url import Url


@click.group(cls=Program)
def main() -> None:
    """Import, export, inspect, check, split, merge, share raw stacks and dataset archives."""


for command in (*interchange.COMMANDS, *derive.COMMANDS, *share.COMMANDS):
    main.add_command(command)


@main.command(cls=Tool)
@click.argument("paths", type=LOCATION, nargs=-1, required=True, metavar="FILES|URLS...")
@click.option(
    "--image",
    type=PATH,
    help="Write a contact sheet: of an archive cells x depths, of a raw stack its planes.",
)
@verify_option
@overwrite_option
@json_option
def info(
    paths: tuple[Path | Url, ...], image: Path | None, verify: bool, overwrite: bool, as_json: bool
) -> None:
    """Show what raw stacks and archives contain.

    Files are compared with their checksums first; from a URL only what is needed is fetched.
    """
    from fgaf.dataset.archive import Archive
    from fgaf.dataset.quality.contact_sheet import write_contact_sheet
    from fgaf.dataset.quality.info import as_text, describe
    from fgaf.dataset.raw import FORMAT as RAW_FORMAT, RawStack

    if image is not None and len(paths) > 1:
        raise SettingError("--image shows one file; name one")
    summaries = [describe(path, verify, bar("verifying")) for path in paths]
    text = "\n\n".join(map(as_text, summaries))
    sheet: list[object] | None = None
    if image is not None:
        kind = RawStack if summaries[0]["format"] == RAW_FORMAT else Archive
        with kind.open(paths[0]) as file:
            write_contact_sheet(image, file, overwrite)
        text += f"\nwrote {image}"
    elif len(paths) == 1:
        picture = f"{Path(str(paths[0])).stem}.png"
        sheet = ["fgaf-data", "info", paths[0], "--image", picture]
    one = len(paths) == 1
    finish(text, sheet, summaries[0] if one else summaries, as_json)


@main.command(cls=Tool)
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="FILES...")
@json_option
@click.pass_context
def validate(context: click.Context, paths: tuple[Path, ...], as_json: bool) -> None:
    """Check raw stacks and archives; exit code 1 when any has an error.

    Checked are checksums, structure, ranges, order of the planes, labels on the grid, leakage
    between the sides of a split, constant, saturated and repeated images, and labels that
    contradict the images.
    """
    from fgaf.dataset.quality.validate import validate as check

    reports = []
    for path in paths:
        report = check(path, bar("validate"))
        reports.append(report)
        if not as_json:
            for finding in report.findings:
                echo(f"{path}: {finding}")
            if report.ok:
                echo(f"{path}: good ({report.format})")
    if as_json:
        echo(json.dumps([report.as_dict() for report in reports], indent=2))
    if not all(report.ok for report in reports):
        context.exit(1)


@main.command(cls=Tool)
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@json_option
@click.pass_context
def diff(context: click.Context, first: Path, second: Path, as_json: bool) -> None:
    """Show how two archives differ; exit code 1 if they do.

    Compared are settings, cells by name, their labels and pixels, the sides of splits, types of
    attributes, and each file with its checksums. Time and program of writing are not compared.
    """
    from fgaf.dataset.archive import Archive
    from fgaf.dataset.quality.diff import difference
    from fgaf.dataset.storage.hdf5 import reading

    with Archive.open(first) as one, Archive.open(second) as other, reading(f"{first} or {second}"):
        found = difference(one, other, bar("comparing checksums"))
    finish(str(found), None, found.as_dict(), as_json)
    if not found.same:
        context.exit(1)
