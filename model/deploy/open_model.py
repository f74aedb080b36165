"""Opening a depth model of any kind: a run, a checkpoint, or an exported file."""

from __future__ import annotations

from pathlib import Path

from fgaf.base.extras import require
from fgaf.model.deploy.exported import Exported, check_views
from fgaf.model.inference.depth import ONNX, OPENVINO, DepthModel


def is_export(path: Path | str) -> bool:
    """Whether a depth model is an exported file, by its suffix; else a run or a checkpoint."""
    return Path(path).suffix.lower() in (ONNX, OPENVINO)


def open_model(path: Path | str, tta: bool | None = None, threads: int | None = None) -> DepthModel:
    """Open a depth model of any kind.

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
        exported = Exported.load(path, threads)
        check_views(exported.card, tta, path)
        return exported
    require("torch", "torchvision")
    from fgaf.model.inference.predict import Predictor

    return Predictor.load(path, tta)
