"""The fine-grained attention fusion module: FG, eq. (6)-(7), AF, eq. (8)-(10), and FGAF.

Equations are those of Yang et al., RA-L 2026. Choices that the paper leaves open are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

KERNELS = (3, 5, 7, 9)
GROUPS = (1, 4, 8, 16)
REDUCTION = 16

BranchInput = Literal["all", "quarter"]
Activation = Literal["sigmoid", "tanh", "none"]
Pooling = Literal["halve", "keep"]


@dataclass(frozen=True)
class FGAFSettings:
    """Choices of the module that the paper leaves open.

    Parameters
    ----------
    width
        Number of channels w inside, a multiple of 4.
    fg, af
        Whether each half is used (the columns of Table II).
    residual
        Add the input to the output; the sum equals the input at initialisation.
    pooling
        Of eq. (11): "halve" averages 2 x 2 with stride 2, rounding sizes up; "keep" averages 3 x 3
        with stride 1, the only one that fits a residual.
    branch_input
        Whether each branch of FG sees all w channels or its own quarter.
    attention
        Activation of eq. (9): sigmoid, 1 + tanh, or none.
    """

    width: int = 256
    fg: bool = True
    af: bool = True
    residual: bool = True
    pooling: Pooling = "keep"
    branch_input: BranchInput = "all"
    attention: Activation = "sigmoid"


class FG(nn.Module):
    """Weigh four scales, eq. (6)-(7): (B, w, H, W) to the same shape.

    Branch i is a convolution of kernel 3, 5, 7 or 9 in 1, 4, 8 or 16 groups (fewer where the
    width does not divide) to w/4 channels. The weights of a channel over the four scales are
    a softmax: they sum to one.
    """

    def __init__(self, width: int, branch_input: BranchInput = "all") -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"width {width} is not a multiple of 4")
        quarter = width // 4
        self.split = branch_input == "quarter"
        source = quarter if self.split else width
        self.branches = nn.ModuleList(
            nn.Conv2d(source, quarter, k, padding=k // 2, groups=gcd(groups, quarter), bias=False)
            for k, groups in zip(KERNELS, GROUPS, strict=True)
        )
        hidden = max(quarter // REDUCTION, 1)
        self.squeeze = nn.Conv2d(quarter, hidden, 1)
        self.excite = nn.Conv2d(hidden, quarter, 1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, y: Tensor) -> Tensor:
        """Weigh the scales of (B, w, H, W)."""
        sources = y.chunk(4, dim=1) if self.split else (y,) * 4
        scales = [branch(source) for branch, source in zip(self.branches, sources, strict=True)]
        pooled = torch.cat([F.adaptive_avg_pool2d(scale, 1) for scale in scales])
        gates = torch.sigmoid(self.excite(F.gelu(self.squeeze(pooled))))
        weights = gates.reshape(4, -1, *gates.shape[1:]).softmax(dim=0)
        weighted = [scale * weight for scale, weight in zip(scales, weights, strict=True)]
        out: Tensor = self.norm(torch.cat(weighted, dim=1))
        return out


class AF(nn.Module):
    """Recalibrate channels by their mean and maximum values, eq. (8)-(10)."""

    def __init__(self, width: int, attention: Activation = "sigmoid") -> None:
        super().__init__()
        self.attention = attention
        self.fc = nn.Linear(2 * width, width)

    def forward(self, m: Tensor) -> Tensor:
        """Recalibrate the channels of (B, w, H, W)."""
        seen: Tensor = self.fc(torch.cat([m.mean(dim=(2, 3)), m.amax(dim=(2, 3))], dim=1))
        if self.attention == "sigmoid":
            seen = torch.sigmoid(seen)
        elif self.attention == "tanh":
            seen = 1 + torch.tanh(seen)
        return m * seen[:, :, None, None]


class FGAF(nn.Module):
    """The whole module on a map of C channels, (B, C, H, W) to (B, C, H', W').

    H' = H with `pooling="keep"`, else H / 2 rounded up.

    Parameters
    ----------
    channels
        C.
    settings
        Settings of the module; `settings.width` channels inside.

    Raises
    ------
    ValueError
        A residual around a module that halves the map, or a width that is not a multiple of 4.
    """

    def __init__(self, channels: int, settings: FGAFSettings | None = None) -> None:
        super().__init__()
        chosen = settings or FGAFSettings()
        if chosen.residual and chosen.pooling == "halve":
            raise ValueError("a residual needs pooling that keeps the map's size")
        width = chosen.width
        self.residual = chosen.residual
        self.pooling = chosen.pooling
        self.project = (
            nn.Identity()
            if width == channels
            else nn.Sequential(
                nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
        )
        self.fg = FG(width, chosen.branch_input) if chosen.fg else nn.Identity()
        self.af = AF(width, chosen.attention) if chosen.af else nn.Identity()
        self.expand = nn.Conv2d(width, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        if self.residual:
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the module to (B, C, H, W)."""
        m = self.af(self.fg(self.project(x)))
        if self.pooling == "halve":
            pooled = F.avg_pool2d(m, 2, stride=2, ceil_mode=True)
        else:
            pooled = F.avg_pool2d(m, 3, stride=1, padding=1, count_include_pad=False)
        out: Tensor = self.norm(self.expand(pooled))
        return x + out if self.residual else out
