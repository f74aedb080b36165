"""The command ``fgaf-curate``."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from glob import escape
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from fgaf.base.bounds import (
    CropPx,
    HalfRangeUm,
    HeadUm,
    LeastShare,
    PixelUm,
    Seed,
    Share,
    StepUm,
)
from fgaf.base.console import Program, Tool, bar, count, echo, finish, reads_tables, table
from fgaf.base.errors import FgafError
from fgaf.base.extras import missing
from fgaf.base.options import (
    PATH,
    Number,
    head_option,
    json_option,
    overwrite_option,
    scheduler_option,
    workers_option,
)
from fgaf.base.outputs import output_file

if TYPE_CHECKING:
    from fgaf.curate.boxes import Box
    from fgaf.curate.session.queue import Order, Task
    from fgaf.curate.session.status import Status

patch_options = (
    click.option(
        "--patch",
        "patch_px",
        type=Number(CropPx),
        default=96,
        show_default=True,
        help="Side of a patch, px.",
    ),
    click.option(
        "--step",
        "step_um",
        type=Number(StepUm),
        default=0.5,
        show_default=True,
        help="Distance between depths, µm.",
    ),
    click.option(
        "--half-range",
        "half_range_um",
        type=Number(HalfRangeUm),
        default=2.0,
        show_default=True,
        help="Half of the depth range, µm: 2 means ±2 µm.",
    ),
)
pixel_option = click.option(
    "--pixel-size",
    "pixel_size_um",
    type=Number(PixelUm),
    help="Pixel in the specimen, µm; overrides files.",
)
seed_option = click.option(
    "--split-seed",
    type=Number(Seed),
    default=0,
    show_default=True,
    help="Seed of the split 'default'.",
)
places_option = click.option(
    "--raw",
    "places",
    type=PATH,
    multiple=True,
    metavar="FOLDER",
    help="Where to look for raw files of the session that were moved or renamed.",
)


@click.group(cls=Program)
def main() -> None:
    """Turn raw stacks into labelled patches: find cells, find their focus, compile an archive."""


@main.command("auto", cls=Tool)
@click.argument("raw", type=PATH, nargs=-1, required=True, metavar="RAW...")
@click.option("--out", type=PATH, help="Archive to write.  [default: dataset.h5]")
@click.option(
    "--session",
    "folder",
    type=PATH,
    help="Folder for the session's journal; default: OUT with the suffix .session.",
)
@seed_option
@pixel_option
@head_option
@workers_option
@scheduler_option
@click.option(
    "--resume",
    is_flag=True,
    help="Go on where a stopped run stands, with its settings: the one of --session or --out, or "
    "the only unfinished one.",
)
@overwrite_option
@json_option
def auto_command(
    raw: tuple[Path, ...],
    out: Path | None,
    folder: Path | None,
    split_seed: int,
    pixel_size_um: float | None,
    head_um: float,
    workers: int | None,
    scheduler: str | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    patch_px: int,
    step_um: float,
    half_range_um: float,
) -> None:
    """Curate raw stacks (files or folders of them) without a person.

    Every cell is followed through the planes, and its focus is found from its contrast. Cells
    without a clear focus, cut by the border, overlapping another cell, or with a range that leaves
    the stack are dropped, and counted by reason. Planes are taken at whole multiples of --step from
    the cell's focus plane; --step must be a multiple of the raw step.

    On a terminal the counts are one table of all stacks, with what helps against each reason; in a
    pipe or a file there is a line for each stack.

    Stacks are searched by several processes at once, each with one stack in memory. A stopped run
    keeps the stacks that it has finished.
    """
    from fgaf.base.files import require_all_new, require_new
    from fgaf.base.workers.cores import team_size
    from fgaf.curate.auto import SESSION, auto, unfinished_session
    from fgaf.curate.commands import reasons
    from fgaf.curate.compile import compile_archive
    from fgaf.curate.detection.crop import PatchSettings
    from fgaf.curate.session.finding import find_stacks
    from fgaf.dataset.archive import write_archive

    settings = PatchSettings(patch_px, step_um, half_range_um)
    size = team_size(workers, scheduler)
    paths = find_stacks(raw)
    usual = Path("dataset.h5")
    if resume and not (out or folder or overwrite):
        out = unfinished_session(usual).with_suffix(usual.suffix)
        echo(f"writing {out}", err=as_json)
    out = output_file(out, usual, overwrite, as_json, beside=SESSION)
    require_new(out, overwrite)
    place = folder or out.with_suffix(SESSION)
    require_all_new([out, place], overwrite=True)
    report = auto(
        paths,
        place,
        None if resume and not _given("patch_px", "step_um", "half_range_um") else settings,
        pixel_size_um,
        head_um=None if resume and not _given("head_um") else head_um,
        overwrite=overwrite,
        resume=resume,
        workers=size,
        scheduler=scheduler,
        progress=bar("curate"),
        say=partial(echo, err=True),
    )
    if reads_tables() and not as_json:
        echo(table(reasons.HEADINGS, reasons.rows(report), numbers=(1, 2)))
        for stack in report.stacks:
            if not stack.kept:
                echo(stack.line())
    else:
        for stack in report.stacks:
            echo(stack.line(), err=as_json)
    for names in report.repeats:
        echo(f"one field, cells in the same places: {', '.join(names)}", err=as_json)
    if not report.kept:
        raise FgafError(
            f"no cell of {count(len(paths), 'stack')} was kept (see the counts above); "
            f"the session is in {place}"
        )
    archive = compile_archive(report.state, split_seed=split_seed, progress=bar("compile"))
    write_archive(out, archive, overwrite, bar("writing"))
    depths = f"{count(archive.n_classes, 'depth')}, ±{archive.header.half_range_um:g} µm"
    finish(
        f"wrote {out}: {archive.n_cells} of {count(report.found, 'cell')} x {depths}; "
        f"session in {place}",
        ["fgaf-train", out],
        {
            "path": str(out),
            "session": str(place),
            "cells": archive.n_cells,
            "found": report.found,
            "stacks": [vars(stack) for stack in report.stacks],
            "one_field": report.repeats,
        },
        as_json,
    )


for option in reversed(patch_options):
    auto_command = option(auto_command)


def _given(*options: str) -> bool:
    """Whether one of the options was given, rather than left to its default."""
    context = click.get_current_context()
    return any(context.get_parameter_source(name) != ParameterSource.DEFAULT for name in options)


@main.command("detect", cls=Tool)
@click.argument("sources", type=PATH, nargs=-1, required=True, metavar="IMAGES|RAW...")
@click.option("--out", type=PATH, help="CSV file to write.  [default: heads.csv]")
@click.option(
    "--least-score",
    type=Number(Share),
    help="Leave out heads with a lower score, 0 to 1.  [default: 0.7 in images, 0.5 in stacks]",
)
@pixel_option
@head_option
@workers_option
@scheduler_option
@overwrite_option
@json_option
def detect_command(
    sources: tuple[Path, ...],
    out: Path | None,
    least_score: float | None,
    pixel_size_um: float | None,
    head_um: float,
    workers: int | None,
    scheduler: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Find sperm heads in images (TIFF, PNG, JPEG; grey, 8 or 16 bit) and in raw stacks.

    Of an image in colour (8 bit) the luminance is searched.

    Writes one line per head: image, y, x, height, width, score, plane. (y, x) is the CENTRE of
    the box, in pixels; its corner is (y - height/2, x - width/2). Every page of a TIFF is searched
    separately (plane = page, from 1); in a raw stack, cells are followed through the planes and
    listed once, at the middle plane. Images without a pixel size need --pixel-size: camera pitch /
    magnification.

    With a --head-length that differs by more than a tenth from a human sperm's 4.7 µm, any compact
    object of about that length is found: beads, yeast, blood cells. Where nothing is found, a field
    is too full, or the heads do not have the length searched for, it is said with what to try.
    """
    from fgaf.base.csv_tables import write_table
    from fgaf.base.files import publishing, require_new
    from fgaf.base.workers.cores import team_size
    from fgaf.base.workers.files import on_files
    from fgaf.curate.boxes import BoxSearch
    from fgaf.curate.detection.pictures import find_images
    from fgaf.dataset.importers.images import luminance_notice

    out = output_file(out, Path("heads.csv"), overwrite, as_json)
    require_new(out, overwrite)
    paths = find_images(sources)
    found = on_files(
        BoxSearch(pixel_size_um, head_um, least_score),
        paths,
        workers=team_size(workers, scheduler),
        scheduler=scheduler,
        say=partial(echo, err=True),
    )
    rows: list[tuple[Path, Box]] = []
    said: list[str] = []
    coloured = 0
    with closing(found), closing(bar("detect")(paths)) as searched:
        for path, (boxes, doubts, in_colour) in zip(searched, found, strict=True):
            rows += [(path, box) for box in boxes]
            said += doubts
            coloured += in_colour
    with publishing(out, overwrite) as part, part.open("w", newline="", encoding="utf-8") as file:
        write_table(
            file,
            ("image", "y", "x", "height", "width", "score", "plane"),
            (
                (str(path), *(f"{v:.2f}" for v in box[:4]), f"{box.score:.3f}", box.plane + 1)
                for path, box in rows
            ),
        )
    if coloured:
        echo(f"notice: {luminance_notice(coloured)}", err=True)
    for line in said:
        echo(line, err=True)
    finish(
        f"wrote {out}: {count(len(rows), 'head')} in {count(len(paths), 'file')}",
        None,
        {"path": str(out), "heads": len(rows), "files": len(paths), "doubts": said},
        as_json,
    )


@main.command("open", cls=Tool)
@click.argument("raw", type=PATH, nargs=-1, metavar="[RAW...]")
@click.option(
    "--session",
    "folder",
    type=PATH,
    default=Path("session"),
    show_default=True,
    help="Folder of the session.",
)
@click.option("--annotator", default="", help="Who decides; default: napari's preference, or you.")
@click.option(
    "--task",
    type=click.Choice(["label", "unsure", "second", "review"]),
    default="label",
    show_default=True,
    help="Task: label; check the unsure cells again; label blind a second time; make the final "
    "decision where two people differ.",
)
@click.option(
    "--order",
    type=click.Choice(["position", "uncertainty", "random"]),
    help="Order of the cells; default: napari's preference, or by position.",
)
@click.option(
    "--share",
    type=Number(LeastShare),
    default=1.0,
    show_default=True,
    help="Show a random share of the cells.",
)
@click.option(
    "--only", multiple=True, metavar="PATTERN", help="Show cells whose name matches, as 'donor7*'."
)
@click.option(
    "--seed",
    type=Number(Seed),
    default=0,
    show_default=True,
    help="Random seed of the share and the order.",
)
@click.option(
    "--model",
    "run",
    type=PATH,
    metavar="RUN",
    help="Let the network of a training run suggest the focus; least certain cells first.",
)
@click.option(
    "--suspects",
    type=PATH,
    metavar="ARCHIVE",
    help="Show the cells that fgaf-refine asks to look at, with the focus it found; worst first.",
)
@places_option
@click.option("--read-only", is_flag=True, help="Only look.")
@click.option(
    "--patch", "patch_px", type=Number(CropPx), help="Side of a patch, px; new sessions: 96."
)
@click.option(
    "--step", "step_um", type=Number(StepUm), help="Distance of the depths, µm; new: 0.5."
)
@click.option(
    "--half-range",
    "half_range_um",
    type=Number(HalfRangeUm),
    help="Half range, µm; new: 2 (±2 µm).",
)
@pixel_option
@click.option(
    "--head-length", "head_um", type=Number(HeadUm), help="Length of a head, µm; new: 4.7."
)
def open_command(
    raw: tuple[Path, ...],
    folder: Path,
    annotator: str,
    task: Task,
    order: Order | None,
    share: float,
    only: tuple[str, ...],
    seed: int,
    run: Path | None,
    suspects: Path | None,
    places: tuple[Path, ...],
    read_only: bool,
    patch_px: int | None,
    step_um: float | None,
    half_range_um: float | None,
    pixel_size_um: float | None,
    head_um: float | None,
) -> None:
    """Curate raw stacks (files or folders) by hand, in a napari window.

    Starts a session or continues one; every decision is saved at once. The cells are shown one by
    one with their suggested focus; Space accepts it, the arrow keys change plane and cell, Return
    sets the focus, 1 to 6 reject, H shows all keys.
    """
    from fgaf.curate.detection.crop import PatchSettings
    from fgaf.curate.session import suspects as refined
    from fgaf.curate.session.finding import find_stacks, open_session
    from fgaf.curate.session.network import Network
    from fgaf.curate.session.queue import QueueSettings
    from fgaf.curate.session.status import status, unusable_files

    given = {"patch_px": patch_px, "step_um": step_um, "half_range_um": half_range_um}
    chosen = {name: value for name, value in given.items() if value is not None}
    paths = find_stacks(raw)
    window = _window()
    doubts = None if suspects is None else refined.suspects(suspects)
    certain = run is None and doubts is None
    usual: Order = window.read_preferences().order if certain else "uncertainty"
    network = None if run is None else Network.load(run)
    if not read_only:
        echo(f"writing {folder}")
    session, note = open_session(
        folder,
        paths,
        PatchSettings(**chosen) if chosen else None,  # type: ignore[arg-type]
        pixel_size_um=pixel_size_um,
        head_um=head_um,
        read_only=read_only,
        raw=places,
    )
    for line in (note, *(file.line() for file in unusable_files(session.state))):
        if line:
            echo(line, err=True)
    if network is not None and not session.read_only:
        network.suggest_all(session, bar("suggest"))
    if doubts is not None:
        only += tuple(map(escape, refined.suggest(session, doubts)))
    queue = QueueSettings(task, order or usual, share, only, seed)
    panel = window.open_window(
        session, queue, paths, annotator=annotator, note=note, network=network
    )
    window.run()
    session.close()
    finish("\n".join(panel.controller.progress()), _next(folder, status(session.state)))


def _next(session: Path, told: Status) -> list[object]:
    if told.ready:
        return ["fgaf-curate", "export", session]
    return ["fgaf-curate", "open", "--session", session]


def _window() -> ModuleType:
    try:
        from fgaf.curate.napari import start
    except ImportError as error:
        raise missing(error, "napari") from error
    return start


@main.command("export", cls=Tool)
@click.argument("session", type=PATH)
@click.option("--out", type=PATH, help="Archive to write.  [default: dataset.h5]")
@seed_option
@places_option
@click.option(
    "--leave-out-missing",
    is_flag=True,
    help="Leave out the cells of raw files that are missing or changed; the history says so.",
)
@click.option(
    "--masks",
    "only_masked",
    is_flag=True,
    help="Leave out the cells without a mask of their head, so that the archive has masks.",
)
@overwrite_option
@json_option
def export_command(
    session: Path,
    out: Path | None,
    split_seed: int,
    places: tuple[Path, ...],
    leave_out_missing: bool,
    only_masked: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Compile the kept cells of a session into an archive, with masks if each cell has one."""
    from fgaf.base.files import require_new
    from fgaf.curate.compile import compile_archive, compiled_line
    from fgaf.curate.session.finding import read_session
    from fgaf.dataset.archive import write_archive

    out = output_file(out, Path("dataset.h5"), overwrite, as_json)
    require_new(out, overwrite)
    read = read_session(session, places)
    if read.torn is not None:
        echo(f"line {read.torn} of the journal was torn by a crash and does not count", err=True)
    archive = compile_archive(
        read.state,
        split_seed=split_seed,
        leave_out_missing=leave_out_missing,
        only_masked=only_masked,
        progress=bar("compile"),
    )
    write_archive(out, archive, overwrite, bar("writing"))
    left_out = len(read.state.kept()) - archive.n_cells
    finish(
        f"wrote {out}: {compiled_line(read.state, archive)}",
        ["fgaf-train", out, *(["--task", "heads"] if only_masked else [])],
        {
            "path": str(out),
            "cells": archive.n_cells,
            "cells_left_out": left_out,
            "masks": archive.masks is not None,
        },
        as_json,
    )


@main.command("status", cls=Tool)
@click.argument("session", type=PATH)
@places_option
@json_option
def status_command(session: Path, places: tuple[Path, ...], as_json: bool) -> None:
    """Show a session's progress: labelled, kept, rejected by reason, per sample and plane, time."""
    from fgaf.curate.session.session import Session
    from fgaf.curate.session.status import status

    read = Session.look(session, places)
    told = status(read.state)
    lines = told.lines()
    if read.torn is not None:
        lines.append(f"line {read.torn} was torn by a crash and does not count")
    finish(
        "\n".join(lines),
        _next(session, told),
        told.as_dict() | {"torn_line": read.torn},
        as_json,
    )


@main.command("agreement", cls=Tool)
@click.argument("session", type=PATH)
@places_option
@json_option
def agreement_command(session: Path, places: tuple[Path, ...], as_json: bool) -> None:
    """Compare first labels with the blind second pass: exact, within a plane, µm, kappa.

    `fgaf-curate open --task second` makes a second pass, `--task review` settles what differs.
    """
    from fgaf.curate.session.agreement import agreement, disagreements
    from fgaf.curate.session.session import Session
    from fgaf.curate.session.status import reviews_line

    state = Session.look(session, places).state
    result, differing = agreement(state), disagreements(state)
    left = [name for name in differing if not state.cells[name].reviewed]
    lines = result.lines()
    if result.cells:
        names = f": {', '.join(left)}" if left else ""
        lines.append(reviews_line(len(differing), len(differing) - len(left)) + names)
    finish(
        "\n".join(lines),
        ["fgaf-curate", "open", "--session", session, "--task", "review"] if left else None,
        result.as_dict() | {"differing": differing, "to_review": left},
        as_json,
    )


if __name__ == "__main__":
    main()
