"""Exported models: files of `fgaf-export`, used without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.base.workers.progress import steps
from fgaf.model.deploy.engine import CARD, VERSION, Engine
from fgaf.model.deploy.seal import check_seal
from fgaf.model.inference.card import Kind, ModelCard, require_task
from fgaf.model.inference.depth import ONNX, OPENVINO, Readings, Reads
from fgaf.model.inference.heads import Segments, Shares
from fgaf.model.inference.images import check_patches

FORMAT_VERSION = 2
"""2: the card has a task."""
_BATCH = 256
_PIXELS = 2**20
_KINDS: dict[str, Kind] = {ONNX: "onnx", OPENVINO: "openvino"}


class Exported(Reads):
    """An exported depth model, ready for patches.

    Parameters
    ----------
    engine
        Runs it.
    card
        What it is.
    """

    def __init__(self, engine: Engine, card: ModelCard) -> None:
        self.card = card
        self._engine = engine
        engine.start(card.precision, card.patch_px)

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> Exported:
        """Open an exported depth model.

        Parameters
        ----------
        path, threads
            As for `load_export`.

        Raises
        ------
        FgafError
            As by `load_export`, or the model is for another task.
        """
        model = load_export(path, threads)
        require_task(model.card.task, "depth", str(path))
        return cast(Exported, model)

    def read(self, images: Any, source: str = "the input") -> Readings:
        """Read depth from patches; see `fgaf.model.inference.depth.DepthModel`."""
        patches = check_patches(images, self.card.patch_px, source)
        parts = [
            self._engine.run(patches[start : start + _BATCH])
            for start in steps(range(0, len(patches), _BATCH))
        ]
        if not parts:
            none = np.zeros(0)
            return Readings(none, none, np.zeros((0, len(self.class_depths_um))), none < 1)
        depth, spread, p, novelty = (
            np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True)
        )
        return Readings(depth, spread, p, novelty <= 1)


class ExportedHeads(Segments):
    """An exported model that segments heads, ready for images of any size.

    Parameters
    ----------
    engine
        Runs it; fastest for one patch of the size of training.
    card
        What it is.
    """

    def __init__(self, engine: Engine, card: ModelCard) -> None:
        self.card = card
        self._engine = engine
        engine.start(card.precision, card.patch_px)

    def prepare(self, shape: tuple[int, int, int]) -> None:
        """Get ready for batches of one shape; see `HeadModel.prepare`."""
        self._engine.prepare(shape)
        super().prepare(shape)

    def shares(self, images: Any, source: str = "the input") -> Shares:
        """Probability of every pixel to belong to a head; see `HeadModel.shares`."""
        checked = check_patches(images, None, source)
        if not len(checked):
            return np.zeros(checked.shape, dtype=np.float32)
        at_once = max(1, _PIXELS // (checked.shape[1] * checked.shape[2]))
        parts = [
            self._engine.run(checked[start : start + at_once])[0]
            for start in range(0, len(checked), at_once)
        ]
        return np.concatenate(parts)


def load_export(path: Path, threads: int | None = None) -> Exported | ExportedHeads:
    """Open an exported model of any task.

    OpenVINO runs both kinds of file.

    Parameters
    ----------
    path
        The file: .onnx, or .xml with its .bin beside it.
    threads
        Processor threads; None for two, if there are two.

    Raises
    ------
    FgafError
        No such file.
    FormatError
        Damaged, altered, newer, or not written by `fgaf-export`.
    """
    suffix = path.suffix.lower()
    files = [path] if suffix == ONNX else [path, weights_of(path)]
    for file in files:
        if not file.is_file():
            raise FgafError(f"{file} does not exist; check the name, or export the run again")
    check_seal(path, files[1:])
    engine = Engine(path, threads)
    metadata = engine.metadata()
    if int(metadata.get(VERSION, 0)) > FORMAT_VERSION:
        raise FormatError(f"{path} is from a newer version of fgaf; update this installation")
    card = ModelCard.from_json(metadata.get(CARD, ""), str(path))
    card = replace(card, kind=_KINDS[suffix])
    return ExportedHeads(engine, card) if card.task == "heads" else Exported(engine, card)


def weights_of(path: Path) -> Path:
    """The file of weights that belongs to an OpenVINO model's .xml."""
    return path.with_suffix(".bin")


def check_views(card: ModelCard, tta: bool | None, path: Path) -> None:
    """Refuse an export whose views (symmetries) differ from the request.

    Parameters
    ----------
    card
        Card of the export.
    tta
        Whether to average the eight symmetries; None for the export's own choice.
    path
        The export, named in the error.

    Raises
    ------
    SettingError
        The export and `tta` differ.
    """
    if tta is not None and tta != card.tta:
        does, flag = ("averages", "without") if card.tta else ("does not average", "with")
        raise SettingError(
            f"{path} {does} the eight symmetries, which is part of the file; "
            f"export the run again {flag} --tta"
        )
