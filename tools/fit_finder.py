"""Fit the network that finds heads in single frames (`model/live/finder.npz`) to simulated fields.

The microscopes are drawn as for pretraining (`fgaf.model.training.pretrain`). Their fields hold
sperm, debris and round cells whose places are known: heads within a few micrometres of focus are to
be found, those farther off count neither way, and everything else is ground. One microscope in
eight is kept from the fit, and what is found there is printed. Takes a quarter of an hour on one
core, most of it for drawing fields.

Run ``python tools/fit_finder.py [--fields N] [--steps N] [--out FILE]``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fgaf.acquire.simulation.scene import Scene
from fgaf.curate.detection.detect import Scale
from fgaf.model.live.finder import LAYERS, STRIDE, Finder, contrast_of
from fgaf.model.training.pretrain import Worlds, draw_microscope

Array = npt.NDArray[Any]

SHAPE = (600, 800)
THINGS = {"cells": 12, "debris": 30, "round_cells": 2, "margin_um": 0.0, "separation_um": 6.0}
PLANES_UM = (-3.0, -1.6, -0.8, -0.3, 0.0, 0.3, 0.8, 1.6, 3.0)
"""Drive positions about which fields are drawn; cells lie within 1.5 µm of 0."""
FOUND_UM, FORGIVEN_UM = 3.5, 7.0
"""Heads nearer to focus are to be found; those farther off than the second are ground."""
SIDE, BATCH = 96, 16
"""Side of the pieces of a field to learn from, on the working grid, and how many at a time."""
KEPT_BACK = 8
MATCH_UM = 1.5


@dataclass(frozen=True)
class Field:
    """Contrast (Y, X) on the working grid, heads (K, 3): y, x there and µm from focus."""

    contrast: npt.NDArray[np.float32]
    heads: Array
    working_um: float


def drawn(number: int, worlds: Worlds) -> list[Field]:
    """Draw the fields of one microscope: one for each plane, at times apart."""
    microscope = draw_microscope(worlds, number)
    settings = microscope["settings"].model_copy(
        update={
            **THINGS,
            "contrast": microscope["contrast"],
            "seed": microscope["seed"],
            "motile": microscope["motile"],
            "shape": SHAPE,
        }
    )
    scale = Scale.of(settings.pixel_size_um)
    rng = np.random.default_rng([worlds.seed, number])
    scene = Scene(settings)
    fields = []
    for k, plane_um in enumerate(PLANES_UM):
        drive_um = plane_um + rng.uniform(-0.3, 0.3)
        pixels, truth = scene.expose(0.5 * k, settings.reference_exposure_s, drive_um)
        sperm = [each for each in truth if each.kind == "sperm"]
        places = np.reshape([(each.y_px, each.x_px) for each in sperm], (-1, 2))
        off = np.array([abs(drive_um - each.focus_um) for each in sperm])
        contrast = contrast_of(pixels[None], scale.binning)[0]
        heads = np.column_stack([scale.to_working(places), off])
        fields.append(Field(contrast, heads, scale.working_um))
    return fields


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
            self._last().bias[0] = -4.0  # type: ignore[index]

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


def piece(field: Field, rng: np.random.Generator) -> tuple[Array, Array]:
    """Cut a square from a field, turned and with other light: contrast (S, S), heads (K, 3)."""
    top, left = (int(rng.integers(0, n - SIDE + 1)) for n in field.contrast.shape)
    image = field.contrast[top : top + SIDE, left : left + SIDE]
    heads = field.heads - (top, left, 0)
    if rng.random() < 0.5:
        image, heads = image.T, heads[:, (1, 0, 2)]
    for axis in (0, 1):
        if rng.random() < 0.5:
            image = np.flip(image, axis)
            heads[:, axis] = SIDE - 1 - heads[:, axis]
    image = rng.uniform(0.7, 1.4) * image
    image = image + rng.choice([0.0, 0.1, 0.2]) * rng.standard_normal(image.shape, np.float32)
    return image.astype(np.float32), heads


def loss_of(out: Tensor, heads: list[Array]) -> Tensor:
    """Of nearness (focal, as most of a field is empty) and of the offsets near heads."""
    cells = out.shape[-1]
    centre = STRIDE * np.arange(cells) + (STRIDE - 1) / 2
    total, count = out.new_zeros(()), 1
    for result, each in zip(out, heads, strict=True):
        dy = (each[:, 0, None, None] - centre[None, :, None]) / STRIDE
        dx = (each[:, 1, None, None] - centre[None, None, :]) / STRIDE
        square = dy**2 + dx**2
        wanted, forgiven = each[:, 2] <= FOUND_UM, each[:, 2] <= FORGIVEN_UM
        counts = torch.ones(cells, cells)
        if (forgiven & ~wanted).any():
            counts[torch.from_numpy(square[forgiven & ~wanted].min(axis=0) < 3**2)] = 0
        near, share = torch.zeros(cells, cells), out.new_zeros(())
        if wanted.any():
            square, dy, dx = square[wanted], dy[wanted], dx[wanted]
            first = square.argmin(axis=0)[None]
            shift = [np.take_along_axis(d + 0 * square, first, 0)[0] for d in (dy, dx)]
            least = torch.from_numpy(square.min(axis=0)).float()
            near = (-least / (2 * 0.8**2)).exp()
            counts[least < 1.6**2] = 1
            error = F.smooth_l1_loss(
                result[1:],
                torch.from_numpy(np.stack(shift)).float(),
                reduction="none",
                beta=0.2,
            )
            share = ((least < 1.6**2) * error.sum(dim=0)).sum()
            inside = (each[:, :2] >= 0).all(axis=1) & (each[:, :2] < SIDE).all(axis=1)
            count += int((wanted & inside).sum())
        surprise = F.binary_cross_entropy_with_logits(result[0], near, reduction="none")
        total = total + (counts * (result[0].sigmoid() - near).abs() ** 1.5 * surprise).sum()
        total = total + 0.5 * share
    return total / count


def trained(fields: list[Field], steps: int, seed: int) -> Network:
    """Train by AdamW with one cycle of the rate."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network, recent = Network(), 0.0
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for step in range(steps):
        chosen = [fields[k] for k in rng.integers(len(fields), size=BATCH)]
        images, heads = zip(*(piece(each, rng) for each in chosen), strict=True)
        loss = loss_of(network(torch.from_numpy(np.stack(images))[:, None]), list(heads))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        rate.step()
        recent += (loss.item() - recent) * max(0.01, 1 / (step + 1))
        if (step + 1) % 500 == 0:
            print(f"step {step + 1}: loss {recent:.3f}", flush=True)
    return network


def report(finder: Finder, fields: list[Field]) -> None:
    """Print how many heads are found, how many finds are heads, and how far off they are."""
    for least in (0.2, 0.3, 0.4, 0.5, 0.6):
        heads = finds = 0
        off: list[float] = []
        for field in fields:
            rim = np.array(field.contrast.shape) - 12
            truth = field.heads[((field.heads[:, :2] >= 12) & (field.heads[:, :2] < rim)).all(1)]
            found = finder.heads(field.contrast[None], least)[0]
            found = found[((found[:, :2] >= 12) & (found[:, :2] < rim)).all(1)]
            away = field.working_um * np.hypot(
                *(found[:, None, :2] - truth[None, :, :2]).transpose(2, 0, 1)
            )
            wanted = truth[:, 2] <= FOUND_UM
            near = np.where(away < MATCH_UM, away, np.inf)
            heads += int(wanted.sum())
            nearest = near[:, wanted].min(axis=0, initial=np.inf)
            off += list(nearest[np.isfinite(nearest)])
            forgiven = np.isfinite(near[:, ~wanted]).any(axis=1)
            finds += len(found) - int((forgiven & ~np.isfinite(near[:, wanted]).any(axis=1)).sum())
        half, most = np.percentile(off, (50, 90)) if off else (np.nan, np.nan)
        print(
            f"score {least}: {len(off) / heads:.3f} of {heads} heads found, "
            f"{len(off) / max(1, finds):.3f} of the finds are heads, "
            f"{half:.2f} µm off (90 %: {most:.2f})"
        )


def main() -> None:
    """Fit, print how good it is under microscopes kept back, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=990)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--out", type=Path, default=Path("model/live/finder.npz"))
    options = parser.parse_args()
    microscopes = max(KEPT_BACK, options.fields // len(PLANES_UM))
    worlds = Worlds(microscopes, microscopes, seed=11)
    learned, kept = [], []
    for number in range(microscopes):
        side = kept if number % KEPT_BACK == 0 else learned
        side += drawn(number, worlds)
        if (number + 1) % 10 == 0:
            print(f"{number + 1} of {microscopes} microscopes drawn", flush=True)
    network = trained(learned, options.steps, seed=1)
    np.savez_compressed(options.out, **network.arrays())
    report(Finder.load(options.out), kept)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
