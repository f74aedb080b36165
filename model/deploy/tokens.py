"""Norms and shifts of tokens in UNeXt as convolutions.

A norm over the channels of each pixel moves them to the end and back, and a shift pads, cuts and
joins them; on small maps that takes longer than the arithmetic. The deviation from the mean of the
channels, and the mean of its squares, are 1 x 1 convolutions; a shift is a convolution of each
channel with a kernel of a single 1, with the same numbers exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fgaf.model.networks.unext import ChannelNorm, Shift


class _Norm(nn.Module):
    """Normalisation over channels by 1 x 1 convolutions: (B, C, H, W) to the same."""

    def __init__(self, norm: ChannelNorm) -> None:
        super().__init__()
        (width,) = norm.normalized_shape
        mean = torch.full((width, width), 1 / width)
        self.register_buffer("off_mean", (torch.eye(width) - mean)[..., None, None])
        self.register_buffer("mean", mean[..., None, None])
        self.register_buffer("weight", norm.weight.detach().reshape(1, -1, 1, 1))
        self.register_buffer("bias", norm.bias.detach().reshape(1, -1, 1, 1))
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a map."""
        off = F.conv2d(x, self.get_buffer("off_mean"))
        variance = F.conv2d(off * off, self.get_buffer("mean"))
        scaled = off * torch.rsqrt(variance + self.eps)
        return scaled * self.get_buffer("weight") + self.get_buffer("bias")


def _convolution(shift: Shift) -> nn.Conv2d:
    """The shift as a convolution of each channel."""
    reach = max(abs(move) for move in shift.shifts)
    kernels = torch.zeros(shift.width, 1, 2 * reach + 1)
    groups = torch.arange(shift.width).chunk(len(shift.shifts))
    for group, move in zip(groups, shift.shifts, strict=False):
        kernels[group, 0, reach - move] = 1.0
    size, edge = (1, 2 * reach + 1), (0, reach)
    if shift.dim == 2:
        size, edge = size[::-1], edge[::-1]
    layer = nn.Conv2d(shift.width, shift.width, size, padding=edge, groups=shift.width, bias=False)
    layer.weight = nn.Parameter(kernels.reshape(layer.weight.shape), requires_grad=False)
    return layer


def fold_tokens(network: nn.Module) -> None:
    """Turn norms and shifts of tokens into convolutions, in place; other networks do not change.

    Not for int8: squares need more than eight bits.

    Parameters
    ----------
    network
        In evaluation mode; its outputs change by rounding only.
    """
    for path, layer in list(network.named_modules()):
        if isinstance(layer, ChannelNorm):
            network.set_submodule(path, _Norm(layer))
        elif isinstance(layer, Shift):
            network.set_submodule(path, _convolution(layer))
