"""From logits to a depth: class probabilities, expected depth, its spread, temperature."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from fgaf.model.networks.losses import LossName

Floats = npt.NDArray[np.float64]

_TEMPERATURES = (0.05, 20.0)
_PRIOR = 0.5


def class_probabilities(
    logits: Tensor,
    loss: LossName,
    temperature: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Turn logits into probabilities of the depth classes.

    Parameters
    ----------
    logits
        (B, outputs) of a network trained with `loss`.
    loss
        "corn" chains conditional probabilities; all others are a softmax.
    temperature
        Divides the logits; above 1 lowers the confidence.
    dtype
        Type of the result.

    Returns
    -------
    (B, C), rows sum to one
    """
    scaled = logits.to(dtype) / temperature
    if loss != "corn":
        return scaled.softmax(dim=1)
    above = F.logsigmoid(scaled).cumsum(dim=1).exp()
    reached = torch.cat([torch.ones_like(above[:, :1]), above], dim=1)
    return reached - torch.cat([above, torch.zeros_like(above[:, :1])], dim=1)


def expected_depth(probabilities: Floats, class_depths_um: Floats) -> Floats:
    """Mean depth of each row of (N, C) probabilities, (N,) µm.

    Parameters
    ----------
    probabilities
        (N, C), rows add up to 1.
    class_depths_um
        (C,) depth of each class, µm.
    """
    return np.asarray(probabilities @ class_depths_um)


def depth_spread(probabilities: Floats, class_depths_um: Floats) -> Floats:
    """Standard deviation of depth of each row of (N, C) probabilities, (N,) µm.

    Parameters
    ----------
    probabilities
        (N, C), rows add up to 1.
    class_depths_um
        (C,) depth of each class, µm.
    """
    mean = expected_depth(probabilities, class_depths_um)
    square = (class_depths_um[None] - mean[:, None]) ** 2
    spread: Floats = np.sqrt((probabilities * square).sum(axis=1))
    return spread


def fit_temperature(logits: Tensor, targets: Tensor, loss: LossName) -> float:
    """Find the temperature of maximum likelihood for held-out targets.

    A weak prior keeps it near 1 with few patches: otherwise the confidence of a network that is
    right on all of them would grow without limit.

    Parameters
    ----------
    logits
        (N, outputs) logits of the validation patches.
    targets
        (N,) classes, or (N, C) shares of them, as in training. With only the nearest class, a
        network that correctly shares a depth between two classes would seem uncertain.
    loss
        The loss of the training.

    Returns
    -------
    float
        Between 0.05 and 20; 1 without patches.
    """
    if len(targets) == 0:
        return 1.0

    def surprise(log_temperature: float) -> float:
        p = class_probabilities(logits, loss, float(np.exp(log_temperature)))
        own = p.clamp_min(1e-12).log()
        own = (own * targets).sum(dim=1) if targets.ndim == 2 else own.gather(1, targets[:, None])
        prior = (log_temperature / _PRIOR) ** 2 / 2
        return float(-own.mean()) + prior / len(targets)

    bounds = tuple(np.log(_TEMPERATURES))
    return float(np.exp(minimize_scalar(surprise, bounds=bounds, method="bounded").x))
