"""Whether a patch is like those of training: how far it lies from them, ring by ring.

A depth network answers whatever it is shown, and its last features say little of that: an empty
patch looks to them like a faint cell in focus. Three things are looked at instead: an early map of
the network and the energy of the patch at four scales, both averaged over a disc and two rings
about the centre, and the mean grey value of narrow rings, which far from focus reach beyond what
the network looks at. The distance from the training patches in either is Mahalanobis', of
the main axes and, alike in all others, of the rest (probabilistic principal components, Tipping
and Bishop, J. R. Stat. Soc. B 61, 1999).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fgaf.model.augment import AugmentSettings, augment
from fgaf.model.backbones import BACKBONES, evaluating
from fgaf.model.images import Scale
from fgaf.model.settings import TrainSettings

FALSE_ALARM = 0.01
"""Share of validation patches that is called out of range."""

_RINGS = (0.25, 0.5, 0.8)
_NARROW = tuple(1.1 * k / 12 for k in range(1, 13))
_SCALES, _FAINT = 4, 1e-6
_AXES, _SHRINK = 64, 0.2
_LEAST = 0.1
_MOST, _BATCH = 4096, 128
_SHIFT_PX = 2
_TENSORS = ("mean", "unit", "axes", "excess")


@dataclass(frozen=True)
class Likeness:
    """Where training patches lie in one view of them.

    Attributes
    ----------
    mean, unit
        (D,) of each feature: its mean, and one over its deviation.
    axes
        (K, D) main axes of what is left.
    excess
        (K,) weight of a squared coordinate along each, less that of all others.
    rest
        Weight of the squared length.
    threshold
        Squared distance from which a patch is out of range.
    """

    mean: Tensor
    unit: Tensor
    axes: Tensor
    excess: Tensor
    rest: float
    threshold: float = 1.0

    @classmethod
    def of(cls, features: Tensor) -> Likeness:
        """Fit to the features (N, D) of training patches."""
        looked = features.double()
        mean, deviation = looked.mean(dim=0), looked.std(dim=0, correction=0)
        unit = 1 / deviation.clamp_min(_LEAST * float(deviation.mean()) + 1e-6)
        away = (looked - mean) * unit
        _, singular, axes = torch.linalg.svd(away, full_matrices=False)
        variance = singular**2 / len(away)
        level = float(variance.sum()) / away.shape[1]
        count = max(0, min(_AXES, len(variance) - 1))
        left = float(variance[count:].sum()) / max(1, away.shape[1] - count)
        rest = 1 / ((1 - _SHRINK) * left + _SHRINK * level + 1e-9)
        excess = 1 / ((1 - _SHRINK) * variance[:count] + _SHRINK * level + 1e-9) - rest
        return cls(_plain(mean), _plain(unit), _plain(axes[:count]), _plain(excess), rest)


@dataclass(frozen=True)
class Familiar:
    """What training patches look like.

    Attributes
    ----------
    early, energy, profile
        In an early map of the network, and in energy and rings of the patch itself.
    false_alarm
        Share of validation patches that is called out of range.
    """

    early: Likeness
    energy: Likeness
    profile: Likeness
    false_alarm: float

    def _views(self) -> dict[str, Likeness]:
        return {"early": self.early, "energy": self.energy, "profile": self.profile}

    def numbers(self) -> dict[str, Any]:
        """What is no tensor, for a file's header; see `restore`."""
        views = self._views().items()
        own = {name: {"rest": v.rest, "threshold": v.threshold} for name, v in views}
        return own | {"false_alarm": self.false_alarm}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name; see `restore`."""
        views = self._views().items()
        return {f"{view}.{key}": getattr(v, key) for view, v in views for key in _TENSORS}

    @classmethod
    def restore(cls, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Familiar:
        """Put together what `numbers` and `tensors` took apart."""

        def view(name: str) -> Likeness:
            mean, unit, axes, excess = (tensors[f"{name}.{key}"] for key in _TENSORS)
            return Likeness(mean, unit, axes, excess, **numbers[name])

        return cls(view("early"), view("energy"), view("profile"), numbers["false_alarm"])


class Distance(nn.Module):
    """Distance (B,) of features (B, D) from a likeness, over its threshold."""

    def __init__(self, likeness: Likeness) -> None:
        super().__init__()
        for name in _TENSORS:
            self.register_buffer(name, getattr(likeness, name))
        self.rest, self.threshold = likeness.rest, likeness.threshold

    def forward(self, features: Tensor) -> Tensor:
        """Measure features (B, D)."""
        mean, unit, axes, excess = (self.get_buffer(name) for name in _TENSORS)
        away = (features - mean) * unit
        along = away @ axes.T
        squared = self.rest * (away * away).sum(dim=1) + (along * along * excess).sum(dim=1)
        return squared / self.threshold


class Novelty(nn.Module):
    """How unlike those of training patches are: above 1, out of range."""

    def __init__(self, familiar: Familiar) -> None:
        super().__init__()
        self.early, self.energy = Distance(familiar.early), Distance(familiar.energy)
        self.profile = Distance(familiar.profile)

    def forward(self, x: Tensor, early: Tensor) -> Tensor:
        """Judge patches.

        Parameters
        ----------
        x : (B, 1, S, S), whole: what lies about the view tells as well what is no sperm in focus
        early : (B, C, H, W) the early map of these

        Returns
        -------
        (B,)
        """
        of_patch = torch.maximum(self.energy(energies(x)), self.profile(rings(x, _NARROW)))
        return torch.maximum(self.early(rings(early)), of_patch)


def rings(maps: Tensor, radii: tuple[float, ...] = _RINGS) -> Tensor:
    """Average maps over a disc and rings about the centre.

    Parameters
    ----------
    maps : (B, C, H, W)
    radii : where the disc and the R - 1 rings about it end, in half sides

    Returns
    -------
    (B, C R) float32
    """
    y, x = ((torch.arange(n, device=maps.device) - (n - 1) / 2) / (n / 2) for n in maps.shape[2:])
    radius = (y[:, None] ** 2 + x[None] ** 2).sqrt().flatten()
    inner = (0.0, *radii[:-1])
    inside = [(radius >= a) & (radius < b) for a, b in zip(inner, radii, strict=True)]
    shares = torch.stack([mask / mask.sum().clamp_min(1) for mask in inside])
    return (maps.float().flatten(2) @ shares.T).flatten(1)


def energies(x: Tensor) -> Tensor:
    """Measure the energy of patches at four scales: log of the variance in blocks of two pixels.

    Parameters
    ----------
    x : (B, 1, S, S)

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


def _plain(values: Tensor) -> Tensor:
    return values.float().contiguous()


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
        Its false alarm is `FALSE_ALARM`, or what the strangest of few validation patches allows.
    """
    views = _features(network, settings, scale, training, settings.seed)
    held = _features(network, settings, scale, validation, settings.seed + 1)
    likenesses = [Likeness.of(view) for view in views]
    apart = [Distance(like)(view) for like, view in zip(likenesses, held, strict=True)]
    limits = [_limit(distances) for distances in apart]
    both = torch.stack([d / limit for d, limit in zip(apart, limits, strict=True)]).amax(dim=0)
    early, energy, profile = (
        replace(like, threshold=limit * _limit(both))
        for like, limit in zip(likenesses, limits, strict=True)
    )
    return Familiar(early, energy, profile, max(FALSE_ALARM, 1 / (len(both) + 1)))


def _limit(distances: Tensor) -> float:
    """The distance that the share `FALSE_ALARM` of patches exceeds, or the largest of few.

    A hair more, so that the patch that sets the limit is within it in any arithmetic.
    """
    place = min(len(distances), ceil((1 - FALSE_ALARM) * (len(distances) + 1)))
    return 1.001 * float(distances.sort().values[place - 1].clamp_min(1e-9))


def _features(
    network: nn.Module, settings: TrainSettings, scale: Scale, images: Any, seed: int
) -> list[Tensor]:
    """All views of patches as a detector may place them, each (N, D) on the CPU."""
    places = torch.arange(0, len(images), 1 + (len(images) - 1) // _MOST)
    device = next(network.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    moves = AugmentSettings(settings.turns, _SHIFT_PX, gain=0.0, offset=0.0, noise=0.0)
    found = []
    with evaluating(network), torch.inference_mode(), watching(network, settings.backbone) as seen:
        for part in torch.split(places, _BATCH):
            x = augment(scale(images[part]).to(device), moves, generator)
            network(x)
            views = rings(seen.pop()), energies(x), rings(x, _NARROW)
            found.append(tuple(view.cpu() for view in views))
    return [torch.cat(view) for view in zip(*found, strict=True)]
