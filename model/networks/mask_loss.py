"""The loss on masks: binary cross-entropy and the Dice loss (Valanarasu and Patel, 2022)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

_SMOOTH = 1e-5


def bce_dice(logits: Tensor, masks: Tensor, bce_weight: float = 0.5) -> Tensor:
    """`bce_weight` times the binary cross-entropy, and the Dice loss; a mean over the batch.

    Parameters
    ----------
    logits
        (B, 1, H, W).
    masks
        (B, H, W), 1 on heads and 0 elsewhere, of any type.
    bce_weight
        Factor of the cross-entropy; 0.5 in the paper.
    """
    flat, truth = logits.flatten(1).float(), masks.flatten(1).float()
    cross_entropy = F.binary_cross_entropy_with_logits(flat, truth)
    return bce_weight * cross_entropy + dice_loss(flat.sigmoid(), truth)


def dice_loss(shares: Tensor, truth: Tensor) -> Tensor:
    """1 - 2 |P T| / (|P| + |T|) of every mask, averaged; 0 for two empty masks.

    Parameters
    ----------
    shares
        (B, N) probability of every pixel.
    truth
        (B, N), 1 on heads and 0 elsewhere.
    """
    overlap = (shares * truth).sum(dim=1)
    total = shares.sum(dim=1) + truth.sum(dim=1)
    return 1 - ((2 * overlap + _SMOOTH) / (total + _SMOOTH)).mean()
