"""UNeXt, a small network for segmentation (Valanarasu and Patel, MICCAI 2022).

Three convolutional stages halve the map, two stages of tokenised MLPs halve it twice more; the
decoder doubles it back and adds the map of each stage on its way. In a tokenised MLP the channels
are moved against each other by a few pixels, along y before the first linear layer and along x
before the second, so that layers over channels see a neighbourhood.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True)
class UNeXtSettings:
    """The choices of a UNeXt.

    Attributes
    ----------
    channels
        Of the maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input's side.
    inputs, outputs
        Channels of the image, and of the map of logits.
    shifts
        Moves of the groups of channels, in pixels; as many groups as numbers.
    """

    channels: tuple[int, int, int, int, int] = (16, 32, 128, 160, 256)
    inputs: int = 1
    outputs: int = 1
    shifts: tuple[int, ...] = (-2, -1, 0, 1, 2)


SEGMENTERS: dict[str, UNeXtSettings] = {
    "unext": UNeXtSettings(),
    "unext_s": UNeXtSettings(channels=(8, 16, 32, 64, 128)),
}
"""The networks of the paper by name."""


class UNeXt(nn.Module):
    """Logits of a mask, at the size of the image: (B, inputs, H, W) to (B, outputs, H, W).

    Any H and W from 1 on; sides that are not multiples of 32 are rounded up on the way down, and a
    map is brought to the size of the one it is added to.

    Parameters
    ----------
    settings
        Channels and shifts.
    """

    def __init__(self, settings: UNeXtSettings | None = None) -> None:
        super().__init__()
        chosen = settings or UNeXtSettings()
        first, second, third, fourth, fifth = chosen.channels
        plain = pairwise((chosen.inputs, first, second, third))
        self.convolutions = nn.ModuleList(_ConvStage(*pair) for pair in plain)
        self.tokens = nn.ModuleList(
            [
                _TokenStage(third, fourth, chosen.shifts),
                _TokenStage(fourth, fifth, chosen.shifts),
            ]
        )
        rising = pairwise((fifth, fourth, third, second, first))
        self.rises = nn.ModuleList(_Rise(*pair) for pair in rising)
        self.mixers = nn.ModuleList(
            nn.Sequential(_TokenMLP(width, chosen.shifts), ChannelNorm(width))
            for width in (fourth, third)
        )
        self.last = nn.Conv2d(first, first, 3, padding=1)
        self.logits = nn.Conv2d(first, chosen.outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of a batch, (B, inputs, H, W) to (B, outputs, H, W)."""
        size = x.shape[-2:]
        maps = []
        for stage in (*self.convolutions, *self.tokens):
            x = stage(x)
            maps.append(x)
        x = maps.pop()
        for k, rise in enumerate(self.rises):
            x = rise(x, maps.pop())
            if k < len(self.mixers):
                x = self.mixers[k](x)
        out: Tensor = self.logits(_resized(self.last(x), size).relu())
        return out


class _ConvStage(nn.Module):
    """Convolution, normalisation, 2 x 2 maximum, ReLU: (B, C, H, W) to (B, C', H / 2, W / 2)."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, wider, 3, padding=1)
        self.norm = nn.BatchNorm2d(wider)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the stage."""
        return F.max_pool2d(self.norm(self.conv(x)), 2, ceil_mode=True).relu()


class _TokenStage(nn.Module):
    """Tokens by a convolution of stride 2, and their MLP: (B, C, H, W) to (B, C', H / 2, W / 2)."""

    def __init__(self, width: int, wider: int, shifts: tuple[int, ...]) -> None:
        super().__init__()
        self.embed = nn.Conv2d(width, wider, 3, stride=2, padding=1)
        self.embed_norm = ChannelNorm(wider)
        self.mlp = _TokenMLP(wider, shifts)
        self.norm = ChannelNorm(wider)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the stage."""
        out: Tensor = self.norm(self.mlp(self.embed_norm(self.embed(x))))
        return out


class _TokenMLP(nn.Module):
    """Norm, shift along y, linear, depthwise 3 x 3, GELU, shift along x, linear; (B, C, H, W).

    The input is added to the result. A linear layer over the channels of every token is a 1 x 1
    convolution of the map, so tokens stay where they are.
    """

    def __init__(self, width: int, shifts: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.along_y, self.along_x = Shift(width, shifts, 2), Shift(width, shifts, 3)
        self.enter = nn.Conv2d(width, width, 1)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.leave = nn.Conv2d(width, width, 1)
        for layer in (self.enter, self.leave):
            nn.init.trunc_normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens of a map."""
        mixed = self.enter(self.along_y(self.norm(x)))
        mixed = F.gelu(self.depthwise(mixed))
        out: Tensor = x + self.leave(self.along_x(mixed))
        return out


class Shift(nn.Module):
    """Groups of channels of a map (B, C, H, W), each moved by whole pixels; see `shifted`.

    Parameters
    ----------
    width
        Channels.
    shifts, dim
        See `shifted`.
    """

    def __init__(self, width: int, shifts: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.width, self.shifts, self.dim = width, shifts, dim

    def forward(self, x: Tensor) -> Tensor:
        """Move the channels of a map."""
        return shifted(x, self.shifts, self.dim)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of every pixel of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a map."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Rise(nn.Module):
    """Convolution and normalisation, brought to the size of the stage's map, which is added."""

    def __init__(self, width: int, narrower: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, narrower, 3, padding=1)
        self.norm = nn.BatchNorm2d(narrower)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, C, H, W) and (B, C', 2 H, 2 W) to (B, C', 2 H, 2 W)."""
        return _resized(self.norm(self.conv(x)), skip.shape[-2:]).relu() + skip


def shifted(x: Tensor, shifts: tuple[int, ...], dim: int) -> Tensor:
    """Move groups of channels of a map by whole pixels; zeros come in from the border.

    Parameters
    ----------
    x
        (B, C, H, W).
    shifts
        Move of each group, in pixels. The channels are cut into as many groups, nearly equal; the
        last may be smaller.
    dim
        2 to move along y, 3 along x.

    Returns
    -------
    (B, C, H, W)
    """
    reach = max(abs(move) for move in shifts)
    side = x.shape[dim]
    margins = (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach)
    padded = F.pad(x, margins)
    groups = padded.chunk(len(shifts), dim=1)
    return torch.cat(
        [
            group.narrow(dim, reach - move, side)
            for group, move in zip(groups, shifts, strict=False)
        ],
        dim=1,
    )


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
