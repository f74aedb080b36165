"""Losses on depth classes: WLoss, eq. (15), and alternatives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

LossName = Literal["ce", "smooth", "wloss", "ce_rps", "ce_distance", "soft", "corn"]
Normalisation = Literal["none", "mean"]


@dataclass(frozen=True)
class LossSettings:
    """The loss and its parameters.

    Parameters
    ----------
    loss
        "ce" cross-entropy; "smooth" with label smoothing; "wloss" eq. (15); "ce_rps" with the
        ranked probability score added; "ce_distance" with the distance of the expected class added;
        "soft" cross-entropy against a Gaussian over the neighbouring classes; "corn" conditional
        ordinal regression (Shi et al., 2023).
    wloss_normalise
        "mean" divides WLoss by the batch's mean weight; "none" is eq. (15).
    smoothing
        Share of the probability that label smoothing spreads over all classes.
    rps_weight
        Factor of the ranked probability score.
    distance_weight
        Factor of the distance.
    soft_width
        Standard deviation, in classes, of the soft target.
    """

    loss: LossName = "ce"
    wloss_normalise: Normalisation = "none"
    smoothing: float = 0.1
    rps_weight: float = 1.0
    distance_weight: float = 1.0
    soft_width: float = 0.5


def outputs(loss: LossName, n_classes: int) -> int:
    """Number of network outputs per patch for this loss.

    Parameters
    ----------
    loss
        Name of the loss.
    n_classes
        C.
    """
    return n_classes - 1 if loss == "corn" else n_classes


def loss_function(settings: LossSettings) -> Callable[[Tensor, Tensor], Tensor]:
    """Build the loss: (B, outputs) logits and targets to a scalar.

    Targets are classes, (B,) integers, or shares of the classes, (B, C) rows that sum to one,
    as `between` makes them of depths that lie between two classes.
    """
    chosen: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "ce": F.cross_entropy,
        "smooth": lambda z, t: F.cross_entropy(z, t, label_smoothing=settings.smoothing),
        "wloss": lambda z, t: weighted(z, t, settings.wloss_normalise),
        "ce_rps": lambda z, t: (
            F.cross_entropy(z, t) + settings.rps_weight * ranked_probability_score(z, t)
        ),
        "ce_distance": lambda z, t: (
            F.cross_entropy(z, t) + settings.distance_weight * distance(z, t)
        ),
        "soft": lambda z, t: F.cross_entropy(z, soft_targets(t, z.shape[1], settings.soft_width)),
        "corn": corn,
    }
    return chosen[settings.loss]


def between(places: Tensor, n_classes: int) -> Tensor:
    """Share each depth among the two classes it lies between, so that its mean is the depth.

    Parameters
    ----------
    places
        (B,) depths in steps from the lowest class; depths beyond the ends are clipped.
    n_classes
        C.

    Returns
    -------
    (B, C), rows sum to one; a depth on the grid belongs to one class
    """
    ranks = torch.arange(n_classes, device=places.device)
    inside = places.float().clamp(0, n_classes - 1)
    return (1 - (ranks[None] - inside[:, None]).abs()).clamp_min(0)


def sample_weights(decided: Tensor, classes: Tensor) -> Tensor:
    """Weight of each patch by its error, eq. (15): `|L_i^2 - L_n^2| + 1`, L = 0..C-1.

    Parameters
    ----------
    decided
        (B,) predicted classes L_n.
    classes
        (B,) true classes L_i.

    Returns
    -------
    (B,) float32
    """
    return ((classes**2 - decided**2).abs() + 1).float()


def weighted(logits: Tensor, targets: Tensor, normalise: Normalisation = "none") -> Tensor:
    """WLoss, eq. (15): the mean of each patch's weight times its cross-entropy.

    The predicted class has no gradient. "mean" divides by the batch's mean weight, so
    that the weights move gradients between patches without scaling the step.

    Parameters
    ----------
    logits
        (B, C).
    targets
        (B,) classes or (B, C) shares.
    normalise
        "mean" or "none", see above.
    """
    classes = targets if targets.ndim == 1 else targets.argmax(dim=1)
    weight = sample_weights(logits.detach().argmax(dim=1), classes)
    if normalise == "mean":
        weight = weight / weight.mean()
    return (weight * F.cross_entropy(logits, targets, reduction="none")).mean()


def ranked_probability_score(logits: Tensor, targets: Tensor) -> Tensor:
    """Squared distance of the cumulative distributions, summed over classes, batch mean.

    Parameters
    ----------
    logits
        (B, C).
    targets
        (B,) classes or (B, C) shares.
    """
    cumulative = logits.float().softmax(dim=1).cumsum(dim=1)
    reached = _shares(targets, logits.shape[1]).cumsum(dim=1)
    return ((cumulative - reached) ** 2).sum(dim=1).mean()


def distance(logits: Tensor, targets: Tensor) -> Tensor:
    """Distance of the expected class from the target's, in steps, batch mean.

    Smooth within half a step of zero (Huber's loss), since labels are not more exact than that.

    Parameters
    ----------
    logits
        (B, C).
    targets
        (B,) classes or (B, C) shares.
    """
    ranks = torch.arange(logits.shape[1], device=logits.device, dtype=torch.float32)
    expected = logits.float().softmax(dim=1) @ ranks
    return F.smooth_l1_loss(expected, _shares(targets, logits.shape[1]) @ ranks, beta=0.5)


def soft_targets(targets: Tensor, n_classes: int, width: float) -> Tensor:
    """Spread each label over its neighbours by a Gaussian of `width` classes, (B, C).

    Parameters
    ----------
    targets
        (B,) classes or (B, C) shares.
    n_classes
        C.
    width
        Standard deviation of the Gaussian, in classes.
    """
    ranks = torch.arange(n_classes, device=targets.device).float()
    places = _shares(targets, n_classes) @ ranks
    distance = ranks[None] - places[:, None]
    return (-(distance**2) / (2 * width**2)).softmax(dim=1)


def corn(logits: Tensor, targets: Tensor) -> Tensor:
    """Conditional ordinal regression: logit k is "above k?", for patches of class k or more.

    Parameters
    ----------
    logits
        (B, C - 1).
    targets
        (B,) classes or (B, C) shares.

    Returns
    -------
    Scalar: mean binary cross-entropy over all these questions.
    """
    reached = _shares(targets, logits.shape[1] + 1).flip(1).cumsum(dim=1).flip(1).clamp(0, 1)
    asked, above = reached[:, :-1], reached[:, 1:]
    yes = above / asked.clamp_min(1e-6)
    each = F.binary_cross_entropy_with_logits(logits.float(), yes, reduction="none")
    return (each * asked).sum() / asked.sum()


def _shares(targets: Tensor, n_classes: int) -> Tensor:
    """Targets as (B, C) shares of the classes."""
    return F.one_hot(targets, n_classes).float() if targets.ndim == 1 else targets
