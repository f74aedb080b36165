"""Fit the network that finds heads in single frames (`model/live/finder.npz`) to simulated fields.

Fields in bright field at 40x and 20x and in relief contrast; each is looked at eight times, at moments
a second apart and focus positions up to 5 µm off, so that heads are met in and out of focus. The last
eighth of the fields is kept from the fit, and the shares found there are printed. Takes about half
an hour on one core.

Run ``python tools/fit_finder.py [--fields N] [--epochs N] [--sample FILE] [--out FILE]``.
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

from fgaf.acquire.simulation.scene import Painter, Scene
from fgaf.acquire.simulation.settings import MicroscopeSettings, SimulationSettings
from fgaf.curate.detect import Scale
from fgaf.model.live.finder import LAYERS, STRIDE, Finder, contrast_of

Array = npt.NDArray[Any]

SIDE, CROP = 200, 160
"""Side of a field, and of what is cropped from it, on the working grid."""
LOOKS = 8
MICROSCOPES: tuple[dict[str, Any], ...] = (
    {"contrast": "brightfield"},
    {"contrast": "brightfield"},
    {"contrast": "relief"},
    {"contrast": "brightfield"},
    {"contrast": "brightfield", "magnification": 20.0, "numerical_aperture": 0.45},
    {"contrast": "brightfield"},
    {"contrast": "relief"},
    {"contrast": "brightfield"},
)
FARTHEST_UM = 5.0
KEPT_BACK = 8
BATCH = 32
MATCH_UM = 1.5
BORDER_UM = 3.0


@dataclass(frozen=True)
class Sample:
    """Images (N, SIDE, SIDE) as contrast, and the heads (y, x) of each on the working grid."""

    images: npt.NDArray[np.float32]
    heads: list[Array]

    def part(self, which: slice) -> Sample:
        """Some of the images."""
        return Sample(self.images[which], self.heads[which])


def drawn(seed: int) -> SimulationSettings:
    """Draw a field under one of the microscopes."""
    rng = np.random.default_rng([79, seed])
    microscope = MICROSCOPES[seed % len(MICROSCOPES)]
    pixel_um = MicroscopeSettings(**microscope).pixel_size_um
    side = Scale.of(pixel_um).binning * SIDE
    return SimulationSettings(
        **microscope,
        seed=seed,
        shape=(side, side),
        motile=bool(rng.random() < 0.8),
        depth_spread_um=1.5,
        separation_um=float(rng.choice([6.0, 20.0])),
        margin_um=2.0,
        photons=rng.uniform(3000, 8000),
        mottle=rng.uniform(0, 0.02),
        cells=int(rng.integers(2, 6)),
        debris=int(rng.integers(0, 7)),
        round_cells=int(rng.random() < 0.2),
    )


def sampled(fields: int, first_seed: int, keep: Path | None) -> Sample:
    """Expose every field at some moments and focus positions; what is there is kept as it grows."""
    images, heads = [], []
    painters = {number: Painter(MicroscopeSettings(**m)) for number, m in enumerate(MICROSCOPES)}
    for seed in range(first_seed, first_seed + fields):
        settings = drawn(seed)
        # Fields under one microscope share its tables, which take longer than the images.
        scene = Scene(settings, painters[seed % len(MICROSCOPES)])
        scale = Scale.of(settings.pixel_size_um)
        rng = np.random.default_rng([80, seed])
        for look in range(LOOKS):
            farthest = FARTHEST_UM if look % 2 else 2.0
            pixels, truth = scene.expose(1.0 * look, 0.005, rng.uniform(-farthest, farthest))
            images.append(contrast_of(pixels[None], scale.binning)[0].astype(np.float16))
            places = [(c.y_px, c.x_px) for c in truth if c.kind == "sperm"]
            heads.append(scale.to_working(np.array(places).reshape(-1, 2)))
        done = seed - first_seed + 1
        if done % 10 == 0 or done == fields:
            print(f"field {done} of {fields}", flush=True)
            if keep is not None:
                counts = [len(each) for each in heads]
                np.savez(keep, images=np.stack(images), heads=np.concatenate(heads), counts=counts)
    return Sample(np.stack(images), heads)


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

    def forward(self, x: Tensor) -> Tensor:
        """From (B, 1, Y, X) to (B, 3, Y / 4, X / 4)."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        last: Tensor = self.layers[-1](x)
        return last

    def arrays(self) -> dict[str, Array]:
        """Weights as `Finder` reads them: rows, columns, inputs, outputs."""
        found = {}
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            weight = layer.weight.detach().permute(2, 3, 1, 0)
            found[f"weight{number}"] = weight.contiguous().numpy().astype(np.float16)
            found[f"bias{number}"] = layer.bias.detach().numpy().copy()
        return found


def targets(heads: list[Array], side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nearness (N, S, S), offsets to the nearest head (N, 2, S, S) in cells, its distance."""
    cells = side // STRIDE
    centre = STRIDE * np.arange(cells) + (STRIDE - 1) / 2
    near, shift, away = [], [], []
    for each in heads:
        dy = (each[:, 0, None, None] - centre[None, :, None]) / STRIDE
        dx = (each[:, 1, None, None] - centre[None, None, :]) / STRIDE
        square = dy**2 + dx**2
        if not len(each):
            near.append(np.zeros((cells, cells)))
            shift.append(np.zeros((2, cells, cells)))
            away.append(np.full((cells, cells), np.inf))
            continue
        nearest = square.argmin(axis=0)[None]
        dy, dx = (np.broadcast_to(d, square.shape) for d in (dy, dx))
        shift.append(np.stack([np.take_along_axis(d, nearest, 0)[0] for d in (dy, dx)]))
        away.append(np.sqrt(square.min(axis=0)))
        near.append(np.exp(-square.min(axis=0) / (2 * 0.8**2)))
    return tuple(torch.from_numpy(np.stack(part)).float() for part in (near, shift, away))  # type: ignore[return-value]


def batch_of(sample: Sample, chosen: Array, rng: np.random.Generator) -> tuple[Tensor, list[Array]]:
    """Crop, turn and dim."""
    images, heads = [], []
    for number in chosen:
        top, left = rng.integers(0, SIDE - CROP + 1, 2)
        image = sample.images[number, top : top + CROP, left : left + CROP].astype(np.float32)
        place = sample.heads[number] - (top, left)
        if rng.random() < 0.5:
            image, place = image.T, place[:, ::-1]
        if rng.random() < 0.5:
            image, place = image[::-1], np.column_stack([CROP - 1 - place[:, 0], place[:, 1]])
        if rng.random() < 0.5:
            image, place = image[:, ::-1], np.column_stack([place[:, 0], CROP - 1 - place[:, 1]])
        gain, noise = rng.uniform(0.7, 1.4), rng.choice([0.0, 0.1, 0.3])
        images.append(gain * image + noise * rng.standard_normal(image.shape, np.float32))
        heads.append(place)
    return torch.from_numpy(np.stack(images).astype(np.float32))[:, None], heads


def loss_of(out: Tensor, heads: list[Array], side: int) -> Tensor:
    """Of nearness (focal, as most of a field is empty) and of the offsets near heads."""
    near, shift, away = targets(heads, side)
    p = out[:, 0].sigmoid()
    surprise = F.binary_cross_entropy_with_logits(out[:, 0], near, reduction="none")
    focal = ((p - near).abs() ** 1.5 * surprise).sum()
    at = (away < 1.6).float()
    error = F.smooth_l1_loss(out[:, 1:], shift, reduction="none", beta=0.2).sum(dim=1)
    return (focal + 0.5 * (at * error).sum()) / max(1, sum(map(len, heads)))


def trained(sample: Sample, epochs: int, seed: int) -> Network:
    """Train by AdamW with one cycle of the rate."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Network()
    with torch.no_grad():
        last = network.layers[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        last.bias[0] = -3.0
    steps = epochs * (len(sample.images) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps + 1)
    for epoch in range(epochs):
        order, total = rng.permutation(len(sample.images)), 0.0
        for start in range(0, len(order) - BATCH + 1, BATCH):
            images, heads = batch_of(sample, order[start : start + BATCH], rng)
            loss = loss_of(network(images), heads, CROP)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            rate.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / max(1, len(order) // BATCH):.3f}", flush=True)
    return network


def report(finder: Finder, sample: Sample) -> None:
    """Print how many heads are found, how many finds are heads, and how far off they are."""
    border = BORDER_UM / 0.3
    for least in (0.3, 0.4, 0.5):
        heads = right = finds = good = 0
        off: list[float] = []
        for image, truth in zip(sample.images, sample.heads, strict=True):
            found = finder.heads(image[None].astype(np.float32), least)[0]
            inside = truth[(np.minimum(truth, SIDE - 1 - truth) > border).all(axis=1)]
            away = np.hypot(*(found[:, None, :2] - truth[None]).transpose(2, 0, 1))
            near = np.hypot(*(found[:, None, :2] - inside[None]).transpose(2, 0, 1))
            within = (np.minimum(found[:, :2], SIDE - 1 - found[:, :2]) > border).all(axis=1)
            heads += len(inside)
            finds += int(within.sum())
            if len(found) and len(inside):
                least_away = near.min(axis=0)
                right += int((least_away < MATCH_UM / 0.3).sum())
                off += list(0.3 * least_away[least_away < MATCH_UM / 0.3])
            if len(found) and len(truth):
                good += int((within & (away.min(axis=1) < MATCH_UM / 0.3)).sum())
        print(
            f"score {least}: {right / max(1, heads):.3f} of {heads} heads found, "
            f"{good / max(1, finds):.3f} of the finds are heads, "
            f"{np.median(off or [np.nan]):.2f} µm off (90 %: {np.percentile(off or [np.nan], 90):.2f})"
        )


def main() -> None:
    """Fit, print how good it is on fields kept back, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=240)
    parser.add_argument("--first-seed", type=int, default=90_000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sample", type=Path, help="Keep the exposed fields here.")
    parser.add_argument("--out", type=Path, default=Path("model/live/finder.npz"))
    options = parser.parse_args()
    if options.sample is not None and options.sample.exists():
        with np.load(options.sample) as kept:
            parts = np.split(kept["heads"], np.cumsum(kept["counts"])[:-1])
            sample = Sample(kept["images"], parts)
    else:
        sample = sampled(options.fields, options.first_seed, options.sample)
    kept_back = len(sample.images) // KEPT_BACK // LOOKS * LOOKS
    network = trained(sample.part(slice(0, -kept_back)), options.epochs, seed=1)
    np.savez_compressed(options.out, **network.arrays())
    report(Finder.load(options.out), sample.part(slice(-kept_back, None)))
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
