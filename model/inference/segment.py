"""Masks of heads with a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.heads import Segments, Shares
from fgaf.model.inference.images import check_patches
from fgaf.model.inference.predict import card_of, load_checkpoint
from fgaf.model.networks.backbones import evaluating

_PIXELS = 2**20
"""Pixels in the network at a time: their maps take some 500 MB."""


class Segmenter(Segments):
    """A trained network that segments heads, ready for images.

    Parameters
    ----------
    checkpoint
        Checkpoint of a finished run.
    tta
        Average the eight symmetries of the square; None for the setting of the run.
    """

    def __init__(self, checkpoint: Checkpoint, tta: bool | None = None) -> None:
        self.network = checkpoint.network()
        self.tta = checkpoint.settings.tta if tta is None else tta
        self.card = card_of(checkpoint, self.tta)

    @classmethod
    def load(cls, run: Path, tta: bool | None = None) -> Segmenter:
        """Load the network of a run.

        Parameters
        ----------
        run
            The run's folder, or one checkpoint file.
        tta
            Average the eight symmetries of the square; None for the setting of the run.

        Raises
        ------
        FgafError
            There is no run, its checkpoint is damaged, or its network does not segment heads.
        """
        return cls(load_checkpoint(run, "heads"), tta)

    def shares(self, images: Any, source: str = "the input") -> Shares:
        """Probability of every pixel to belong to a head; see `HeadModel.shares`."""
        checked = check_patches(images, None, source)
        logits = mask_logits(self.network, self.card.scale(checked), self.tta)
        return np.asarray(logits.sigmoid_()[:, 0].numpy())


def mask_logits(network: nn.Module, x: Tensor, tta: bool) -> Tensor:
    """Run a network for masks in evaluation mode, on the device of its weights.

    Parameters
    ----------
    network
        From images (B, 1, H, W) to logits of the same size.
    x
        (N, 1, H, W) normalised.
    tta
        Average the logits of the eight symmetries, brought back to the image.

    Returns
    -------
    (N, 1, H, W) float32 on the CPU
    """
    device = next(network.parameters()).device
    side = max(x.shape[-2:])
    parts = []
    with evaluating(network), torch.inference_mode():
        for batch in torch.split(x, max(1, _PIXELS // side**2)):
            parts.append(symmetric_maps(network, batch.to(device), tta).float().cpu())
    return torch.cat(parts)


def symmetric_maps(network: nn.Module, x: Tensor, tta: bool) -> Tensor:
    """Maps of a batch, or the mean over its eight symmetries, brought back to the image.

    Parameters
    ----------
    network
        From (B, 1, H, W) to (B, C, H, W).
    x
        (B, 1, H, W).
    tta
        Whether to average.
    """
    maps: Tensor
    if not tta:
        maps = network(x)
        return maps
    turned = [network(x.rot90(k, dims=(2, 3))).rot90(-k, dims=(2, 3)) for k in range(4)]
    mirrored = x.flip(3)
    turned += [
        network(mirrored.rot90(k, dims=(2, 3))).rot90(-k, dims=(2, 3)).flip(3) for k in range(4)
    ]
    return torch.stack(turned).mean(dim=0)
