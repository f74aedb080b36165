"""Commands of `fgaf-data` that import from other formats and export to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fgaf.base.bounds import Classes, Count, CropPx, Planes, PositionUm, Seed, StepUm
from fgaf.base.console import Tool, bar, count, echo, finish, progress
from fgaf.base.errors import SettingError
from fgaf.base.options import PATH, Number, json_option, overwrite_option
from fgaf.base.outputs import output_file
from fgaf.base.workers.progress import steps
from fgaf.dataset.commands.options import (
    optics_of,
    optics_options,
    split_seed_option,
    text_options,
)


@click.command("import", cls=Tool)
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="FILES|FOLDER...")
@click.option(
    "--out",
    "folder",
    type=PATH,
    help="Folder for the stacks.  [default: raw]",
)
@click.option(
    "--step", "step_um", type=Number(StepUm), help="Distance between planes, in drive µm."
)
@click.option(
    "--center", "center_um", type=Number(PositionUm), help="Drive position of the middle plane, µm."
)
@optics_options
@click.option("--sample", "sample_id", default="", help="Sample of the stacks.")
@click.option("--operator", default="", help="Who took them.")
@click.option("--field", default="", help="Name of the field of view, for repeats of one field.")
@click.option(
    "--planes",
    type=Number(Planes),
    help="For TIFFs whose pages hold several passes through z without saying so: planes per pass.",
)
@click.option(
    "--axes",
    default="",
    metavar="LETTERS",
    help="For TIFFs with more than three axes without names: one letter per axis in order, such "
    "as TZYX (T time, C channel, P position, Z planes).",
)
@click.option(
    "--highest-first",
    is_flag=True,
    help="The first plane is the highest, for files that do not say their order.",
)
@click.option(
    "--take",
    "takes",
    multiple=True,
    metavar="AXIS=WHICH",
    help="Which positions, time points or channels to take, counted from 0: time=all, "
    "time=0:100:5 or channel=1. Each becomes a separate stack; may be repeated.",
)
@click.option(
    "--ignore-metadata",
    is_flag=True,
    help="Ignore z step, positions, order of planes and pixel size in the files; use only the "
    "options.",
)
@overwrite_option
@json_option
def import_command(
    sources: tuple[Path, ...],
    folder: Path | None,
    takes: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Turn z-stacks into raw stack files NAME.stack.h5.

    FILES are z-stacks: TIFF, OME-TIFF, ImageJ or Micro-Manager TIFF, LSM, ND2. A FOLDER is an
    OME-Zarr image, an NDTiff dataset, one stack of numbered images (TIFF, PNG, BMP, JPEG), or
    holds such stacks. If one recording is a set of files, name one or all: it is imported
    once. The z step and the pixel size come from the metadata or from the options; if they
    differ, the import stops. Planes are written with z ascending. Exports of fgaf are restored
    exactly.
    """
    from fgaf.dataset.importers.plan import ImportSettings, find_sources, plan_stacks
    from fgaf.dataset.importers.stacks import import_planned

    settings = ImportSettings(optics=optics_of(values), take=_takes(takes), **values)
    out = folder or Path("raw")
    planned = plan_stacks(
        find_sources(sources), out, settings, overwrite, lambda line: echo(line, err=True)
    )
    if folder is None:
        echo(f"writing {out}", err=as_json)
    done = list(progress(import_planned(planned, settings, steps), "import", len(planned)))
    planes = sum(stack.shape[0] for stack in done)
    sizes = ", ".join(sorted({f"{s.step_um:g} µm by {s.step_source}" for s in done}))
    turned = sum(stack.planes_reversed for stack in done)
    notes = [f"z step {sizes}"]
    if turned:
        notes.append(f"{turned} stored from the highest plane down and reversed")
    for bits in sorted({stack.shifted_bits for stack in done} - {0}):
        n = sum(stack.shifted_bits == bits for stack in done)
        notes.append(f"{n} of {16 - bits} bits that were shifted into 16 and shifted back")
    finish(
        f"wrote {count(len(done), 'stack')}, {count(planes, 'plane')}, to {out} "
        f"({'; '.join(notes)})",
        ["fgaf-curate", "auto", out],
        {"stacks": [vars(stack) for stack in done]},
        as_json,
    )


@click.command("import-patches", cls=Tool)
@click.argument("path", type=PATH, metavar="FOLDER|FILE")
@click.option("--out", type=PATH, help="Archive to write.  [default: dataset.h5]")
@click.option(
    "--step", "step_um", type=Number(StepUm), help="Distance between pages or classes, in drive µm."
)
@optics_options
@click.option("--sample", "sample_id", default="", help="Sample of all cells.")
@click.option(
    "--sample-from",
    default="",
    metavar="REGEX",
    help="Regex for the sample in each file's path inside FOLDER: its first group, as '^([^/]+)/'.",
)
@click.option(
    "--cell-from",
    default="",
    metavar="REGEX",
    help="The same for the cell, if each file is one patch; by default each patch is one cell.",
)
@click.option(
    "--labels",
    type=click.Choice(["class", "um"]),
    help="Meaning of plain numbers as folder names: class numbers from 0, or depths in µm.",
)
@click.option(
    "--classes",
    type=Number(Classes),
    help="Number of depth classes, if the outermost have no patch; the middle one is in focus.",
)
@click.option(
    "--ignore-metadata",
    is_flag=True,
    help="Stacks: ignore their step, positions and pixel size; the lowest plane is first.",
)
@click.option("--annotator", default="", help="Who set the focus of the cells.")
@text_options
@split_seed_option
@overwrite_option
@json_option
def import_patches_command(
    path: Path, out: Path | None, overwrite: bool, as_json: bool, **values: Any
) -> None:
    """Turn ready patches into an archive.

    FOLDER holds one multi-page TIFF per cell, the lowest plane first and the middle page in
    focus: nine pages at 0.5 µm are depths from -2 to +2 µm. Or it holds single patches in class
    folders, CLASS/*.png or SIDE/CLASS/*.png, named by their depth (-0.5um) or number. FILE is an
    .npz with train_images, train_labels, val_images, ... as in MedMNIST. Patches are square
    and of one size and type. Exports of fgaf are restored exactly.
    """
    from fgaf.base.files import require_new
    from fgaf.dataset.archive import DEFAULT_SPLIT, write_archive
    from fgaf.dataset.importers.patch_sets import import_patches
    from fgaf.dataset.importers.patches import PatchSettings
    from fgaf.dataset.quality.info import describe_archive

    out = output_file(out, Path("dataset.h5"), overwrite, as_json)
    require_new(out, overwrite)
    settings = PatchSettings(optics=optics_of(values), **values)
    archive = import_patches(
        path,
        settings,
        bar("import"),
        lambda line: echo(line, err=True),
    )
    write_archive(out, archive, overwrite, bar("writing"))
    summary = describe_archive(archive)
    sides = ", ".join(f"{n} {side}" for side, n in summary["splits"][DEFAULT_SPLIT].items())
    half = archive.header.half_range_um
    finish(
        f"wrote {out}: {count(archive.n_cells, 'cell')} x {count(archive.n_classes, 'depth')}, "
        f"±{half:g} µm; {sides}",
        ["fgaf-train", out],
        {"path": str(out)} | summary,
        as_json,
    )


@click.command("import-masks", cls=Tool)
@click.argument("path", type=PATH, metavar="FOLDER|FILE")
@click.option("--out", type=PATH, help="Archive to write.  [default: dataset.h5]")
@click.option(
    "--patch",
    "patch_px",
    type=Number(CropPx),
    default=96,
    show_default=True,
    help="Side of a patch in pixels.",
)
@click.option(
    "--depth",
    "depth_um",
    type=Number(PositionUm),
    help="Depth of the heads in all images, drive µm; 0 if they are in focus.  [default: from the "
    "files' names, such as a_z-1.5um.png]",
)
@click.option(
    "--step",
    "step_um",
    type=Number(StepUm),
    default=0.5,
    show_default=True,
    help="Step of the depth classes, drive µm.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME",
    help="Label of heads in LabelMe or COCO files; repeatable.  [default: the only one, or head]",
)
@optics_options
@click.option("--sample", "sample_id", default="", help="Sample of all images.")
@click.option(
    "--sample-from",
    default="",
    metavar="REGEX",
    help="Regex for the sample in each image's path inside FOLDER: its first group.",
)
@click.option("--annotator", default="", help="Who outlined the heads.")
@text_options
@split_seed_option
@overwrite_option
@json_option
def import_masks_command(
    path: Path, out: Path | None, overwrite: bool, as_json: bool, **values: Any
) -> None:
    """Turn images with outlined heads into an archive of patches with masks.

    FOLDER holds images and beside each a LabelMe file NAME.json or a mask NAME_mask.png, or has
    the masks in a folder masks/NAME.png. FILE is in COCO's format, with polygons or run lengths;
    its images are beside it or in the folder images. In a mask of two values each piece is a head;
    in one of more each value is. A patch is cut around every head.
    """
    from fgaf.base.files import require_new
    from fgaf.dataset.archive import write_archive
    from fgaf.dataset.importers.segmented import SegmentedSettings, import_segmented
    from fgaf.dataset.quality.info import describe_archive

    out = output_file(out, Path("dataset.h5"), overwrite, as_json)
    require_new(out, overwrite)
    settings = SegmentedSettings(optics=optics_of(values), **values)
    archive = import_segmented(path, settings, bar("import"), lambda line: echo(line, err=True))
    write_archive(out, archive, overwrite, bar("writing"))
    images = count(len(set(archive.cells.source.tolist())), "image")
    finish(
        f"wrote {out}: {count(archive.n_cells, 'head')} of {images} with their masks",
        ["fgaf-data", "validate", out],
        {"path": str(out)} | describe_archive(archive),
        as_json,
    )


@click.command("export", cls=Tool)
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="FILES...")
@click.option(
    "--to",
    "kind",
    required=True,
    metavar="FORMAT",
    help="For raw stacks: ome-tiff, ome-zarr. For an archive: npz (as MedMNIST), imagefolder, "
    "webdataset, huggingface.",
)
@click.option(
    "--out",
    type=PATH,
    help="Folder for stacks, else what to write.  [default: FORMAT/, FILE.npz or FILE-FORMAT/]",
)
@click.option(
    "--split", default="default", show_default=True, help="Archives: the split to export."
)
@click.option(
    "--ome-zarr",
    type=click.Choice(["0.4", "0.5"]),
    default="0.5",
    show_default=True,
    help="Version of OME-Zarr; older programs read 0.4.",
)
@click.option(
    "--shard-patches",
    type=Number(Count),
    default=10_000,
    show_default=True,
    help="Patches in a WebDataset shard.",
)
@click.option(
    "--seed", type=Number(Seed), default=0, show_default=True, help="Order of the training shards."
)
@click.option("--about", type=PATH, help="Facts for the card of huggingface, see `card`.")
@overwrite_option
@json_option
def export_command(
    sources: tuple[Path, ...],
    kind: str,
    out: Path | None,
    about: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Write raw stacks, or an archive, in a format of other programs.

    The export is lossless: pixels are unchanged, and metadata that the other format cannot hold
    are stored beside them, so that import and import-patches restore the same file.
    """
    from fgaf.dataset.cards.card_metadata import read_card_metadata
    from fgaf.dataset.exporters.export import (
        STACK_FORMATS,
        ExportSettings,
        export,
        usual_output,
    )

    usual, shared = usual_output(sources[0], kind), kind in STACK_FORMATS
    out = output_file(out, usual, values["overwrite"], as_json, shared=shared)
    written = export(
        sources,
        kind,
        out,
        ExportSettings(about=read_card_metadata(about) if about else None, **values),
        bar("export"),
    )
    what = str(out) if len(written) == 1 else f"{len(written)} {kind} to {out}"
    finish(f"wrote {what}", None, {"paths": [str(path) for path in written]}, as_json)


def _takes(takes: tuple[str, ...]) -> dict[str, str]:
    """Read the values of --take."""
    from fgaf.dataset.importers.zstack import AXES

    found: dict[str, str] = {}
    for text in takes:
        axis, equals, which = text.partition("=")
        if axis not in AXES or not equals or not which:
            raise SettingError(f"--take {text}: give AXIS=WHICH, AXIS one of {', '.join(AXES)}")
        found[axis] = which
    return found


COMMANDS = (import_command, import_patches_command, import_masks_command, export_command)
