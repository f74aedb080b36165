"""The command `fgaf-predict`: parse, call the library, print."""

import json
from pathlib import Path
from typing import Any

import click

from fgaf.base.bounds import PixelUm
from fgaf.base.console import Tool, count, echo, progress
from fgaf.base.errors import SettingError
from fgaf.base.files import require_new
from fgaf.base.options import (
    PATH,
    Number,
    head_option,
    json_option,
    overwrite_option,
    verify_option,
)
from fgaf.base.outputs import output_file


@click.command(cls=Tool)
@click.argument("model", type=PATH)
@click.argument("inputs", type=PATH, nargs=-1, required=True, metavar="IMAGES|STACK...")
@click.option("--csv", "csv_file", type=PATH, help="Write the predictions as CSV.")
@click.option(
    "--save", is_flag=True, help="Write them as CSV: depths.csv or heads.csv, or with -2, ..."
)
@click.option("--parquet", "parquet_file", type=PATH, help="Write them as Parquet.")
@click.option(
    "--masks",
    type=PATH,
    help="Folder for the masks of heads: NAME-masks.png, or .tif for several planes.",
)
@click.option("--tta/--no-tta", default=None, help="Whether to average the eight symmetries.")
@click.option(
    "--pixel-size", type=Number(PixelUm), help="Pixel in the specimen, µm, to find cells in fields."
)
@head_option
@click.option("--force", is_flag=True, help="Accept images with other optics than the model's.")
@verify_option
@overwrite_option
@json_option
def predict(
    model: Path,
    inputs: tuple[Path, ...],
    csv_file: Path | None,
    save: bool,
    parquet_file: Path | None,
    masks: Path | None,
    tta: bool | None,
    pixel_size: float | None,
    head_um: float,
    force: bool,
    verify: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Estimate depth in µm, with its uncertainty, or find heads, with the network MODEL.

    MODEL is the folder of a training run, a checkpoint, a file that fgaf-export wrote (.onnx or
    .xml), or "sim", the network that ships with fgaf and was trained on simulated cells only:
    fine-tune it before you rely on it.

    IMAGES are TIFF or PNG patches of the size the network was trained on, one per page, or
    whole fields, at least twice that size, in which the cells are found; a STACK is a raw stack
    file or an archive; a folder means all of these files in it. Depth is positive with the
    objective above the cell's focus. A patch unlike those of training is out of range. Stacks and
    archives are compared with their checksums first.

    A network trained with --task heads gives the centre, area and confidence of the head of each
    cell, or of all heads in a patch, which may then have any size.
    """
    from fgaf.model.deploy.open_model import open_any
    from fgaf.model.inference import predictions, segmentations
    from fgaf.model.inference.predictions import write_csv, write_parquet

    opened: Any = open_any(model, tta)
    heads = opened.card.task == "heads"
    if masks is not None and not heads:
        raise SettingError(f"{model} estimates depth and has no masks; leave out --masks")
    if save or csv_file is not None:
        usual = Path("heads.csv" if heads else "depths.csv")
        csv_file = output_file(csv_file, usual, overwrite, as_json)
    for path in (csv_file, parquet_file):
        if path is not None:
            require_new(path, overwrite)

    def warn(line: str) -> None:
        echo(f"warning: {line}", err=True)

    how: dict[str, Any] = {
        "pixel_size_um": pixel_size,
        "head_um": head_um,
        "force": force,
        "verify": verify,
        "warn": warn,
        "progress": lambda files: progress(files, "predicting"),
    }
    if heads:
        columns, table = segmentations.COLUMNS, segmentations.table
        how |= {"masks": masks, "overwrite": overwrite}
        rows = segmentations.segment_files(opened, list(inputs), **how)
    else:
        columns, table = predictions.COLUMNS, predictions.table
        rows = predictions.predict_files(opened, list(inputs), **how)
        if not opened.card.tells_range:
            warn(f"{model} cannot detect patches that are out of range; train it again")
    if csv_file is not None:
        write_csv(csv_file, rows, overwrite, columns)
    if parquet_file is not None:
        write_parquet(parquet_file, rows, overwrite, columns)
    if as_json:
        echo(json.dumps(rows, indent=2))
        return
    echo(table(rows))
    for path in (csv_file, parquet_file):
        if path is not None:
            echo(f"wrote {path}: {count(len(rows), 'row' if heads else 'patch')}")
    if masks is not None:
        echo(f"wrote the masks to {masks}")
