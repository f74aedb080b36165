"""CrossNorm and SelfNorm, eq. (12)-(14): contrast statistics swapped and recalibrated.

Statistics are per sample and channel over the map. As in the method's published formulas
(Tang et al., ICCV 2021) the standard deviation is the sample's (n - 1) with a small constant
inside the root; a map of one pixel has deviation zero.
"""

from __future__ import annotations

from math import log
from typing import Literal

import torch
from torch import Tensor, nn

Partner = Literal["sample", "channel", "depth"]

EPS = 1e-5


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of each sample, in float32.

    Parameters
    ----------
    x
        (B, C, H, W).

    Returns
    -------
    (B, C, 1, 1) mean, (B, C, 1, 1) standard deviation
    """
    pixels = x.shape[2] * x.shape[3]
    variance, mean = torch.var_mean(
        x.float(), dim=(2, 3), correction=min(1, pixels - 1), keepdim=True
    )
    return mean, (variance + EPS).sqrt()


def permutation(partner: Partner, x: Tensor, classes: Tensor | None) -> Tensor:
    """Draw the partners: a permutation of the samples, or of the channels.

    Parameters
    ----------
    partner
        "sample": any other sample of the batch; "channel": any other channel of the same sample,
        eq. (13) to the letter; "depth": another sample of the same depth class.
    x
        (B, C, H, W); only its shape is used.
    classes
        (B,) depth classes, needed for "depth".

    Returns
    -------
    (B,) or, for "channel", (C,) indices. Drawn from torch's global generator.
    """
    if partner == "channel":
        return torch.randperm(x.shape[1])
    if partner == "sample":
        return torch.randperm(x.shape[0])
    if classes is None:
        raise ValueError("the partner of the same depth needs the depth classes")
    labels = classes.cpu()
    order = torch.randperm(len(labels))
    shuffled = order[labels[order].argsort(stable=True)]
    order = torch.randperm(len(labels))
    target = order[labels[order].argsort(stable=True)]
    drawn = torch.empty_like(order)
    drawn[target] = shuffled
    return drawn


def cross_norm(x: Tensor, partner: Partner, order: Tensor) -> Tensor:
    """Replace each map's mean and deviation by those of its partner, eq. (13).

    Parameters
    ----------
    x
        (B, C, H, W).
    partner
        What `order` permutes.
    order
        From `permutation`.

    Returns
    -------
    (B, C, H, W) of the type of `x`
    """
    mean, deviation = statistics(x)
    order = order.to(x.device)
    if partner == "channel":
        new_mean, new_deviation = mean[:, order], deviation[:, order]
    else:
        new_mean, new_deviation = mean[order], deviation[order]
    return ((x.float() - mean) / deviation * new_deviation + new_mean).to(x.dtype)


class SelfNorm(nn.Module):
    """Recalibrate each channel's mean and deviation by two gates, eq. (14).

    `x * g + mean * (f - g)`: g = Phi scales the deviation, f = Psi the mean. Each gate sees only
    its own channel's mean and deviation.

    Parameters
    ----------
    channels
        C.
    start
        Mean value of both gates at initialisation, between 0 and 1. With 0.5, as in the reference
        implementation, every block halves the map and all that earlier blocks have added to it.
    """

    def __init__(self, channels: int, start: float = 0.95) -> None:
        super().__init__()
        self.phi = nn.Conv1d(channels, channels, 2, groups=channels, bias=False)
        self.phi_norm = nn.BatchNorm1d(channels)
        self.psi = nn.Conv1d(channels, channels, 2, groups=channels, bias=False)
        self.psi_norm = nn.BatchNorm1d(channels)
        for norm in (self.phi_norm, self.psi_norm):
            nn.init.constant_(norm.bias, log(start / (1 - start)))

    def forward(self, x: Tensor) -> Tensor:
        """Recalibrate (B, C, H, W)."""
        mean, deviation = statistics(x)
        seen = torch.cat([mean.flatten(2), deviation.flatten(2)], dim=2)
        g = torch.sigmoid(self.phi_norm(self.phi(seen)))[..., None]
        f = torch.sigmoid(self.psi_norm(self.psi(seen)))[..., None]
        return (x * g + mean * (f - g)).to(x.dtype)


class NormSite(nn.Module):
    """One site in a network for CrossNorm (while chosen) and SelfNorm.

    Parameters
    ----------
    channels
        C.
    self_norm
        `start` of SelfNorm; None without it.
    partner
        Of CrossNorm; None without it.
    """

    def __init__(self, channels: int, self_norm: float | None, partner: Partner | None) -> None:
        super().__init__()
        self.partner = partner
        self.self_norm = nn.Identity() if self_norm is None else SelfNorm(channels, self_norm)
        self.swapping = False
        self.classes: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Swap while chosen, then recalibrate (B, C, H, W)."""
        if self.swapping and self.partner is not None:
            x = cross_norm(x, self.partner, permutation(self.partner, x, self.classes))
        out: Tensor = self.self_norm(x)
        return out


def choose_sites(sites: list[NormSite], probability: float, most: int) -> list[NormSite]:
    """Draw the sites that swap in this batch: none, or 1 to `most` of them.

    Parameters
    ----------
    sites
        All sites of the network.
    probability
        Probability that the batch is swapped.
    most
        Maximum number of sites.
    """
    if not sites or torch.rand(()).item() >= probability:
        return []
    count = min(int(torch.randint(1, most + 1, ()).item()), len(sites))
    return [sites[i] for i in torch.randperm(len(sites))[:count].tolist()]
