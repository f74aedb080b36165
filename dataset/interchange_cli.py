"""Commands of `fgaf-data` that take from other formats and give to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fgaf.dataset.console import Tool, finish, progress
from fgaf.dataset.errors import SettingError
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
    "--planes",
    type=int,
    help="Of TIFFs whose pages run through z again and again without saying so: planes in a pass.",
)
@click.option(
    "--take",
    "takes",
    multiple=True,
    metavar="AXIS=WHICH",
    help="Of files with several positions, time points or channels: which, counted from 0, as "
    "time=all, time=0:100:5 or channel=1. Each becomes a stack of its own; may be repeated.",
)
@click.option(
    "--ignore-metadata",
    is_flag=True,
    help="The files' own z step, positions and pixel size are wrong: go by the options alone.",
)
@overwrite_option
@json_option
def import_command(
    sources: tuple[Path, ...],
    folder: Path,
    takes: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Turn z-stacks into raw stack files NAME.stack.h5.

    FILES are z-stacks: TIFF, OME-TIFF, ImageJ or Micro-Manager TIFF, ND2. A FOLDER is an OME-Zarr
    image, an NDTiff dataset, one stack of numbered images (TIFF, PNG, BMP, JPEG), or holds such
    stacks. The z step
    and the pixel size come from the metadata or from the options; where they differ, nothing is
    guessed. Exports of fgaf come back as they were.
    """
    from fgaf.dataset.importers.stacks import (
        ImportSettings,
        find_sources,
        import_planned,
        plan_stacks,
    )

    settings = ImportSettings(optics=optics_of(values), take=_takes(takes), **values)
    planned = plan_stacks(find_sources(sources), folder, settings, overwrite)
    done = list(progress(import_planned(planned, settings), "import", len(planned)))
    planes = sum(stack.shape[0] for stack in done)
    steps = ", ".join(sorted({f"{s.step_um:g} µm by {s.step_source}" for s in done}))
    finish(
        f"wrote {count(len(done), 'stack')}, {planes} planes, to {folder} (z step {steps})",
        f"fgaf-curate auto {folder} --out dataset.h5",
        {"stacks": [vars(stack) for stack in done]},
        as_json,
    )


@click.command("import-patches", cls=Tool)
@click.argument("path", type=PATH, metavar="FOLDER|FILE")
@click.option("--out", type=PATH, required=True, help="Archive to write.")
@click.option(
    "--step", "step_um", type=float, help="Distance of pages or classes, µm of the drive."
)
@optics_options
@click.option("--sample", "sample_id", default="", help="Sample that all cells are of.")
@click.option(
    "--sample-from",
    default="",
    metavar="REGEX",
    help="Find the sample in each file's path inside FOLDER: its first group, as '^([^/]+)/'.",
)
@click.option(
    "--cell-from",
    default="",
    metavar="REGEX",
    help="The same for the cell, where each file is one patch; else each is a cell of its own.",
)
@click.option(
    "--labels",
    type=click.Choice(["class", "um"]),
    help="What bare numbers as class folders are: class numbers from 0, or depths in µm.",
)
@click.option("--annotator", default="", help="Who centred the cells on their focus.")
@click.option("--name", default="", help="Name of the archive.")
@click.option("--description", default="", help="What it is.")
@click.option("--license", default="", help="Licence of the images.")
@click.option("--seed", default=0, show_default=True, help="Seed of the split 'default'.")
@overwrite_option
@json_option
def import_patches_command(
    path: Path, out: Path, overwrite: bool, as_json: bool, **values: Any
) -> None:
    """Turn ready patches into an archive.

    FOLDER holds one multi-page TIFF per cell, the lowest plane first and the middle page in
    focus: nine pages at 0.5 µm are depths from -2 to +2 µm. Or it holds single patches in class
    folders, CLASS/*.png or SIDE/CLASS/*.png, named by their depth (-0.5um) or number. FILE is an
    .npz with train_images, train_labels, val_images, ... as MedMNIST has them. Patches are square
    and alike. Exports of fgaf come back as they were.
    """
    from fgaf.dataset.archive import DEFAULT_SPLIT, write_archive
    from fgaf.dataset.files import require_new
    from fgaf.dataset.importers.patches import PatchSettings, import_patches
    from fgaf.dataset.info import describe_archive

    require_new(out, overwrite)
    settings = PatchSettings(optics=optics_of(values), **values)
    archive = import_patches(path, settings, lambda files: progress(files, "import", len(files)))
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
@click.option("--out", type=PATH, required=True, help="For stacks a folder; else what to write.")
@click.option("--split", default="default", show_default=True, help="Archives: its sides.")
@click.option(
    "--ome-zarr",
    type=click.Choice(["0.4", "0.5"]),
    default="0.5",
    show_default=True,
    help="Version of OME-Zarr; older programs read 0.4.",
)
@click.option(
    "--shard-patches", default=10_000, show_default=True, help="Patches in a WebDataset shard."
)
@click.option("--seed", default=0, show_default=True, help="Order of the training shards.")
@click.option("--about", type=PATH, help="Facts for the card of huggingface, see `card`.")
@overwrite_option
@json_option
def export_command(
    sources: tuple[Path, ...],
    kind: str,
    out: Path,
    about: Path | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Write raw stacks, or an archive, in a format of other programs.

    Nothing is lost: pixels stay as they are, and all that the other format has no place for goes
    along, so that import and import-patches bring the same file back.
    """
    from fgaf.dataset.about import read_about
    from fgaf.dataset.exporters.export import ExportSettings, export

    written = export(
        sources,
        kind,
        out,
        ExportSettings(about=read_about(about) if about else None, **values),
        lambda some: progress(some, "export", len(some)),
    )
    what = str(out) if len(written) == 1 else f"{len(written)} {kind} to {out}"
    finish(f"wrote {what}", None, {"paths": [str(path) for path in written]}, as_json)


@click.command("card", cls=Tool)
@click.argument("path", type=PATH, metavar="FILE")
@click.option("--out", type=PATH, help="Write the card as Markdown.")
@click.option("--croissant", type=PATH, help="Write it as Croissant JSON-LD, for machines.")
@click.option("--about", type=PATH, help="TOML: licence, DOI, consent, known limits, ...")
@click.option("--agreement", type=PATH, help="Output of `fgaf-curate agreement SESSION --json`.")
@click.option("--new-about", type=PATH, help="Write a commented file for --about to fill in.")
@overwrite_option
@json_option
def card_command(
    path: Path,
    out: Path | None,
    croissant: Path | None,
    about: Path | None,
    agreement: Path | None,
    new_about: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write an archive's card: what it is, how it was made, and under which terms.

    Optics, counts per class and sample, labels and splits come from the archive; what it does not
    hold comes from --about, and is called not stated where missing. Samples and annotators are
    named as in the archive: `fgaf-data anonymise` goes first where they must not be.
    """
    from fgaf.dataset.about import TEMPLATE, About, read_about
    from fgaf.dataset.archive import Archive
    from fgaf.dataset.card import card, read_agreement
    from fgaf.dataset.croissant import croissant as as_croissant
    from fgaf.dataset.files import require_new, write_text

    if not (out or croissant or new_about):
        raise SettingError("nothing to write; give --out CARD.md, --croissant FILE or --new-about")
    targets = [target for target in (out, croissant, new_about) if target]
    for target in targets:
        require_new(target, overwrite)
    facts = read_about(about) if about else About()
    agreed = read_agreement(agreement) if agreement else None
    with Archive.open(path) as archive:
        texts = {
            out: card(archive, facts, agreed),
            croissant: as_croissant(archive, facts, agreed),
            new_about: TEMPLATE,
        }
    for target in targets:
        write_text(target, texts[target], overwrite)
    finish(
        "\n".join(f"wrote {target}" for target in targets),
        f"fgaf-data card {path} --about {new_about} --out CARD.md" if new_about else None,
        {"paths": [str(target) for target in targets]},
        as_json,
    )


@click.command("anonymise", cls=Tool)
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="FILES...")
@click.option("--out", type=PATH, required=True, help="Folder; for one archive, a file NAME.h5.")
@click.option("--key-file", type=PATH, help="The key; without it a passphrase is asked for.")
@click.option("--new-key", type=PATH, help="Make a key, keep it in this file, and use it.")
@click.option("--keep-times", is_flag=True, help="Keep dates and clock times.")
@click.option("--name", default="", help="New name of an archive; the old one is removed.")
@click.option("--description", default="", help="New description of an archive.")
@overwrite_option
@json_option
def anonymise_command(
    sources: tuple[Path, ...],
    out: Path,
    key_file: Path | None,
    new_key: Path | None,
    overwrite: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Write copies of raw stacks and archives that name neither donors nor people.

    Samples, operators, annotators, fields, cells and source files get pseudonyms (HMAC-SHA256),
    the same in all files made with one key; who holds the key can trace a known name, nobody
    else. Free text, paths, device names and dates are removed. Pixels, positions, optics, labels,
    splits and the licence stay. The key is not stored in any file but its own.
    """
    from fgaf.dataset import pseudonyms
    from fgaf.dataset.anonymise import AnonymiseSettings, plan_copies, write_copy
    from fgaf.dataset.files import require_new

    if key_file and new_key:
        raise SettingError("--key-file and --new-key are two keys; give one of them")
    if new_key:
        require_new(new_key)
        key = pseudonyms.new_key()
    elif key_file:
        key = pseudonyms.read_key(key_file)
    else:
        asked = click.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)
        key = pseudonyms.key_of(asked)
    names, settings = pseudonyms.Pseudonyms(key), AnonymiseSettings(**values)
    planned = plan_copies(sources, out, names, overwrite)
    if new_key:
        pseudonyms.keep_key(new_key, key)
    written = [
        write_copy(source, target, names, settings)
        for source, target in progress(planned, "anonymise", len(planned))
    ]
    finish(
        "\n".join(f"wrote {path}" for path in written),
        f"fgaf-data info {written[0]}",
        {"paths": [str(path) for path in written]},
        as_json,
    )


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


COMMANDS = (
    import_command,
    import_patches_command,
    export_command,
    card_command,
    anonymise_command,
)
