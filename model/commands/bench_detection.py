"""The command `fgaf-bench-detection`: parse, call the library, print."""

from __future__ import annotations

from pathlib import Path

import click

from fgaf.base.bounds import BoxPerHead, Fields, Seed, Share
from fgaf.base.console import Tool, bar, echo, finish
from fgaf.base.errors import SettingError
from fgaf.base.extras import require
from fgaf.base.options import PATH, Number, head_option, json_option, overwrite_option
from fgaf.base.outputs import kept_if_used, output_folder
from fgaf.model.commands.options import head_class_option


@click.command(cls=Tool)
@click.argument("sources", type=PATH, nargs=-1, metavar="[IMAGES|FOLDER...]")
@click.option(
    "--labels",
    "table",
    type=PATH,
    metavar="CSV",
    help="CSV with the heads: image, y, x, and perhaps height, width, in pixels.  "
    "[default: YOLO boxes, NAME.txt for NAME.jpg]",
)
@head_class_option
@click.option(
    "--pixel-size",
    metavar="µM|CSV|auto",
    help="Pixel in the specimen, µm; or a CSV with columns image, pixel_size_um; or auto, to guess "
    "it from the boxes.  [default: from the image files]",
)
@click.option(
    "--box-per-head",
    type=Number(BoxPerHead),
    default=1.5,
    show_default=True,
    help="For auto: long side of the boxes, in head lengths.",
)
@head_option
@click.option(
    "--methods",
    "methods",
    default="detector,log,threshold",
    show_default=True,
    metavar="LIST",
    help="What to compare; the pictures are of the first.",
)
@click.option(
    "--least-score",
    type=Number(Share),
    default=0.7,
    show_default=True,
    help="Score from which a find of the detector counts.",
)
@click.option(
    "--simulated",
    type=Number(Fields),
    metavar="N",
    help="Use N simulated fields instead of images.",
)
@click.option(
    "--seed",
    type=Number(Seed),
    default=2026,
    show_default=True,
    help="Seed of the first simulated field; the others follow.",
)
@click.option("--out", type=PATH, help="Folder to write.  [default: detection]")
@overwrite_option
@json_option
def bench_detection(
    sources: tuple[Path, ...],
    table: Path | None,
    classes: tuple[int, ...],
    pixel_size: str | None,
    box_per_head: float,
    head_um: float,
    methods: str,
    least_score: float,
    simulated: int | None,
    seed: int,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure how well heads are found in IMAGES whose heads are labelled.

    Recall, precision and F1 over the score, and the error of the centre, of the detector and of two
    plain baselines. Folders are searched with all folders in them, and figures are given for each.
    The labels are YOLO boxes, NAME.txt beside NAME.jpg or in a folder "labels" beside "images", or
    one CSV. Label every head: an image without labels is skipped, one with an empty file is a field
    without heads.

    OUT/report.html shows the figures and the misses; results.json holds the figures, finds.csv
    every find and every missed head.

    \b
    fgaf-bench-detection fields --pixel-size 0.1465
    fgaf-bench-detection fields --labels centres.csv --pixel-size sizes.csv
    fgaf-bench-detection fields --pixel-size auto --box-per-head 1.4
    fgaf-bench-detection --simulated 20
    """  # noqa: D301 - click reads the backspace
    require("jinja2", "matplotlib", "markupsafe")
    from fgaf.model.bench.detection.drawn import draw_fields
    from fgaf.model.bench.detection.fields import open_fields
    from fgaf.model.bench.detection.finders import methods_of
    from fgaf.model.bench.detection.judge import judge, search
    from fgaf.model.bench.detection.outputs import require_free, write
    from fgaf.model.bench.detection.summary import headline, table as figures

    chosen = methods_of(name.strip() for name in methods.split(",") if name.strip())
    if bool(sources) == (simulated is not None):
        raise SettingError("name images or a folder of them, or give --simulated N, and not both")
    if simulated is not None and (table is not None or pixel_size is not None or classes):
        raise SettingError("--labels, --class and --pixel-size belong to images: leave them out")
    if table is not None and classes:
        raise SettingError("--class belongs to YOLO boxes: a CSV has no classes; leave one out")
    if out is not None:
        require_free(out, overwrite)
    fields = (
        draw_fields(simulated, seed, bar("drawing"))
        if simulated is not None
        else open_fields(
            sources,
            table=table,
            pixel_size=pixel_size,
            head_um=head_um,
            box_per_head=box_per_head,
            classes=classes,
            progress=bar("reading"),
        )
    )
    folder = output_folder(out, Path("detection"), overwrite, as_json)
    with kept_if_used(folder):
        for notice in fields.notices:
            echo(f"notice: {notice}", err=as_json)
        found = search(fields, chosen, head_um, bar("searching"))
        results = judge(fields, chosen, found, head_um, least_score)
        write(folder, results, found[chosen[0].id], overwrite)
    finish(
        f"{figures(results)}\n{headline(results)}\n"
        f"wrote {folder / 'report.html'}, results.json, finds.csv",
        None,
        results,
        as_json,
    )
