"""Commands of `fgaf-data` that take from other formats and give to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fgaf.dataset.console import Tool, finish, progress
from fgaf.dataset.options import (
    PATH,
    count,
    json_option,
    optics_of,
    optics_options,
    overwrite_option,
)


@click.command("import", cls=Tool)
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
    from fgaf.dataset.importers.stacks import ImportSettings, find_sources, import_stacks

    settings = ImportSettings(optics=optics_of(values), **values)
    found = find_sources(sources)
    written = import_stacks(found, folder, settings, overwrite)
    done = list(progress(written, "import", len(found)))
    planes = sum(stack.shape[0] for stack in done)
    steps = ", ".join(sorted({f"{s.step_um:g} µm by {s.step_source}" for s in done}))
    finish(
        f"wrote {count(len(done), 'stack')}, {planes} planes, to {folder} (z step {steps})",
        f"fgaf-curate auto {folder} --out dataset.h5",
        {"stacks": [vars(stack) for stack in done]},
        as_json,
    )


@click.command("import-patches", cls=Tool)
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
    from fgaf.dataset.importers.patches import PatchSettings, import_patches
    from fgaf.dataset.info import describe_archive

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


COMMANDS = (import_command, import_patches_command)
