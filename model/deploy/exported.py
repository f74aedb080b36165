"""Exported models: files of `fgaf-export`, used without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.model.deploy.engine import CARD, VERSION, Engine
from fgaf.model.deploy.seal import check_seal
from fgaf.model.inference.card import Kind, ModelCard
from fgaf.model.inference.depth import ONNX, OPENVINO, Readings, Reads
from fgaf.model.inference.images import check_patches

FORMAT_VERSION = 1
_BATCH = 256
_KINDS: dict[str, Kind] = {ONNX: "onnx", OPENVINO: "openvino"}


class Exported(Reads):
    """An exported model, ready for patches.

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
        """Open an exported model.

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
        return cls(engine, replace(card, kind=_KINDS[suffix]))

    def read(self, images: Any, source: str = "the input") -> Readings:
        """Read depth from patches; see `fgaf.model.inference.depth.DepthModel`."""
        patches = check_patches(images, self.card.patch_px, source)
        parts = [
            self._engine.run(patches[start : start + _BATCH])
            for start in range(0, len(patches), _BATCH)
        ]
        if not parts:
            none = np.zeros(0)
            return Readings(none, none, np.zeros((0, len(self.class_depths_um))), none < 1)
        depth, spread, p, novelty = (
            np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True)
        )
        return Readings(depth, spread, p, novelty <= 1)


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
