"""Whether a patch is like those of training, by its distance from them.

A depth network gives an answer for any image, and its features do not show whether the image is
valid: an empty patch looks like a faint cell in focus. Features of the whole patch are used
instead: its power spectrum, whose rings move with defocus; its energy at four scales in a disc and
two rings around the centre, which distinguishes a head from other objects; and the mean grey value
of narrow rings. The distance from the training patches is the Mahalanobis distance, with a
covariance that is shrunk towards a multiple of the identity (Ledoit and Wolf, J. Multivar. Anal.
88, 2004).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fgaf.model.inference.images import Scale
from fgaf.model.networks.augment import AugmentSettings, augment
from fgaf.model.networks.settings import TrainSettings

FALSE_ALARM = 0.01
"""Share of validation patches that are called out of range."""

_RINGS = (0.25, 0.5, 0.8)
_NARROW = tuple(1.1 * k / 12 for k in range(1, 13))
_SCALES, _FAINT = 4, 1e-6
_FINEST = 0.3
_SHRINK, _LEAST = 0.2, 0.25
_MOST, _BATCH = 4096, 128
_SHIFT_PX = 2


@dataclass(frozen=True)
class Familiar:
    """The distribution of training patches in feature space.

    Attributes
    ----------
    mean
        (D,) mean of the features.
    whitening
        (D, D) whitening matrix: turns centred features into uncorrelated ones of unit variance.
    threshold
        A patch is out of range when the squared length of these is larger.
    false_alarm
        Share of validation patches that are called out of range.
    """

    mean: Tensor
    whitening: Tensor
    threshold: float = 1.0
    false_alarm: float = FALSE_ALARM

    @classmethod
    def of(cls, looked: Tensor) -> Familiar:
        """Fit to the features (N, D) of training patches; the threshold is set later."""
        away = looked.double() - looked.double().mean(dim=0)
        deviation = away.square().mean(dim=0).sqrt()
        unit = 1 / deviation.clamp_min(_LEAST * float(deviation.mean()) + 1e-6)
        covariance = (away * unit).T @ (away * unit) / len(away)
        level = float(covariance.trace()) / len(covariance) + 1e-9
        shrunk = (1 - _SHRINK) * covariance + _SHRINK * level * torch.eye(len(covariance))
        whitening = torch.linalg.inv(torch.linalg.cholesky(shrunk)) * unit
        return cls(looked.mean(dim=0), whitening.float().contiguous())

    def numbers(self) -> dict[str, float]:
        """The values that are not tensors, for a file's header; see `restore`."""
        return {"threshold": self.threshold, "false_alarm": self.false_alarm}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name; see `restore`."""
        return {"mean": self.mean, "whitening": self.whitening}

    @classmethod
    def restore(cls, numbers: Mapping[str, float], tensors: Mapping[str, Tensor]) -> Familiar:
        """Rebuild the object from `numbers` and `tensors`.

        Parameters
        ----------
        numbers
            Numbers by name.
        tensors
            Tensors by name.
        """
        return cls(tensors["mean"], tensors["whitening"], **numbers)


class Novelty(nn.Module):
    """Novelty of patches: above 1, out of range."""

    def __init__(self, familiar: Familiar) -> None:
        super().__init__()
        self.register_buffer("mean", familiar.mean)
        self.register_buffer("whitening", familiar.whitening / familiar.threshold**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Novelty of whole patches (B, 1, S, S): (B,)."""
        return self.distance(features(x))

    def distance(self, looked: Tensor) -> Tensor:
        """Squared distance (B,) of features (B, D), divided by the threshold."""
        away = looked - self.get_buffer("mean")
        return (away @ self.get_buffer("whitening").T).square().sum(dim=1)


def features(x: Tensor) -> Tensor:
    """Features of patches (B, 1, S, S): (B, D)."""
    half = F.avg_pool2d(x, 2)  # fine enough, at a quarter of the cost
    return torch.cat([spectrum(half), energies(x), rings(half, _NARROW)], dim=1)


def spectrum(x: Tensor) -> Tensor:
    """Measure the power of patches by spatial frequency, under a window.

    Two matrix products with a table of cosines and sines replace a Fourier transform: only the
    lowest frequencies are needed, and every engine supports products.

    Parameters
    ----------
    x
        (B, 1, S, S).

    Returns
    -------
    (B, K) log of the mean power at frequencies around 1, 2, ... K cycles per side, up to 0.3 per
    pixel
    """
    side = x.shape[-1]
    window = torch.cos(_radius(x).clamp_max(1) * pi / 2) ** 2
    mean = (x[:, 0] * (window / window.sum())).sum(dim=(1, 2), keepdim=True)
    seen = (x[:, 0] - mean) * (window / (window * window).sum().sqrt())

    cycles = torch.arange(max(4, int(_FINEST * side)) + 1, device=x.device)
    turn = cycles[:, None] * torch.arange(side, device=x.device) * (2 * pi / side)
    waves = torch.cat([turn.cos(), turn[1:].sin()])
    power = (waves @ seen @ waves.T).square()

    each = torch.cat([cycles, cycles[1:]])
    shell = (each[:, None] ** 2 + each**2).float().sqrt().round().flatten()
    inside = shell == cycles[1:, None]
    oblique = (each[:, None] * each > 0).flatten()  # stands for two directions
    share = inside * (2 + 2 * oblique) / inside.sum(dim=1, keepdim=True)
    return (power.flatten(1) @ share.T + _FAINT).log()


def rings(maps: Tensor, radii: tuple[float, ...] = _RINGS) -> Tensor:
    """Average maps over a disc and rings around the centre.

    Parameters
    ----------
    maps
        (B, C, H, W).
    radii
        Outer radii of the disc and the R - 1 rings around it, in half sides.

    Returns
    -------
    (B, C R) float32
    """
    radius = _radius(maps).flatten()
    inner = (0.0, *radii[:-1])
    inside = [(radius >= a) & (radius < b) for a, b in zip(inner, radii, strict=True)]
    shares = torch.stack([mask / mask.sum().clamp_min(1) for mask in inside])
    return (maps.float().flatten(2) @ shares.T).flatten(1)


def _radius(maps: Tensor) -> Tensor:
    """Distance (H, W) of the pixels of maps (B, C, H, W) from the centre, in half sides."""
    y, x = ((torch.arange(n, device=maps.device) - (n - 1) / 2) / (n / 2) for n in maps.shape[2:])
    return (y[:, None] ** 2 + x[None] ** 2).sqrt()


def energies(x: Tensor) -> Tensor:
    """Measure the energy of patches at four scales: log of the variance in blocks of two pixels.

    Parameters
    ----------
    x
        (B, 1, S, S).

    Returns
    -------
    (B, 12), by scale and ring
    """
    found = []
    for _ in range(_SCALES):
        mean = F.avg_pool2d(x, 2)
        variance = (F.avg_pool2d(x * x, 2) - mean * mean).clamp_min(0)
        found.append((rings(variance) + _FAINT).log())
        x = mean
    return torch.cat(found, dim=1)


def learn(settings: TrainSettings, scale: Scale, training: Any, validation: Any) -> Familiar:
    """Learn the distribution of training patches, and the threshold.

    Patches are rotated, flipped and shifted by a pixel or two, as a detector may place them.

    Parameters
    ----------
    settings
        Settings of the training.
    scale
        Grey values to network input.
    training, validation
        (N, S, S) patches of each side, N above 0; of many, a few thousand are used.

    Returns
    -------
    Familiar
        Its `false_alarm` is `FALSE_ALARM`; with few validation patches, the share that the farthest
        one allows.
    """
    familiar = Familiar.of(_as_placed(settings, scale, training, settings.seed))
    held = _as_placed(settings, scale, validation, settings.seed + 1)
    limit = _limit(Novelty(familiar).distance(held))
    return replace(familiar, threshold=limit, false_alarm=max(FALSE_ALARM, 1 / (len(held) + 1)))


def _limit(distances: Tensor) -> float:
    """The distance that the share `FALSE_ALARM` of patches exceeds; with few patches, the largest.

    It is slightly larger, so that the patch that sets the limit is within it despite rounding.
    """
    place = min(len(distances), ceil((1 - FALSE_ALARM) * (len(distances) + 1)))
    return 1.001 * float(distances.sort().values[place - 1].clamp_min(1e-9))


def _as_placed(settings: TrainSettings, scale: Scale, images: Any, seed: int) -> Tensor:
    """Features (N, D) of randomly shifted patches, as a detector may place them."""
    places = torch.arange(0, len(images), 1 + (len(images) - 1) // _MOST)
    generator = torch.Generator().manual_seed(seed)
    moves = AugmentSettings(settings.turns, _SHIFT_PX, gain=0.0, offset=0.0, noise=0.0)
    parts = (scale(images[part]).cpu() for part in torch.split(places, _BATCH))
    return torch.cat([features(augment(part, moves, generator)) for part in parts])
