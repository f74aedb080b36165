"""Fit the network that finds heads (`curate/detection/heads.npz`) to fields whose heads are known.

Fields come from the simulated microscope (`fgaf.acquire.simulation.realistic`), and others are
painted (`painted_fields.py`). Heads within a few micrometres of focus are to be found; those
farther off, and those too faint to be seen, count neither way; all else is ground. One field in ten
is kept from the fit: it calibrates the scores, and what is found there is printed. Fields are drawn
on all cores; the same seeds give the same fields, and on one kind of processor the same weights.

Run ``python tools/fit_detector.py [--painted N] [--simulated N] [--objects N] [--steps N]``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from painted_fields import Painted, paint, paint_objects
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fgaf.acquire.simulation.realistic import draw_settings
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.detect import ABOVE_GROUND, can_be_seen
from fgaf.curate.detection.network import LAYERS, SPAN, STRIDE, HeadNetwork, connected
from fgaf.curate.detection.scale import HEAD_UM, Scale

Array = npt.NDArray[Any]

SHAPE = (480, 640)
PLANES_UM = (-4.0, -2.5, -1.5, -0.7, 0.0, 0.7, 1.5, 2.5, 4.0)
PLANES = 3
"""Positions of the drive, about the middle of the cells, and how many are taken of a field."""
FOUND_UM, FORGIVEN_UM = 3.5, 7.0
"""Heads nearer to focus are to be found; those farther off than the second are ground."""
ABOVE_GRAIN = 1.3
"""Contrast relative to the ground's from which heads on grainy ground are to be found, as the eye
finds them; on other ground `ABOVE_GROUND`."""
MISJUDGED = 0.2
"""Logarithm of how wrong the scale of a search may be."""
SIDE, BATCH = 96, 16
"""Side of the pieces of a field to learn from, working pixels, and how many at a time."""
SHARES = {"painted": 0.29, "uneven": 0.12, "simulated": 0.33, "transparent": 0.15, "objects": 0.11}
"""Kinds of fields, and how often each is learned from."""
TRANSPARENT: dict[str, Any] = {
    "nucleus_loss": (0.0, 0.0),
    "flagellum_loss": (0.0, 0.0),
    "head_strength": (1.0, 1.0),
    "midpiece_strength": (1.0, 1.0),
    "tail_strength": (1.0, 1.0),
}
"""Cells without absorption, as the rigs sim and sim-relief have them."""
KEPT_BACK = 10
MATCH_UM = 1.5


@dataclass(frozen=True)
class Field:
    """A field on the working grid.

    Attributes
    ----------
    contrast
        (y, x) float16.
    heads
        (K, 7): y, x; logarithms of length and width relative to a usual head; angle, rad; whether
        the size is known; whether it is to be found (1) or counts neither way (0).
    kind
        One of `SHARES`.
    """

    contrast: Array
    heads: Array
    kind: str


def drawn(kind: str, number: int) -> list[Field]:
    """Draw the fields of one number."""
    rng = np.random.default_rng([sorted(SHARES).index(kind), number])
    if kind == "simulated":
        return list(simulated(draw_settings(number, shape=SHAPE), kind, rng))
    if kind == "transparent":
        settings = draw_settings(100_000 + number, shape=SHAPE, **TRANSPARENT)
        return list(simulated(settings, kind, rng))
    field = paint_objects(number) if kind == "objects" else paint(number, uneven=kind == "uneven")
    usual = float(np.median(field.heads[:, 2])) if len(field.heads) else HEAD_UM[0]
    unit = usual if kind == "objects" else HEAD_UM[0]
    return [painted(field, kind, unit * _misjudged(rng, 2 if kind == "objects" else 1))]


def _misjudged(rng: np.random.Generator, times: float = 1.0) -> float:
    return float(np.exp(times * rng.uniform(-MISJUDGED, MISJUDGED)))


def painted(field: Painted, kind: str, head_um: float) -> Field:
    """A painted field, searched with a head length."""
    scale = Scale(field.pixel_um, head_um)
    contrast = scale.contrast(field.pixels)
    y, x, length, width, angle = field.heads.T
    heads = np.column_stack(
        [
            scale.to_working(y),
            scale.to_working(x),
            np.log(length / head_um),
            np.log(width / head_um * HEAD_UM[0] / HEAD_UM[1]),
            angle,
            np.ones_like(y),
            np.ones_like(y),
        ]
    )
    least = ABOVE_GRAIN if kind == "uneven" else ABOVE_GROUND
    return Field(contrast.astype(np.float16), visible(contrast, heads, least), kind)


def simulated(settings: SimulationSettings, kind: str, rng: np.random.Generator) -> Iterable[Field]:
    """Some planes of a field under the simulated microscope, at times apart."""
    scene = Scene(settings)
    for k, plane_um in enumerate(rng.choice(PLANES_UM, PLANES, replace=False)):
        drive_um = settings.center_um + float(plane_um + rng.uniform(-0.3, 0.3))
        pixels, truth = scene.expose(0.5 * k, settings.reference_exposure_s, drive_um)
        scale = Scale(settings.pixel_size_um, HEAD_UM[0] * _misjudged(rng))
        contrast = scale.contrast(pixels)
        heads = [
            (
                scale.to_working(np.float64(cell.y_px)),
                scale.to_working(np.float64(cell.x_px)),
                np.log(cell.length_um / scale.head_um),
                np.log(cell.width_um / scale.head_um * HEAD_UM[0] / HEAD_UM[1]),
                cell.yaw_rad,
                1.0,
                float(abs(drive_um - cell.focus_um) <= FOUND_UM),
            )
            for cell in truth
            if cell.kind == "sperm" and abs(drive_um - cell.focus_um) <= FORGIVEN_UM
        ]
        known = visible(contrast, np.reshape(heads, (-1, 7)), ABOVE_GROUND)
        yield Field(contrast.astype(np.float16), known, kind)


def visible(contrast: Array, heads: Array, above_ground: float) -> Array:
    """Heads, of which those too faint to be seen count neither way."""
    seen = can_be_seen(contrast, heads[:, 0], heads[:, 1], above_ground)
    heads = heads.astype(np.float32)
    heads[~seen, 6] = 0
    return heads


class Network(nn.Module):
    """The layers of `HeadNetwork`, to be trained; each but the last is normalised by batches."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {
                layer.name: nn.Conv2d(
                    layer.inputs,
                    layer.outputs,
                    layer.side,
                    layer.stride,
                    padding=layer.dilation * (layer.side // 2),
                    dilation=layer.dilation,
                )
                for layer in LAYERS
            }
        )
        self.norms = nn.ModuleDict(
            {layer.name: nn.BatchNorm2d(layer.outputs) for layer in LAYERS[:-1]}
        )
        with torch.no_grad():
            self.convolutions["heads"].bias[:2] = -4.0  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        """From contrast (B, 1, y, x) to (B, 8, y / 4, x / 4)."""

        def convolved(name: str, x: Tensor) -> Tensor:
            x = self.convolutions[name](x)
            return self.norms[name](x) if name in self.norms else x  # type: ignore[no-any-return]

        def doubled(x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=2, mode="nearest")

        out: Tensor = connected(x / (x.abs() + SPAN), convolved, torch.relu, doubled)[0]
        return out

    def arrays(self, calibration: Array) -> dict[str, Array]:
        """Weights as `HeadNetwork` reads them, the normalisation folded in."""
        found: dict[str, Array] = {"calibration": calibration.astype(np.float32)}
        for layer in LAYERS:
            convolution: Any = self.convolutions[layer.name]
            weight, bias = convolution.weight.detach(), convolution.bias.detach()
            if layer.name in self.norms:
                norm: Any = self.norms[layer.name]
                gain = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
                weight = weight * gain[:, None, None, None]
                bias = (bias - norm.running_mean) * gain + norm.bias.detach()
            found[f"{layer.name}.weight"] = weight.numpy().astype(np.float16)
            found[f"{layer.name}.bias"] = bias.numpy().astype(np.float32)
        return found


def piece(field: Field, rng: np.random.Generator) -> tuple[Array, Array]:
    """Cut a square from a field, turned and with other light: contrast (S, S), heads (K, 7)."""
    lacking = [(0, max(0, SIDE - side)) for side in field.contrast.shape]
    whole = np.pad(field.contrast, lacking)
    wanted = field.heads[field.heads[:, 6] > 0]
    room = np.array(whole.shape) - SIDE
    if len(wanted) and rng.random() < 0.6:
        within = rng.uniform(0.05, 0.95, 2) * SIDE
        corner = np.clip(wanted[rng.integers(len(wanted)), :2] - within, 0, room).astype(int)
    else:
        corner = rng.integers(0, room + 1)
    top, left = corner.tolist()
    image = whole[top : top + SIDE, left : left + SIDE].astype(np.float32)
    heads = field.heads.copy()
    heads[:, :2] -= corner
    if rng.random() < 0.5:
        image, heads[:, :2], heads[:, 4] = image.T, heads[:, 1::-1].copy(), np.pi / 2 - heads[:, 4]
    for axis in (0, 1):
        if rng.random() < 0.5:
            image = np.flip(image, axis)
            heads[:, axis] = SIDE - 1 - heads[:, axis]
            heads[:, 4] *= -1
    image = float(np.exp(rng.uniform(-0.5, 0.5))) * image
    if rng.random() < 0.06:
        image = -image
    if rng.random() < 0.3:
        noise = float(np.exp(rng.uniform(np.log(0.002), np.log(0.02))))
        image = image + noise * rng.standard_normal(image.shape, np.float32)
    return np.ascontiguousarray(image, np.float32), heads


@dataclass(frozen=True)
class Target:
    """What the network should say of a piece; arrays are over its output cells.

    Attributes
    ----------
    near
        Nearness of the next head, 0 to 1.
    counts
        Whether the score counts.
    values
        (6, ...) offset, logarithms of the size, cosine and sine of twice the angle.
    placed, sized
        Whether the offset, and size and angle, count.
    """

    near: Array
    counts: Array
    values: Array
    placed: Array
    sized: Array


def target_of(heads: Array) -> Target:
    """What the network should say of a piece with these heads."""
    cells = SIDE // STRIDE
    centre = STRIDE * np.arange(cells) + (STRIDE - 1) / 2
    dy = (heads[:, 0, None, None] - centre[None, :, None]) / STRIDE + 0 * centre[None, None, :]
    dx = (heads[:, 1, None, None] - centre[None, None, :]) / STRIDE + 0 * centre[None, :, None]
    square = dy**2 + dx**2
    wanted = heads[:, 6] > 0
    counts = square[~wanted].min(axis=0, initial=np.inf) >= 3**2
    if not wanted.any():
        none = np.zeros((cells, cells))
        return Target(none, counts, np.zeros((6, cells, cells)), none, none)
    square, dy, dx, known = square[wanted], dy[wanted], dx[wanted], heads[wanted]
    first = square.argmin(axis=0)
    least, dy, dx = (np.take_along_axis(a, first[None], 0)[0] for a in (square, dy, dx))
    angle = 2 * known[first, 4]
    placed = least < 1.6**2
    return Target(
        near=np.exp(-least / (2 * 0.8**2)),
        counts=counts | placed,
        values=np.stack([dy, dx, known[first, 2], known[first, 3], np.cos(angle), np.sin(angle)]),
        placed=placed,
        sized=placed * known[first, 5],
    )


def loss_of(out: Tensor, channel: Tensor, targets: list[Target]) -> Tensor:
    """Of the scores (focal, as most of a field is empty), offsets, sizes and axes."""

    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(each, name) for each in targets])).float()

    logit, near = out[torch.arange(len(targets)), channel], stacked("near")
    surprise = F.binary_cross_entropy_with_logits(logit, near, reduction="none")
    score = (stacked("counts") * (logit.sigmoid() - near).abs() ** 1.5 * surprise).sum()
    error = F.smooth_l1_loss(out[:, 2:], stacked("values"), reduction="none", beta=0.2)
    placed, sized = stacked("placed"), stacked("sized")
    offset = (placed[:, None] * error[:, :2]).sum()
    size = (sized[:, None] * error[:, 2:]).sum()
    total: Tensor = (score + 0.5 * offset + 0.25 * size) / (1 + placed.sum() / 6)
    return total


def trained(fields: dict[str, list[Field]], steps: int, seed: int) -> Network:
    """Train by AdamW with one cycle of the rate."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network, recent, begun = Network(), 0.0, time.perf_counter()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        kinds = rng.choice(list(SHARES), size=BATCH, p=list(SHARES.values()))
        chosen = [fields[kind][rng.integers(len(fields[kind]))] for kind in kinds]
        images, heads = zip(*(piece(each, rng) for each in chosen), strict=True)
        channel = torch.tensor([int(kind == "objects") for kind in kinds])
        out = network(torch.from_numpy(np.stack(images))[:, None])
        loss = loss_of(out, channel, [target_of(each) for each in heads])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        rate.step()
        recent += (loss.item() - recent) * max(0.01, 1 / (step + 1))
        if (step + 1) % 500 == 0:
            spent = time.perf_counter() - begun
            print(f"step {step + 1}: loss {recent:.3f}, {spent:.0f} s", flush=True)
    return network.eval()


def judged(network: HeadNetwork, fields: list[Field]) -> tuple[Array, Array, int]:
    """Scores of finds, whether each is a head, and how many heads there were to be found.

    Finds on heads that count neither way are left out.
    """
    scores: list[float] = []
    right: list[bool] = []
    heads = 0
    working_um = Scale(1.0).working_um
    for field in fields:
        kind = "object" if field.kind == "objects" else "sperm"
        (found,) = network.heads(field.contrast[None].astype(np.float32), 0.02, kind)
        truth = field.heads
        inside = ((truth[:, :2] >= 8) & (truth[:, :2] < np.array(field.contrast.shape) - 8)).all(1)
        wanted = (truth[:, 6] > 0) & inside
        heads += int(wanted.sum())
        away = np.hypot(*(found[:, None, :2] - truth[None, :, :2]).transpose(2, 0, 1)) * working_um
        free = np.ones(len(truth), bool)
        for number, score in enumerate(found[:, 2]):
            near = np.flatnonzero(free & (away[number] < MATCH_UM))
            if not len(near):
                scores.append(float(score))
                right.append(False)
                continue
            first = near[away[number, near].argmin()]
            free[first] = False
            if wanted[first]:
                scores.append(float(score))
                right.append(True)
    return np.array(scores), np.array(right), heads


def calibrated(network: Network, fields: list[Field]) -> Array:
    """Factors and constants of the logits, (2, 2): a score is the share of heads among finds."""
    plain = HeadNetwork(network.arrays(np.array([[1.0, 1.0], [0.0, 0.0]])))
    columns = []
    for kinds in (("painted", "uneven", "simulated", "transparent"), ("objects",)):
        scores, right, _ = judged(plain, [field for field in fields if field.kind in kinds])
        logit = torch.from_numpy(np.log(scores / (1 - scores)))
        truth = torch.from_numpy(right.astype(np.float64))
        line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
        fit = torch.optim.LBFGS([line], max_iter=100)

        def surprise(
            line: Tensor = line, logit: Tensor = logit, truth: Tensor = truth, fit: Any = fit
        ) -> Tensor:
            fit.zero_grad()
            loss = F.binary_cross_entropy_with_logits(line[0] * logit + line[1], truth)
            loss.backward()
            return loss

        fit.step(surprise)  # type: ignore[arg-type]
        columns.append(line.detach().numpy())
    return np.stack(columns, axis=1)


def report(network: HeadNetwork, fields: list[Field]) -> None:
    """Print how many heads are found, and how many finds are heads, for each kind of field."""
    for kind in SHARES:
        scores, right, heads = judged(network, [field for field in fields if field.kind == kind])
        for least in (0.3, 0.5, 0.7):
            found = right[scores >= least]
            print(
                f"{kind}, score {least}: {found.sum() / max(heads, 1):.3f} of {heads} heads found, "
                f"{found.mean() if len(found) else 0:.3f} of the finds are heads"
            )


def main() -> None:
    """Draw, fit, calibrate, print how good it is on fields kept back, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--painted", type=int, default=4000)
    parser.add_argument("--uneven", type=int, default=1000, help="painted on grainy ground")
    parser.add_argument("--simulated", type=int, default=600, help=f"{PLANES} planes of each")
    parser.add_argument("--transparent", type=int, default=220)
    parser.add_argument("--objects", type=int, default=800)
    parser.add_argument("--steps", type=int, default=14000)
    parser.add_argument("--out", type=Path, default=Path("curate/detection/heads.npz"))
    options = parser.parse_args()
    learned: dict[str, list[Field]] = {kind: [] for kind in SHARES}
    kept: list[Field] = []
    with ProcessPoolExecutor() as pool:
        for kind in SHARES:
            numbers = range(getattr(options, kind))
            for number, fields in enumerate(
                pool.map(drawn, [kind] * len(numbers), numbers, chunksize=4)
            ):
                if number % KEPT_BACK == 0:
                    kept += fields
                else:
                    learned[kind] += fields
            print(f"{len(numbers)} {kind} fields drawn", flush=True)
    network = trained(learned, options.steps, seed=1)
    calibration = calibrated(network, kept)
    np.savez_compressed(options.out, **network.arrays(calibration))
    with np.load(options.out) as file:
        report(HeadNetwork(dict(file)), kept)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
