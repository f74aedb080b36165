"""Depth from patches with a trained network: class probabilities, depth in µm and its spread."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgaf.base.workers.progress import steps
from fgaf.model.inference.card import ModelCard, require_task
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.depth import Readings, Reads
from fgaf.model.inference.images import check_patches
from fgaf.model.inference.initial_weights import SHIPPED, shipped
from fgaf.model.inference.out_of_distribution import Novelty
from fgaf.model.networks.augment import symmetries
from fgaf.model.networks.backbones import evaluating
from fgaf.model.networks.decode import class_probabilities, depth_spread, expected_depth
from fgaf.model.networks.settings import TaskName

CHECKPOINT = "checkpoint.pt"
_BATCH = 256


class Predictor(Reads):
    """A trained network, ready for patches.

    Parameters
    ----------
    checkpoint
        Checkpoint of a finished run.
    tta
        Average the eight symmetries of the square; None for the setting of the run.
    """

    def __init__(self, checkpoint: Checkpoint, tta: bool | None = None) -> None:
        self.checkpoint = checkpoint
        self.network = checkpoint.network()
        self.tta = checkpoint.settings.tta if tta is None else tta
        self.card = card_of(checkpoint, self.tta)
        self._novelty = Novelty(checkpoint.familiar) if checkpoint.familiar else None

    @classmethod
    def load(cls, run: Path, tta: bool | None = None) -> "Predictor":
        """Load the network of a run.

        Parameters
        ----------
        run
            The run's folder, one checkpoint file, or "sim" for the network that ships.
        tta
            Average the eight symmetries of the square; None for the setting of the run.

        Raises
        ------
        FgafError
            There is no run, its checkpoint is damaged, or its network does not estimate depth.
        """
        return cls(load_checkpoint(run, "depth"), tta)

    def read(self, images: Any, source: str = "the input") -> Readings:
        """Read depth from patches, temperature included.

        Parameters
        ----------
        images
            (N, S, S) or (S, S), uint8 or uint16.
        source
            Named in errors.

        Raises
        ------
        FgafError
            The patches are not valid; see `fgaf.model.inference.images.check_patches`.
        """
        patches = check_patches(images, self.card.patch_px, source)
        grid = self.card.class_depths_um
        parts = [
            self._batch(patches[start : start + _BATCH])
            for start in steps(range(0, len(patches), _BATCH))
        ]
        p, novelty = np.zeros((0, len(grid))), np.zeros(0)
        if parts:
            loss, temperature = self.checkpoint.settings.loss, self.checkpoint.temperature
            logits = torch.cat([part for part, _ in parts])
            p = np.asarray(class_probabilities(logits, loss, temperature).numpy())
            novelty = torch.cat([part for _, part in parts]).double().numpy()
        return Readings(expected_depth(p, grid), depth_spread(p, grid), p, novelty <= 1)

    def _batch(self, patches: Any) -> tuple[Tensor, Tensor]:
        """Logits (B, outputs) and novelty (B,), 0 where it is unknown."""
        x = self.card.scale(patches)
        logits = network_logits(self.network, x, self.tta)
        if self._novelty is None:
            return logits, torch.zeros(len(patches))
        with torch.inference_mode():
            return logits, self._novelty(x)


def load_checkpoint(run: Path, task: TaskName | None = None) -> Checkpoint:
    """Read the checkpoint of a run.

    Parameters
    ----------
    run
        The run's folder, one checkpoint file, or "sim" for the network that ships.
    task
        What the network must have been trained for; None for any task.

    Raises
    ------
    FgafError
        There is no run, its checkpoint is damaged, or its network is for another task.
    """
    if str(run) == SHIPPED and not run.exists():
        found = shipped()
    else:
        found = Checkpoint.load(run / CHECKPOINT if run.is_dir() else run)
    if task is not None:
        require_task(found.settings.task, task, str(run))
    return found


def card_of(checkpoint: Checkpoint, tta: bool) -> ModelCard:
    """Make the card of a checkpoint, used with or without the eight symmetries.

    Parameters
    ----------
    checkpoint
        Checkpoint of a finished run.
    tta
        Whether the eight symmetries are averaged.
    """
    settings = checkpoint.settings
    heads = settings.task == "heads"
    return ModelCard(
        kind="checkpoint",
        backbone=settings.backbone,
        fgaf=settings.fgaf and not heads,
        patch_px=checkpoint.patch_px,
        step_um=checkpoint.step_um,
        half_range_um=checkpoint.half_range_um,
        optics=checkpoint.optics,
        scale=checkpoint.scale,
        decoder="sigmoid" if heads else "corn" if settings.loss == "corn" else "softmax",
        temperature=checkpoint.temperature,
        tta=tta,
        archive_name=checkpoint.archive_name,
        archive_fingerprint=checkpoint.archive_fingerprint,
        split=settings.split,
        created_utc=checkpoint.created_utc,
        software=checkpoint.software,
        false_alarm=checkpoint.familiar.false_alarm if checkpoint.familiar else None,
        task=settings.task,
        threshold=settings.threshold,
        least_px=checkpoint.least_px,
        metrics=checkpoint.metrics,
    )


def network_logits(network: torch.nn.Module, x: Tensor, tta: bool) -> Tensor:
    """Run a network in evaluation mode, on the device of its weights.

    Parameters
    ----------
    network
        From patches (B, 1, S, S) to logits.
    x
        (N, 1, S, S) normalised.
    tta
        Average the logits of the eight symmetries.

    Returns
    -------
    (N, outputs) float32 on the CPU
    """
    device = next(network.parameters()).device
    parts = []
    with evaluating(network), torch.inference_mode():
        for batch in torch.split(x, _BATCH):
            views = symmetries(batch) if tta else batch[None]
            parts.append(
                torch.stack([network(view.to(device)) for view in views]).mean(dim=0).float().cpu()
            )
    return torch.cat(parts)
