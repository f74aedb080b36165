"""ShuffleNetV2 without most of its channel shuffles, for arithmetic in bf16.

A unit shuffles the output of the previous unit, keeps one half and applies a 1 x 1 convolution to
the other. One 1 x 1 convolution on both halves does the same: a row of its weights is either a
single 1, which copies a channel, or a row of the unit's own weights in another order. This takes
four times the multiplications, but matrix units do them faster than channels can be moved.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.shufflenetv2 import channel_shuffle

from fgaf.model.networks.backbones import SiteShuffleBlock


class _Stage(nn.Module):
    """The units of a stage with one shuffle at the end: (B, C, H, W) to (B, C', H / 2, W / 2)."""

    def __init__(self, first: SiteShuffleBlock, others: list[SiteShuffleBlock]) -> None:
        super().__init__()
        self.halves = nn.ModuleList([first.branch1, first.branch2])
        self.heads = nn.ModuleList(_head(unit) for unit in others)
        self.tails = nn.ModuleList(unit.branch2[3:] for unit in others)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the stage."""
        halves = [half(x) for half in self.halves]
        for head, tail in zip(self.heads, self.tails, strict=True):
            kept, changed = head(torch.cat(halves, dim=1)).chunk(2, dim=1)
            halves = [kept, tail(changed)]
        out: Tensor = channel_shuffle(torch.cat(halves, dim=1), 2)
        return out


def _head(unit: SiteShuffleBlock) -> nn.Module:
    """Shuffle, copy of one half and first convolution of the other, with its ReLU.

    The copied half is already the output of a ReLU; a second ReLU does not change it.
    """
    convolution = fuse_conv_bn_eval(unit.branch2[0], unit.branch2[1])
    half = convolution.in_channels
    kept, changed = torch.arange(2 * half).reshape(2, half).t().reshape(2, half)
    weight = torch.zeros(2 * half, 2 * half, 1, 1)
    weight[torch.arange(half), kept] = 1.0
    weight[half:, changed] = convolution.weight.detach()
    joint = nn.Conv2d(2 * half, 2 * half, 1)
    joint.weight = nn.Parameter(weight)
    joint.bias = nn.Parameter(torch.cat([torch.zeros(half), convolution.bias.detach()]))
    return nn.Sequential(joint, nn.ReLU())


def fold_shuffles(network: nn.Module) -> None:
    """Fold the shuffles within stages of ShuffleNetV2 into convolutions, in place.

    Other networks, and units that normalise after the shuffle, are not changed.

    Parameters
    ----------
    network
        In evaluation mode; its outputs do not change.
    """
    for path, stage in list(network.named_modules()):
        if not isinstance(stage, nn.Sequential) or not len(stage):
            continue
        units = [unit for unit in stage if isinstance(unit, SiteShuffleBlock)]
        if len(units) == len(stage) and all(isinstance(u.site, nn.Identity) for u in units):
            network.set_submodule(path, _Stage(units[0], units[1:]))
