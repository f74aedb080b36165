"""What rivals of the module add to a network: regression, importance, focus features.

Each is a few layers, trained with the rest of the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_GRIDS = (4, 2)
_MEASURES = 3
_HIDDEN = 64
_TINY = 1e-6


class PlaceHead(nn.Module):
    """Turn one number into logits of the depth classes: regression of the depth.

    The number is the place on the scale of depths, in classes from the middle one. The logits are
    those of a Gaussian around it, one class wide, so that cross-entropy is half the squared error
    of the place, and every decoder of classes remains valid; the temperature finds the width.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes

    def forward(self, number: Tensor) -> Tensor:
        """Logits (B, C) of the places (B, 1)."""
        ranks = torch.arange(self.n_classes, device=number.device)
        place = number.float() + (self.n_classes - 1) / 2
        return -((ranks - place) ** 2) / 2


class Importance(nn.Module):
    """Weigh the places of a map by a learned importance; the mean over the map is then weighted.

    The weights of a map have mean 1, and are all 1 at initialisation. After the idea of Zhai et
    al., arXiv 2502.06452: depth from the regions of an image that matter.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.score.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh (B, C, H, W)."""
        score = self.score(x)
        weights = score.flatten(1).softmax(dim=1) * (x.shape[2] * x.shape[3])
        out: Tensor = x * weights.reshape_as(score)
        return out


class FocusFeatures(nn.Module):
    """Outputs from focus measures of the cells of two grids, added to those of the network.

    The measures are the energy of the gradient, that of the Laplacian and the variance. The fine
    grid covers the middle half of the patch, the coarse one all of it. After the idea of Wei et
    al., arXiv 2509.02343: focus measures on an adaptive grid, beside the image.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        features = _MEASURES * sum(n * n for n in _GRIDS)
        self.layers = nn.Sequential(
            nn.BatchNorm1d(features),
            nn.Linear(features, _HIDDEN),
            nn.GELU(),
            nn.Linear(_HIDDEN, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, K) of patches (B, 1, S, S)."""
        out: Tensor = self.layers(focus_features(x))
        return out


def focus_features(x: Tensor) -> Tensor:
    """Logarithms of the focus measures of `FocusFeatures`, (B, 60), of patches (B, 1, S, S)."""
    inner = x[..., 1:-1, 1:-1]
    down, right = x[..., 2:, 1:-1] - x[..., :-2, 1:-1], x[..., 1:-1, 2:] - x[..., 1:-1, :-2]
    around = x[..., 2:, 1:-1] + x[..., :-2, 1:-1] + x[..., 1:-1, 2:] + x[..., 1:-1, :-2]
    maps = torch.cat([down**2 + right**2, (around - 4 * inner) ** 2, inner, inner**2], dim=1)
    side = maps.shape[-1]
    middle = slice(side // 4, side - side // 4)
    cells = []
    for part, n in zip((maps[..., middle, middle], maps), _GRIDS, strict=True):
        gradient, laplacian, mean, square = F.adaptive_avg_pool2d(part.float(), n).unbind(dim=1)
        variance = (square - mean**2).clamp_min(0)
        cells += [values.flatten(1) for values in (gradient, laplacian, variance)]
    return (torch.cat(cells, dim=1) + _TINY).log()
