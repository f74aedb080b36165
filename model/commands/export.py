"""The command `fgaf-export`: parse, call the library, print."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fgaf.base.console import Tool, finish, progress
from fgaf.base.options import PATH, json_option, overwrite_option
from fgaf.base.outputs import output_file


@click.command(cls=Tool)
@click.argument("run", type=PATH)
@click.option(
    "--archive", type=PATH, required=True, help="The archive that the run was trained on."
)
@click.option(
    "--out", type=PATH, help="The file; by default RUN/model.onnx, RUN/model.xml and so on."
)
@click.option(
    "--to",
    type=click.Choice(["onnx", "openvino"]),
    default="onnx",
    show_default=True,
    help="One ONNX file, or OpenVINO's .xml with its .bin.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of the arithmetic; int8 is calibrated on the archive's training cells.",
)
@click.option(
    "--tta", is_flag=True, help="Average the eight symmetries: slower, slightly more accurate."
)
@click.option("--force", is_flag=True, help="Export with another archive than the run's.")
@overwrite_option
@json_option
def export(
    run: Path,
    archive: Path,
    out: Path | None,
    to: Any,
    precision: Any,
    tta: bool,
    force: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Export the network of the run RUN to a file that runs without torch.

    RUN is the folder of a training run, a checkpoint, or "sim". The file takes raw 8- or 16-bit
    patches and gives µm, or for a run of heads images of any size and gives the probability of
    every pixel. It is first opened and evaluated on the archive's test cells, and not written when
    the mean error grows by more than 0.01 µm over the checkpoint's, or the intersection over union
    falls by more than 0.01.

    \b
    fgaf-export run --archive dataset.h5
    fgaf-export run --archive dataset.h5 --to openvino --precision bf16
    fgaf-export run --archive dataset.h5 --precision int8 --out fast.onnx
    """  # noqa: D301 - click reads the backspace
    from fgaf.model.deploy.export import ExportSettings, default_name, export_model

    settings = ExportSettings(to=to, precision=precision, tta=tta, force=force, overwrite=overwrite)
    out = output_file(out, default_name(run, settings), overwrite, as_json)
    files, verdict = export_model(run, archive, out, settings, progress)
    finish(
        f"wrote {' and '.join(map(str, files))}: {verdict.summary()}",
        ["fgaf-predict", files[0], "IMAGES"],
        {"files": list(map(str, files)), "precision": precision, "tta": tta, **asdict(verdict)},
        as_json,
    )
