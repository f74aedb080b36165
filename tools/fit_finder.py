"""Fit the network that finds heads in single frames (`model/live/finder.npz`) to labelled patches.

Patches of archives, each with its head in the middle, are cut to smaller tiles that hold the head
somewhere, turned, and laid beside each other and beside empty ground to fields in which the network
learns to say where the heads are. One cell in eight is kept from the fit, and the shares found
there are printed. Takes some minutes on one core.

Run ``python tools/fit_finder.py ARCHIVE... [--epochs N] [--out FILE]``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fgaf.curate.detect import Scale
from fgaf.dataset.archive import Archive
from fgaf.model.live.finder import LAYERS, STRIDE, Finder, contrast_of

Array = npt.NDArray[Any]

TILE, TILES = 36, 4
"""Side of a tile on the working grid, and tiles along a side of a field."""
EMPTY = 0.2
"""Share of the tiles without a cell."""
KEPT_BACK = 8
BATCH = 8
MATCH_UM = 1.5


@dataclass(frozen=True)
class Patches:
    """Contrast (N, S, S) of patches on the working grid, and where each head is, along y and x."""

    images: npt.NDArray[np.float32]
    head: float


def read(paths: list[Path]) -> tuple[Patches, Patches]:
    """Read archives: the patches to learn from, and those kept back."""
    learned, kept = [], []
    head = 0.0
    for path in paths:
        with Archive.open(path) as archive:
            scale = Scale.of(archive.header.optics.pixel_size_um or float("nan"))
            head = float(scale.to_working(np.array(archive.header.patch_px // 2)))
            contrast = contrast_of(archive.images[:], scale.binning)
            back = archive.cell % KEPT_BACK == 0
        learned.append(contrast[~back])
        kept.append(contrast[back])
    return Patches(np.concatenate(learned), head), Patches(np.concatenate(kept), head)


class Network(nn.Module):
    """The layers of `Finder`, to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(
                layer.inputs,
                layer.outputs,
                layer.side,
                layer.stride,
                padding=layer.dilation * (layer.side // 2),
                dilation=layer.dilation,
            )
            for layer in LAYERS
        )
        with torch.no_grad():
            self._last().bias[0] = -3.0  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        """From (B, 1, Y, X) to (B, 3, Y / 4, X / 4)."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        last: Tensor = self.layers[-1](x)
        return last

    def arrays(self) -> dict[str, Array]:
        """Weights as `Finder` reads them: rows, columns, inputs, outputs."""
        found = {}
        for number, (name, value) in enumerate(self.state_dict().items()):
            part = name.rpartition(".")[2]
            array = value.permute(2, 3, 1, 0) if part == "weight" else value
            found[f"{part}{number // 2}"] = array.contiguous().numpy().astype(np.float16)
        return found

    def _last(self) -> nn.Conv2d:
        layer = self.layers[-1]
        if not isinstance(layer, nn.Conv2d):
            raise TypeError("the last layer is a convolution")
        return layer


def field(patches: Patches, chosen: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Lay 16 tiles beside each other: a field (S, S) and the heads (K, 2) in it."""
    side, size = TILE * TILES, patches.images.shape[-1]
    image, heads = np.empty((side, side), np.float32), []
    for number, which in enumerate(chosen):
        y, x = (TILE * n for n in divmod(number, TILES))
        if rng.random() < EMPTY:
            clouds = ndimage.gaussian_filter(rng.standard_normal((TILE, TILE)), 3.0)
            tile = clouds * rng.uniform(0.5, 3) + 0.15 * rng.standard_normal((TILE, TILE))
        else:
            patch, place = patches.images[which], np.full(2, patches.head)
            if rng.random() < 0.5:
                patch = patch.T
            for axis in (0, 1):
                if rng.random() < 0.5:
                    patch = np.flip(patch, axis)
                    place[axis] = size - 1 - place[axis]
            top, left = rng.integers(0, size - TILE + 1, 2)
            tile = rng.uniform(0.7, 1.4) * patch[top : top + TILE, left : left + TILE]
            heads.append(place - (top, left) + (y, x))
        image[y : y + TILE, x : x + TILE] = tile
    image += rng.choice([0.0, 0.1, 0.2]) * rng.standard_normal(image.shape, np.float32)
    # The cells of the output must not keep step with the tiles.
    shift = rng.integers(0, STRIDE, 2)
    return np.roll(image, shift, (0, 1)), np.reshape(heads, (-1, 2)) + shift


def loss_of(out: Tensor, heads: list[Array]) -> Tensor:
    """Of nearness (focal, as most of a field is empty) and of the offsets near heads."""
    cells = out.shape[-1]
    centre = STRIDE * np.arange(cells) + (STRIDE - 1) / 2
    total = out.new_zeros(())
    for result, each in zip(out, heads, strict=True):
        dy = (each[:, 0, None, None] - centre[None, :, None]) / STRIDE
        dx = (each[:, 1, None, None] - centre[None, None, :]) / STRIDE
        square = dy**2 + dx**2
        first = square.argmin(axis=0)[None]
        shift = np.stack(
            [np.take_along_axis(np.broadcast_to(d, square.shape), first, 0)[0] for d in (dy, dx)]
        )
        least = torch.from_numpy(square.min(axis=0)).float()
        near = (-least / (2 * 0.8**2)).exp()
        surprise = F.binary_cross_entropy_with_logits(result[0], near, reduction="none")
        total = total + ((result[0].sigmoid() - near).abs() ** 1.5 * surprise).sum()
        error = F.smooth_l1_loss(
            result[1:], torch.from_numpy(shift).float(), reduction="none", beta=0.2
        )
        total = total + 0.5 * ((least < 1.6**2) * error.sum(dim=0)).sum()
    return total / sum(map(len, heads))


def trained(patches: Patches, epochs: int, seed: int) -> Network:
    """Train by AdamW with one cycle of the rate."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network, per_field = Network(), TILES**2
    per_step = BATCH * per_field
    steps = epochs * (len(patches.images) // per_step)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for epoch in range(epochs):
        order, total = rng.permutation(len(patches.images)), 0.0
        for start in range(0, len(order) - per_step + 1, per_step):
            chosen = order[start : start + per_step].reshape(BATCH, per_field)
            images, heads = zip(*(field(patches, each, rng) for each in chosen), strict=True)
            loss = loss_of(network(torch.from_numpy(np.stack(images))[:, None]), list(heads))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            rate.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total * per_step / len(order):.3f}", flush=True)
    return network


def report(finder: Finder, patches: Patches) -> None:
    """Print how many heads are found, how many finds are heads, and how far off they are."""
    rng = np.random.default_rng(9)
    order = np.arange(len(patches.images) // TILES**2 * TILES**2).reshape(-1, TILES**2)
    fields = [field(patches, each, rng) for each in order]
    for least in (0.2, 0.3, 0.4, 0.5):
        heads = finds = 0
        off: list[float] = []
        for image, truth in fields:
            found = finder.heads(image[None], least)[0]
            heads, finds = heads + len(truth), finds + len(found)
            if len(found):
                away = 0.3 * np.hypot(*(found[:, None, :2] - truth[None]).transpose(2, 0, 1))
                off += list(away.min(axis=0)[away.min(axis=0) < MATCH_UM])
        half, most = np.percentile(off, (50, 90)) if off else (np.nan, np.nan)
        print(
            f"score {least}: {len(off) / heads:.3f} of {heads} heads found, "
            f"{len(off) / max(1, finds):.3f} of the finds are heads, "
            f"{half:.2f} µm off (90 %: {most:.2f})"
        )


def main() -> None:
    """Fit, print how good it is on cells kept back, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archives", type=Path, nargs="+")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("model/live/finder.npz"))
    options = parser.parse_args()
    learned, kept = read(options.archives)
    network = trained(learned, options.epochs, seed=1)
    np.savez_compressed(options.out, **network.arrays())
    report(Finder.load(options.out), kept)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
