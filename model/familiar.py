"""Whether a patch is like those of training: how far it lies from them, ring by ring.

A depth network answers whatever it is shown. Its last features say little of that: an empty
patch looks to them like a faint cell in focus. An early map, averaged over rings about the
centre, keeps what stands in the middle of the patch. The distance from the training patches in
it is Mahalanobis', of the main axes and, alike in all others, of the rest (probabilistic
principal components, Tipping and Bishop, J. R. Stat. Soc. B 61, 1999).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from fgaf.model.augment import AugmentSettings, augment
from fgaf.model.backbones import BACKBONES, evaluating
from fgaf.model.images import Scale
from fgaf.model.settings import TrainSettings

FALSE_ALARM = 0.01
"""Share of validation patches that is called out of range."""

_RINGS = (0.25, 0.5, 0.8)
_AXES, _SHRINK = 64, 0.2
_LEAST = 0.1
_MOST, _BATCH = 4096, 128
_SHIFT_PX = 2


@dataclass(frozen=True)
class Familiar:
    """What training patches look like in an early map of the network.

    Attributes
    ----------
    mean, unit
        (D,) of the ring means of all channels: their mean, and one over their deviation.
    axes
        (K, D) main axes of what is left.
    excess
        (K,) weight of a squared coordinate along each, less that of all others.
    rest
        Weight of the squared length.
    threshold
        Squared distance from which a patch is out of range.
    false_alarm
        Share of validation patches beyond it.
    """

    mean: Tensor
    unit: Tensor
    axes: Tensor
    excess: Tensor
    rest: float
    threshold: float
    false_alarm: float

    def numbers(self) -> dict[str, float]:
        """What is no tensor, for a file's header."""
        return {"rest": self.rest, "threshold": self.threshold, "false_alarm": self.false_alarm}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if isinstance(value, Tensor)}


class Novelty(nn.Module):
    """Distance of patches from those of training, over the threshold: above 1, out of range."""

    def __init__(self, familiar: Familiar) -> None:
        super().__init__()
        for name, value in familiar.tensors().items():
            self.register_buffer(name, value)
        self.rest, self.threshold = familiar.rest, familiar.threshold

    def forward(self, early: Tensor) -> Tensor:
        """Measure the early maps (B, C, H, W) of patches, (B,)."""
        return self.of_rings(rings(early))

    def of_rings(self, means: Tensor) -> Tensor:
        """Measure ring means (B, D), (B,)."""
        mean, unit, axes = self.get_buffer("mean"), self.get_buffer("unit"), self.get_buffer("axes")
        away = (means - mean) * unit
        along = away @ axes.T
        squared = self.rest * (away * away).sum(dim=1)
        squared = squared + (along * along * self.get_buffer("excess")).sum(dim=1)
        return squared / self.threshold


def rings(early: Tensor) -> Tensor:
    """Average maps over a disc and two rings about the centre.

    Parameters
    ----------
    early : (B, C, H, W)

    Returns
    -------
    (B, 3 C) float32; the radii end at a quarter, half and four fifths of the half side
    """
    height, width = early.shape[2:]
    y, x = ((torch.arange(n, device=early.device) - (n - 1) / 2) / (n / 2) for n in (height, width))
    radius = (y[:, None] ** 2 + x[None] ** 2).sqrt().flatten()
    inner = (0.0, *_RINGS[:-1])
    inside = [(radius >= a) & (radius < b) for a, b in zip(inner, _RINGS, strict=True)]
    shares = torch.stack([mask / mask.sum().clamp_min(1) for mask in inside])
    return (early.float().flatten(2) @ shares.T).flatten(1)


def early_layer(backbone: str) -> str:
    """Name the layer of a network whose map is looked at: of an eighth of the patch's size."""
    return BACKBONES[backbone].stages[-3][0]


@contextmanager
def watching(network: nn.Module, backbone: str) -> Iterator[list[Tensor]]:
    """Collect the early maps of all that a `DepthNetwork` is shown inside the block."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: Any, early: Tensor) -> None:
        seen.append(early)

    inner = network.get_submodule("network")
    handle = inner.get_submodule(early_layer(backbone)).register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def learn(
    network: nn.Module, settings: TrainSettings, scale: Scale, training: Any, validation: Any
) -> Familiar:
    """Learn what training patches look like to a network, and how far is too far.

    Patches are turned, flipped and shifted by a pixel or two, as a detector may place them.

    Parameters
    ----------
    network : the trained `DepthNetwork`
    settings : of its training
    scale : grey values to network input
    training, validation : (N, S, S) patches of either side, N above 0; of many, some thousand
        are looked at

    Returns
    -------
    Familiar
        Its false alarm is `FALSE_ALARM`, or what the farthest of few validation patches allows.
    """
    looked = _ring_means(network, settings, scale, training, settings.seed).double()
    mean, deviation = looked.mean(dim=0), looked.std(dim=0, correction=0)
    unit = 1 / deviation.clamp_min(_LEAST * float(deviation.mean()) + 1e-6)
    away = (looked - mean) * unit
    _, singular, axes = torch.linalg.svd(away, full_matrices=False)
    variance = singular**2 / len(away)
    level = float(variance.sum()) / away.shape[1]
    count = min(_AXES, len(variance) - 1)
    left = float(variance[count:].sum()) / max(1, away.shape[1] - count)
    rest = 1 / ((1 - _SHRINK) * left + _SHRINK * level + 1e-9)
    excess = 1 / ((1 - _SHRINK) * variance[:count] + _SHRINK * level + 1e-9) - rest
    values = (mean, unit, axes[:count], excess)
    familiar = Familiar(*(v.float().contiguous() for v in values), rest, 1.0, FALSE_ALARM)
    held = _ring_means(network, settings, scale, validation, settings.seed + 1)
    distances = Novelty(familiar).of_rings(held).sort().values
    place = min(len(distances), ceil((1 - FALSE_ALARM) * (len(distances) + 1)))
    false_alarm = max(FALSE_ALARM, 1 / (len(distances) + 1))
    threshold = float(distances[place - 1].clamp_min(1e-9))
    return replace(familiar, threshold=threshold, false_alarm=false_alarm)


def _ring_means(
    network: nn.Module, settings: TrainSettings, scale: Scale, images: Any, seed: int
) -> Tensor:
    """Ring means (N, 3 C) of patches as a detector may place them, on the CPU."""
    places = torch.arange(0, len(images), 1 + (len(images) - 1) // _MOST)
    device = next(network.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    moves = AugmentSettings(settings.turns, _SHIFT_PX, gain=0.0, offset=0.0, noise=0.0)
    means = []
    with evaluating(network), torch.inference_mode(), watching(network, settings.backbone) as seen:
        for part in torch.split(places, _BATCH):
            network(augment(scale(images[part]).to(device), moves, generator))
            means.append(rings(seen.pop()).cpu())
    return torch.cat(means)
