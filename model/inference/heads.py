"""Models that segment heads: one interface for a network in a checkpoint or in an exported file."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fgaf.model.inference.card import ModelCard
from fgaf.model.metrics.heads import Regions, regions

Shares = npt.NDArray[np.float32]


class HeadModel(Protocol):
    """Segments heads in images: (N, H, W) or (H, W), uint8 or uint16, of any size.

    `source` names the images in errors: FgafError for images that the model cannot take.
    """

    @property
    def card(self) -> ModelCard:
        """What the model is."""
        ...

    def prepare(self, shape: tuple[int, int, int]) -> None:
        """Get ready for batches of one shape, of which the first takes longer.

        Parameters
        ----------
        shape
            (N, H, W).
        """
        ...

    def shares(self, images: Any, source: str = "the input") -> Shares:
        """Probability of every pixel to belong to a head, (N, H, W).

        Parameters
        ----------
        images
            (N, H, W) or one (H, W), uint8 or uint16.
        source
            Their origin, named in errors.
        """
        ...

    def regions(self, images: Any, source: str = "the input") -> list[Regions]:
        """The heads of every image, largest first.

        Parameters
        ----------
        images
            (N, H, W) or one (H, W), uint8 or uint16.
        source
            Their origin, named in errors.
        """
        ...


class Segments:
    """The heads, for a model that has `shares` and `card`."""

    card: ModelCard

    def prepare(self, shape: tuple[int, int, int]) -> None:
        """Run one batch of a shape (N, H, W)."""
        self.shares(np.full(shape, 100, np.uint8))

    def shares(self, images: Any, source: str = "the input") -> Shares:
        """Probability of every pixel, (N, H, W); each model defines it."""
        raise NotImplementedError

    def regions(self, images: Any, source: str = "the input") -> list[Regions]:
        """The heads of every image (N, H, W), largest first."""
        return [heads_of(shares, self.card) for shares in self.shares(images, source)]


def heads_of(shares: npt.ArrayLike, card: ModelCard) -> Regions:
    """Heads in a map of probabilities.

    Parameters
    ----------
    shares
        (H, W) probability of every pixel.
    card
        Card of the model, with its threshold and least area.
    """
    return regions(np.asarray(shares) >= card.threshold, card.least_px)
