"""Depth from patches with a trained network: class probabilities, µm, and their spread."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgaf.model.augment import symmetries
from fgaf.model.checkpoint import Checkpoint
from fgaf.model.decode import class_probabilities, depth_spread, expected_depth
from fgaf.model.images import check_patches
from fgaf.model.start import SHIPPED, shipped

Floats = npt.NDArray[np.float64]

CHECKPOINT = "checkpoint.pt"
_BATCH = 256


class Predictor:
    """A trained network, ready for patches.

    Parameters
    ----------
    checkpoint : of a finished run
    tta : average the eight symmetries of the square; None as the run was set
    """

    def __init__(self, checkpoint: Checkpoint, tta: bool | None = None) -> None:
        self.checkpoint = checkpoint
        self.network = checkpoint.network()
        self.tta = checkpoint.settings.tta if tta is None else tta

    @classmethod
    def load(cls, run: Path, tta: bool | None = None) -> "Predictor":
        """Load the network of a run.

        Parameters
        ----------
        run : the run's folder, one checkpoint file, or "sim" for the network that ships
        tta : see the class

        Raises
        ------
        FgafError
            No run there, or its checkpoint is damaged.
        """
        if str(run) == SHIPPED and not run.exists():
            return cls(shipped(), tta)
        return cls(Checkpoint.load(run / CHECKPOINT if run.is_dir() else run), tta)

    @property
    def class_depths_um(self) -> Floats:
        """(C,) depth of each class, µm."""
        return self.checkpoint.class_depths_um

    def probabilities(self, images: Any, source: str = "the input") -> Floats:
        """Compute class probabilities, temperature included.

        Parameters
        ----------
        images : (N, S, S) or (S, S), uint8 or uint16
        source : named in errors

        Returns
        -------
        (N, C)

        Raises
        ------
        FgafError
            Patches the network cannot take; see `fgaf.model.images.check_patches`.
        """
        patches = check_patches(images, self.checkpoint.patch_px, source)
        scale = self.checkpoint.scale
        logits = [
            network_logits(self.network, scale(patches[start : start + _BATCH]), self.tta)
            for start in range(0, len(patches), _BATCH)
        ]
        if not logits:
            return np.zeros((0, len(self.class_depths_um)))
        p = class_probabilities(
            torch.cat(logits), self.checkpoint.settings.loss, self.checkpoint.temperature
        )
        return np.asarray(p.numpy())

    def predict(self, images: Any, source: str = "the input") -> tuple[Floats, Floats]:
        """Estimate depths.

        Parameters
        ----------
        images, source : as for `probabilities`

        Returns
        -------
        (N,) expected depth in µm, (N,) its standard deviation in µm
        """
        p = self.probabilities(images, source)
        return expected_depth(p, self.class_depths_um), depth_spread(p, self.class_depths_um)


def network_logits(network: torch.nn.Module, x: Tensor, tta: bool) -> Tensor:
    """Run a network in evaluation mode, on the CPU's float32 or wherever its weights are.

    Parameters
    ----------
    network : from patches (B, 1, S, S) to logits
    x : (N, 1, S, S) normalised
    tta : average the logits of the eight symmetries

    Returns
    -------
    (N, outputs) float32 on the CPU
    """
    device = next(network.parameters()).device
    parts = []
    with _evaluating(network), torch.inference_mode():
        for batch in torch.split(x, _BATCH):
            views = symmetries(batch) if tta else batch[None]
            parts.append(
                torch.stack([network(view.to(device)) for view in views]).mean(dim=0).float().cpu()
            )
    return torch.cat(parts)


@contextmanager
def _evaluating(network: torch.nn.Module) -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)
