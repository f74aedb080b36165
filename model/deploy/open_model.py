"""Opening a model of any kind: a run, a checkpoint, or an exported file."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from fgaf.base.extras import require
from fgaf.model.deploy.exported import check_views, load_export
from fgaf.model.inference.card import require_task
from fgaf.model.inference.depth import ONNX, OPENVINO, DepthModel
from fgaf.model.inference.heads import HeadModel


def is_export(path: Path | str) -> bool:
    """Whether a model is an exported file, by its suffix; else a run or a checkpoint."""
    return Path(path).suffix.lower() in (ONNX, OPENVINO)


def open_any(
    path: Path | str, tta: bool | None = None, threads: int | None = None
) -> DepthModel | HeadModel:
    """Open a model of any kind and task; its card has the task.

    Parameters
    ----------
    path
        The folder of a training run, a checkpoint, "sim" for the network that ships, or an export
        (.onnx, or .xml with its .bin beside it).
    tta
        Average the eight symmetries; None for the setting of the run. In an export this is fixed.
    threads
        Processor threads for an export; None for two, if there are two.

    Raises
    ------
    FgafError
        It is missing, damaged, not made by fgaf, or newer than this installation; a library that it
        needs is missing; or an export differs from `tta`.
    """
    path = Path(path)
    if is_export(path):
        exported = load_export(path, threads)
        check_views(exported.card, tta, path)
        return exported
    require("torch", "torchvision")
    from fgaf.model.inference.predict import Predictor, load_checkpoint
    from fgaf.model.inference.segment import Segmenter

    checkpoint = load_checkpoint(path)
    if checkpoint.settings.task == "heads":
        return Segmenter(checkpoint, tta)
    return Predictor(checkpoint, tta)


def open_model(path: Path | str, tta: bool | None = None, threads: int | None = None) -> DepthModel:
    """Open a model that estimates depth.

    Parameters
    ----------
    path, tta, threads
        As for `open_any`.

    Raises
    ------
    FgafError
        As by `open_any`, or the model is for another task.
    """
    model = open_any(path, tta, threads)
    require_task(model.card.task, "depth", str(path))
    return cast(DepthModel, model)


def open_segmenter(
    path: Path | str, tta: bool | None = None, threads: int | None = None
) -> HeadModel:
    """Open a model that segments heads.

    Parameters
    ----------
    path, tta, threads
        As for `open_any`.

    Raises
    ------
    FgafError
        As by `open_any`, or the model is for another task.
    """
    model = open_any(path, tta, threads)
    require_task(model.card.task, "heads", str(path))
    return cast(HeadModel, model)
