"""Export a trained network to one file that needs neither torch nor this package's training.

The export is first opened as a user opens it, and evaluated on the archive's test cells beside the
checkpoint.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from fgaf.base import console
from fgaf.base.errors import FgafError, SettingError
from fgaf.base.extras import require
from fgaf.base.files import publishing, require_new
from fgaf.dataset.archive import Archive
from fgaf.model.deploy.engine import CARD, VERSION
from fgaf.model.deploy.exported import FORMAT_VERSION, Exported, load_export, weights_of
from fgaf.model.deploy.graph import onnx_model
from fgaf.model.deploy.quantise import quantise
from fgaf.model.deploy.seal import EMPTY, KEY, seal
from fgaf.model.deploy.verify import Bar, Verdict, verify
from fgaf.model.deploy.verify_heads import HeadsVerdict, verify_heads
from fgaf.model.inference.card import Precision
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.depth import ONNX, OPENVINO
from fgaf.model.inference.predict import card_of, load_checkpoint
from fgaf.model.training.sides import TEST, TRAIN

Target = Literal["onnx", "openvino"]
TARGETS: tuple[Target, ...] = get_args(Target)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_SUFFIXES: dict[Target, str] = {"onnx": ONNX, "openvino": OPENVINO}
_CALIBRATION = 300


@dataclass(frozen=True)
class ExportSettings:
    """What to export to.

    Attributes
    ----------
    to
        "onnx", one file; or "openvino", an .xml with its .bin.
    precision
        "fp32"; "bf16", for OpenVINO only; or "int8", calibrated on training cells.
    tta
        Average the eight symmetries of a patch, at eight times the cost.
    force
        Export although the archive is another than the one trained on.
    overwrite
        Replace files that are there.
    """

    to: Target = "onnx"
    precision: Precision = "fp32"
    tta: bool = False
    force: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.precision == "bf16" and self.to == "onnx":
            raise SettingError("bf16 is for OpenVINO only: add --to openvino, or use int8")


def export_model(
    run: Path,
    archive: Path,
    out: Path,
    settings: ExportSettings | None = None,
    progress: Bar = console.progress,
) -> tuple[list[Path], Verdict | HeadsVerdict]:
    """Export the network of a run, verified on the test cells.

    Parameters
    ----------
    run
        The run's folder, a checkpoint, or "sim".
    archive
        The archive it was trained on: training cells for calibration, test cells for evaluation.
    out
        The file, with the suffix of its kind.
    settings
        What to export to.
    progress
        Wraps the verification, as `fgaf.base.console.progress`.

    Returns
    -------
    list of Path, Verdict or HeadsVerdict
        The files that were written, and their evaluation.

    Raises
    ------
    FgafError
        The run or the archive cannot be used, `out` exists, a library is missing, or the export
        is worse than the checkpoint; nothing is written then.
    """
    chosen = settings or ExportSettings()
    target = targets(out, chosen)
    for path in target:
        require_new(path, chosen.overwrite)
    require("onnx", "onnxscript", "onnxruntime")
    checkpoint = load_checkpoint(run)
    with Archive.open(
        archive, whole=True, progress=lambda blocks: progress(blocks, "verifying", len(blocks))
    ) as data:
        sides = _sides(data, checkpoint, archive, chosen.force)
        with tempfile.TemporaryDirectory(prefix="fgaf-export-") as folder:
            built = Path(folder) / target[0].name
            training = np.flatnonzero(sides == TRAIN)
            chosen_rows = training[:: 1 + (len(training) - 1) // _CALIBRATION]
            model = onnx_model(checkpoint, chosen.tta, chosen.precision)
            build(built, model, checkpoint, chosen, data.images[chosen_rows])
            verdict = _verified(built, checkpoint, data, sides == TEST, progress)
            verdict.check()
            _publish([built, weights_of(built)][: len(target)], target, chosen.overwrite)
    return target, verdict


def default_name(run: Path, settings: ExportSettings) -> Path:
    """Default path of an export: beside the run's checkpoint.

    Parameters
    ----------
    run
        Folder of the run, or a checkpoint.
    settings
        Export settings: precision, views and kind of file are part of the name.
    """
    folder = run if run.is_dir() else run.parent
    precision = "" if settings.precision == "fp32" else f"-{settings.precision}"
    tta = "-tta" if settings.tta else ""
    return folder / f"model{precision}{tta}{_SUFFIXES[settings.to]}"


def targets(out: Path, settings: ExportSettings) -> list[Path]:
    """List the files that an export to `out` writes.

    Parameters
    ----------
    out
        The file to export to.
    settings
        Export settings.

    Raises
    ------
    SettingError
        The suffix of `out` is another kind's.
    """
    suffix = _SUFFIXES[settings.to]
    if out.suffix.lower() != suffix:
        raise SettingError(f"{out}: the name of an export to {settings.to} must end in {suffix}")
    return [out] if settings.to == "onnx" else [out, weights_of(out)]


def _verified(
    path: Path,
    checkpoint: Checkpoint,
    archive: Archive,
    judged: npt.NDArray[np.bool_],
    progress: Bar,
) -> Verdict | HeadsVerdict:
    model = load_export(path)
    if isinstance(model, Exported):
        return verify(model, checkpoint, archive, judged, progress)
    return verify_heads(model, checkpoint, archive, judged, progress)


def _sides(
    archive: Archive, checkpoint: Checkpoint, path: Path, force: bool
) -> npt.NDArray[np.int8]:
    """The sides of the rows of the archive, which must match the checkpoint."""
    header = archive.header
    for key in ("patch_px", "step_um", "half_range_um"):
        mine, its = getattr(header, key), getattr(checkpoint, key)
        if abs(mine - its) > 1e-9:
            raise FgafError(
                f"{path} has {key} = {mine:g} and the run {its:g}; give the archive it was "
                "trained on"
            )
    if archive.fingerprint != checkpoint.archive_fingerprint and not force:
        trained = f" ({checkpoint.archive_name})" if checkpoint.archive_name else ""
        raise FgafError(
            f"{path} is not the archive that the run was trained on{trained}: its test cells may "
            "have been used for training; give that archive, or pass --force"
        )
    name = checkpoint.settings.split
    sides = archive.split_of_rows(name)
    for side, noun in ((TRAIN, "training"), (TEST, "test")):
        if not (sides == side).any():
            raise FgafError(
                f"split {name!r} of {path} has no {noun} cells, which an export needs; "
                "make another split with `fgaf-data split`"
            )
    return sides


def build(
    path: Path,
    model: Any,
    checkpoint: Checkpoint,
    settings: ExportSettings,
    training: npt.NDArray[Any],
) -> None:
    """Write an export with its checksum, not yet evaluated.

    Parameters
    ----------
    path
        The new file; OpenVINO's weights go beside it.
    model
        From `fgaf.model.deploy.graph.onnx_model`, with views and precision of the settings.
    checkpoint, settings
        What is exported, and the export settings.
    training
        (N, S, S) patches to calibrate int8 with.
    """
    card = replace(
        card_of(checkpoint, settings.tta), kind=settings.to, precision=settings.precision
    )
    if settings.precision == "int8":
        model = quantise(model, training)
    written = {CARD: card.to_json(), VERSION: str(FORMAT_VERSION), KEY: EMPTY}
    if settings.to == "onnx":
        _write_onnx(path, model, written)
        seal(path)
    else:
        _write_openvino(path, model, written)
        seal(path, [weights_of(path)])


def _write_onnx(path: Path, model: Any, metadata: dict[str, str]) -> None:
    import onnx

    onnx.helper.set_model_props(model, metadata)
    onnx.save_model(model, path)


def _write_openvino(path: Path, model: Any, metadata: dict[str, str]) -> None:
    import openvino

    with tempfile.TemporaryDirectory(prefix="fgaf-export-") as folder:
        plain = Path(folder) / "plain.onnx"
        _write_onnx(plain, model, {})
        converted = openvino.Core().read_model(plain)
    # The CPU's int8 kernels take no 16-bit input; float32 holds these grey values exactly.
    converted.inputs[0].get_node().set_element_type(openvino.Type.f32)
    converted.validate_nodes_and_infer_types()
    for key, value in metadata.items():
        converted.set_rt_info(value, [key])
    openvino.save_model(converted, path, compress_to_fp16=False)


def _publish(built: list[Path], target: list[Path], overwrite: bool) -> None:
    """Publish the files; the one that users open comes last."""
    with ExitStack() as stack:
        for source, path in zip(built, target, strict=True):
            part = stack.enter_context(publishing(path, overwrite))
            shutil.copyfile(source, part)
