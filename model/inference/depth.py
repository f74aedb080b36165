"""Depth models: one interface for a network in a checkpoint or in an exported file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fgaf.model.inference.card import ModelCard

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

ONNX, OPENVINO = ".onnx", ".xml"


@dataclass(frozen=True)
class Readings:
    """The output of a depth model for N patches.

    Attributes
    ----------
    depth_um, spread_um
        (N,) expected depth and its standard deviation, µm.
    probabilities
        (N, C) of the depth classes.
    in_range
        (N,) whether a patch is like those of training; always True where the model cannot judge it
        (`ModelCard.tells_range`).
    """

    depth_um: Floats
    spread_um: Floats
    probabilities: Floats
    in_range: Flags


class DepthModel(Protocol):
    """Reads depth from patches. Patches are (N, S, S) or (S, S), uint8 or uint16.

    `source` names the patches in errors: FgafError for patches that the model cannot take.
    """

    @property
    def card(self) -> ModelCard:
        """What the model is."""
        ...

    @property
    def class_depths_um(self) -> Floats:
        """(C,) depth of each class, ascending, in µm."""
        ...

    def read(self, images: Any, source: str = "the input") -> Readings:
        """All outputs for the patches, from one pass of the network.

        Parameters
        ----------
        images
            (N, S, S) or one (S, S), uint8 or uint16.
        source
            Their origin, named in errors.
        """
        ...

    def predict(self, images: Any, source: str = "the input") -> tuple[Floats, Floats]:
        """Expected depth (N,) and its standard deviation (N,), µm.

        Parameters
        ----------
        images
            (N, S, S) or one (S, S), uint8 or uint16.
        source
            Their origin, named in errors.
        """
        ...

    def probabilities(self, images: Any, source: str = "the input") -> Floats:
        """Probabilities of the depth classes, (N, C).

        Parameters
        ----------
        images
            (N, S, S) or one (S, S), uint8 or uint16.
        source
            Their origin, named in errors.
        """
        ...

    def in_range(self, images: Any, source: str = "the input") -> Flags:
        """Whether each patch is like those of training, (N,); see `Readings`.

        Parameters
        ----------
        images
            (N, S, S) or one (S, S), uint8 or uint16.
        source
            Their origin, named in errors.
        """
        ...


class Reads:
    """The single outputs, for a model that has `read` and `card`."""

    card: ModelCard

    def read(self, images: Any, source: str = "the input") -> Readings:
        """All outputs for the patches; each model defines it."""
        raise NotImplementedError

    @property
    def class_depths_um(self) -> Floats:
        """(C,) depth of each class, ascending, in µm."""
        return self.card.class_depths_um

    def predict(self, images: Any, source: str = "the input") -> tuple[Floats, Floats]:
        """Expected depth (N,) of patches (N, S, S) and its standard deviation (N,), µm."""
        readings = self.read(images, source)
        return readings.depth_um, readings.spread_um

    def probabilities(self, images: Any, source: str = "the input") -> Floats:
        """Probabilities of the depth classes, (N, C), of patches (N, S, S)."""
        return self.read(images, source).probabilities

    def in_range(self, images: Any, source: str = "the input") -> Flags:
        """Whether each of the patches (N, S, S) is like those of training, (N,)."""
        return self.read(images, source).in_range
