"""The task of segmenting heads: a mask of each patch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.dataset.storage.masks import OWN_HEAD
from fgaf.dataset.storage.virtual_images import read_rows
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.images import Scale
from fgaf.model.inference.segment import Segmenter, mask_logits
from fgaf.model.metrics.heads import PatchResult, compare, judge
from fgaf.model.networks.augment import augment_with_masks
from fgaf.model.networks.mask_loss import bce_dice
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training import plots
from fgaf.model.training.defaults import resolve_schedule
from fgaf.model.training.fit import require_masks
from fgaf.model.training.run_folder import Row
from fgaf.model.training.sides import TRAIN, Data, Rows, Targets, patches_of
from fgaf.model.training.tasks.task import Outputs, Task

_AT_ONCE = 1024
_SAMPLE = 4096


class HeadsTask(Task):
    """Masks of all heads in a patch, its own cell's and others'."""

    criterion: ClassVar = "val_iou"
    highest_is_best: ClassVar = True
    credit_name: ClassVar = "train_iou"
    per_fold: ClassVar = ("n_cells", "train_cells", "iou", "recall", "centre_median_px")

    @staticmethod
    def resolve(settings: TrainSettings, archive: Archive) -> TrainSettings:
        """Epochs and learning rate; the archive must hold masks."""
        require_masks(archive)
        return resolve_schedule(settings, archive)

    def targets(self, device: str) -> Callable[[Rows], Targets]:
        """Masks (n, S, S) as the archive holds them: positive on heads."""
        return patches_of(self.archive.masks, device)

    def example(self, n: int) -> tuple[Tensor, Tensor]:
        """Empty masks."""
        side = self.archive.header.patch_px
        return torch.zeros(n, dtype=torch.long), torch.zeros(n, side, side)

    def augment(
        self, images: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Masks make the moves of their patches."""
        return augment_with_masks(images, targets > 0, self.augmentation, generator)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """`fgaf.model.networks.mask_loss.bce_dice`."""
        return bce_dice(logits, targets, self.settings.bce_weight)

    def credit(self, logits: Tensor, classes: Tensor, targets: Tensor) -> float:
        """Intersection over union of each mask; 1 for two empty masks."""
        del classes
        return float(self._overlaps(logits, targets).sum())

    def logits(self, network: nn.Module, x: Tensor, tta: bool) -> Tensor:
        """Logits of the pixels, (N, 1, S, S)."""
        return mask_logits(network, x, tta)

    def validate(self, outputs: Outputs, side: Data) -> Row:
        """Loss, and intersection over union of the masks with a head."""
        loss, overlaps = 0.0, []
        for part, logits in outputs:
            masks = side.targets[part].cpu() > 0
            loss += float(self.loss(logits, masks)) * len(part)
            overlaps.append(self._overlaps(logits, masks)[masks.flatten(1).any(dim=1)])
        return {
            "val_loss": loss / len(side.rows),
            "val_iou": float(torch.cat(overlaps).mean().nan_to_num()),
        }

    def complete(
        self,
        checkpoint: Checkpoint,
        sides: Mapping[int, Data],
        outputs_of: Callable[[Data], Outputs],
        scale: Scale,
    ) -> Checkpoint:
        """Set the area of the smallest head, a share of the median head of training."""
        del outputs_of, scale
        masks = sides[TRAIN].targets
        sample = masks[torch.arange(0, len(masks), 1 + len(masks) // _SAMPLE)]
        area = (sample == OWN_HEAD).flatten(1).sum(dim=1)
        seen = area[area > 0]
        if not len(seen):
            raise FgafError("no training patch shows the head of its cell; check the masks")
        least = round(self.settings.least_area * float(seen.float().median()))
        return replace(checkpoint, least_px=max(1, least))

    def evidence(self, checkpoint: Checkpoint, outputs: Outputs, side: Data) -> list[Any]:
        """`fgaf.model.metrics.heads.PatchResult` of each patch."""
        found: list[PatchResult] = []
        for part, logits in outputs:
            masks = self._decided(logits).numpy()
            found += _compared(masks, side.targets[part].cpu().numpy(), checkpoint.least_px)
        return found

    def evidence_of(self, run: Path, rows: npt.NDArray[np.intp]) -> Iterator[Any]:
        """`fgaf.model.metrics.heads.PatchResult` of each row."""
        segmenter = Segmenter.load(run)
        card = segmenter.card
        for some in np.array_split(rows, 1 + len(rows) // _AT_ONCE):
            masks = segmenter.shares(read_rows(self.archive.images, some)) >= card.threshold
            yield from _compared(masks, read_rows(self.archive.masks, some), card.least_px)

    def judge(self, evidence: Sequence[Any], rows: npt.ArrayLike) -> dict[str, Any]:
        """`fgaf.model.metrics.heads.judge`."""
        return judge(evidence, self.archive, rows, seed=self.settings.seed)

    def facts(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Threshold and least area."""
        return {"threshold": self.settings.threshold, "least_px": checkpoint.least_px}

    def draw(self, history: Sequence[Row], metrics: dict[str, Any], out: Path) -> None:
        """Learning curves."""
        del metrics
        plots.plot_history(history, _PANELS, out / "history.png")

    def _decided(self, logits: Tensor) -> Tensor:
        """Masks (B, S, S) of logits."""
        return logits[:, 0].sigmoid() >= self.settings.threshold

    def _overlaps(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Intersection over union (B,); 1 for two empty masks."""
        predicted, truth = self._decided(logits).flatten(1), (masks > 0).flatten(1)
        union = (predicted | truth).sum(dim=1)
        both = (predicted & truth).sum(dim=1)
        return torch.where(union > 0, both / union.clamp_min(1), 1.0)


_PANELS: tuple[plots.Panel, ...] = (
    plots.Panel("loss", (("train_loss", "training, augmented"), ("val_loss", "validation"))),
    plots.Panel(
        "intersection over union",
        (("train_iou", "training, augmented"), ("val_iou", "validation")),
        1.0,
    ),
)


def _compared(
    masks: npt.NDArray[Any], truth: npt.NDArray[Any], least_px: int
) -> Iterator[PatchResult]:
    for mask, real in zip(masks, truth, strict=True):
        yield compare(mask, real, least_px)
