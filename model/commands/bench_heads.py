"""The command `fgaf-bench-heads`: parse, call the library, print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fgaf.base.bounds import Epochs, Seed, ShiftPx
from fgaf.base.console import Tool, bar, echo, finish
from fgaf.base.errors import SettingError
from fgaf.base.extras import require
from fgaf.base.options import PATH, Number, head_option, json_option
from fgaf.base.toml import parse_assignment
from fgaf.model.commands.options import head_class_option


@click.command(cls=Tool)
@click.argument("dataset", type=PATH)
@click.option(
    "--methods",
    default="unext,unext_s,finder,otsu,local",
    show_default=True,
    metavar="LIST",
    help="What to compare; the others are compared with the first.",
)
@click.option(
    "--trained",
    type=PATH,
    multiple=True,
    metavar="RUN",
    help="A run of fgaf-train --task heads on this archive, or its export, instead of training "
    "that network; may be repeated.",
)
@click.option(
    "--epochs",
    type=Number(Epochs),
    default=15,
    show_default=True,
    help="Passes over the training cells, the same for every network; 0 for those of fgaf-train.",
)
@click.option("--seed", type=Number(Seed), default=0, show_default=True, help="Random seed.")
@click.option(
    "--split", default="default", show_default=True, help="Which split of the archive to use."
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A training setting of the networks, such as precision=bf16.",
)
@click.option(
    "--shift",
    type=Number(ShiftPx),
    default=0,
    show_default=True,
    help="Move every test patch by up to so many pixels: its cell is then not in the middle.",
)
@click.option(
    "--fields",
    "sources",
    type=PATH,
    multiple=True,
    metavar="IMAGES|FOLDER",
    help="Whole images with labelled heads, which every method searches, too; may be repeated.",
)
@click.option(
    "--labels",
    type=PATH,
    metavar="CSV",
    help="CSV with their heads: image, y, x in pixels.  [default: YOLO boxes, NAME.txt for "
    "NAME.jpg]",
)
@head_class_option
@click.option(
    "--pixel-size",
    metavar="µM|CSV|auto",
    help="Their pixel in the specimen, as for fgaf-bench-detection.  [default: from the image "
    "files]",
)
@head_option
@click.option(
    "--out",
    type=PATH,
    help="Folder for the networks, results and report; a stopped benchmark is resumed there.  "
    "[default: DATASET-heads]",
)
@json_option
def bench_heads(
    dataset: Path,
    methods: str,
    trained: tuple[Path, ...],
    epochs: int,
    seed: int,
    split: str,
    assignments: tuple[str, ...],
    shift: int,
    sources: tuple[Path, ...],
    labels: Path | None,
    classes: tuple[int, ...],
    pixel_size: str | None,
    head_um: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare methods of segmenting heads on the test cells of DATASET, an archive with masks.

    UNeXt and UNeXt-S are trained with the same settings, else they are those of --trained. The
    finder of fgaf-curate, whose heads are drawn as ellipses, and two thresholds learn nothing from
    DATASET. Each method's overlap with the masks, heads found and errors of their centres are shown
    beside its processor time for one patch and its parameters.

    With --fields the methods also search whole images, whose labels are boxes or centres.

    OUT/report.html is the report; results.json and results.csv hold its numbers. Run the same
    command to resume a stopped benchmark.

    \b
    fgaf-bench-heads dataset.h5
    fgaf-bench-heads dataset.h5 --trained dataset-run --methods unext,finder
    fgaf-bench-heads dataset.h5 --fields images --pixel-size 0.14
    fgaf-bench-heads dataset.h5 --fields images --labels centres.csv --pixel-size sizes.csv
    """  # noqa: D301 - click reads the backspace
    require("torch", "torchvision", "jinja2", "matplotlib", "markupsafe")
    from fgaf.dataset.archive import Archive
    from fgaf.model.bench.detection.fields import open_fields
    from fgaf.model.bench.segmentation.benchmark import Request, check, run_benchmark
    from fgaf.model.bench.segmentation.tables import headline, table
    from fgaf.model.networks.settings import preset

    given: dict[str, Any] = dict(map(parse_assignment, assignments))
    if not sources and (labels is not None or pixel_size is not None or classes):
        raise SettingError("--labels, --class and --pixel-size belong to images: give --fields too")
    if labels is not None and classes:
        raise SettingError("--class belongs to YOLO boxes: a CSV has no classes; leave one out")
    if not dataset.is_file():
        raise SettingError(f"there is no archive {dataset}; make one with `fgaf-curate auto`")
    settings = preset("heads").with_values(
        {"epochs": epochs, "seed": seed, "split": split} | given | {"task": "heads"}
    )
    request = Request(
        methods=tuple(name.strip() for name in methods.split(",") if name.strip()),
        settings=settings,
        trained=trained,
        shift_px=shift,
        head_um=head_um,
        fields=open_fields(
            sources,
            table=labels,
            pixel_size=pixel_size,
            head_um=head_um,
            classes=classes,
            progress=bar("reading"),
        )
        if sources
        else None,
    )
    archive = Archive.read(dataset, bar("verifying"))
    check(archive, request)
    if out is None:
        out = Path(f"{dataset.stem}-heads")
        echo(f"writing {out}", err=as_json)
    if request.fields is not None:
        for notice in request.fields.notices:
            echo(f"notice: {notice}", err=as_json)
    results = run_benchmark(archive, request, out, bar)
    finish(
        f"{table(results)}\n{headline(results)}\n"
        f"wrote {out / 'report.html'}, results.json, results.csv",
        None,
        results,
        as_json,
    )
