"""Fit what tells a head from other spots (`curate/detection/heads.json`) to simulated fields.

Fields of many optics: 20x to 60x, bright field and relief, all apertures, focus positions,
densities, debris, round cells, pipettes and droplets; a third of them blurred, or shown as
dark field, and all with heads somewhat smaller or larger than they are taken for. The last
quarter of the fields is kept from the fit, and the shares found at a score of 0.5 are printed for
it. Takes about ten minutes on one core.

Run ``python tools/fit_heads.py [--fields N] [--first-seed S] [--out curate/detection/heads.json]``.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.detect import HEAD_UM, Scale, contrast_of, measured
from fgaf.curate.detection.heads import Logistic, Measures
from fgaf.dataset.truth import CellTruth

Floats = npt.NDArray[np.float64]
PLANES = 3
SHAPE = (700, 900)
SIZES = (0.85, 1.2)
"""Lengths that heads are taken for, relative to theirs."""
ON_HEAD_UM, NEAR_HEAD_UM = 2.3, 4.0
"""A spot so near a head is the head; others so near are left out of the fit."""
BORDER_UM = 3.0
RIDGE = 1e-3
KEPT_BACK = 4


@dataclass(frozen=True)
class Image:
    """The spots of one image: what was measured, and whether each is a head (-1: unclear)."""

    kind: str
    measures: Measures
    head: npt.NDArray[np.int8]


def drawn(seed: int) -> SimulationSettings:
    """Draw a field: every third as a sperm laboratory has it, the others with any optics."""
    rng = np.random.default_rng([77, seed])
    contrast = rng.choice(["brightfield", "relief"])
    common = {"seed": seed, "contrast": contrast, "shape": SHAPE, "motile": bool(rng.integers(2))}
    if seed % 3 == 0:
        return SimulationSettings(**common, cells=8)
    magnification = float(rng.choice([20.0, 40.0, 40.0, 60.0]))
    pitch = float(rng.choice([3.45, 4.8, 5.86]))
    low, high = {20.0: (0.4, 0.5), 40.0: (0.55, 0.75), 60.0: (0.7, 0.85)}[magnification]
    aperture = rng.uniform(low, high)
    area_um2 = SHAPE[0] * SHAPE[1] * (pitch / magnification) ** 2
    cells = int(np.clip(area_um2 / 1700 * rng.uniform(0.3, 1.6), 3, 45))
    return SimulationSettings(
        **common,
        magnification=magnification,
        camera_pixel_um=pitch,
        numerical_aperture=aperture,
        condenser_na=rng.uniform(0.1, min(0.45, aperture)),
        spherical_waves=rng.uniform(0, 0.05),
        cells=cells,
        debris=int(cells * rng.uniform(0.5, 3)),
        round_cells=int(rng.integers(0, 4)),
        pipette=bool(rng.random() < 0.2),
        droplet=bool(rng.random() < 0.2),
        photons=rng.uniform(2000, 8000),
        unevenness=rng.uniform(0, 0.3),
        mottle=rng.uniform(0, 0.025),
        bit_depth=int(rng.choice([8, 12])),
        separation_um=float(rng.choice([8.0, 20.0])),
        depth_spread_um=rng.uniform(0.5, 3),
    )


def images(seeds: Iterable[int]) -> Iterator[Image]:
    """Expose some planes of every field, and measure their spots."""
    for seed in seeds:
        settings = drawn(seed)
        scene = Scene(settings)
        rng = np.random.default_rng([78, seed])
        for plane in range(PLANES):
            pixels, truth = scene.expose(0.3 * plane, 0.005, float(rng.uniform(-4, 4)))
            head_um = HEAD_UM[0] * float(rng.uniform(*SIZES))
            yield _measured(_seen(pixels, settings, rng), truth, settings, head_um)


def _seen(
    pixels: npt.NDArray[Any], settings: SimulationSettings, rng: np.random.Generator
) -> npt.NDArray[Any]:
    """The image as it is, or as poorer optics or a dark ground would show it."""
    way = rng.choice(["as it is", "blurred", "dark"], p=[0.67, 0.2, 0.13])
    if way == "as it is":
        return pixels
    image = pixels.astype(np.float64)
    if way == "blurred":
        image = ndimage.gaussian_filter(image, rng.uniform(0.2, 0.5) / settings.pixel_size_um)
    else:
        ground = ndimage.gaussian_filter(image, 8.0 / settings.pixel_size_um)
        image = rng.uniform(10, 40) + rng.uniform(150, 600) * np.abs(image / ground - 1)
    noisy = image + rng.normal(0, np.sqrt(np.maximum(image, 1) * 0.05))
    return np.clip(np.rint(noisy), 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def _measured(
    pixels: npt.NDArray[Any],
    truth: tuple[CellTruth, ...],
    settings: SimulationSettings,
    head_um: float,
) -> Image:
    scale = Scale.of(settings.pixel_size_um, head_um)
    found, measures = measured(contrast_of(pixels, scale), scale)
    head = np.zeros(len(found), np.int8)
    sperm = [cell for cell in truth if cell.kind == "sperm"]
    away = settings.pixel_size_um * np.hypot(
        found.y[:, None] - [cell.y_px for cell in sperm],
        found.x[:, None] - [cell.x_px for cell in sperm],
    )
    head[(away < NEAR_HEAD_UM).any(axis=1)] = -1
    if len(found):
        nearest = np.argmin(away, axis=0)
        head[nearest[away.min(axis=0) < ON_HEAD_UM]] = 1
    border = BORDER_UM / settings.pixel_size_um
    rows, columns = pixels.shape
    edge = np.minimum.reduce([found.y, found.x, rows - 1 - found.y, columns - 1 - found.x])
    inside = edge > border
    kind = f"{settings.contrast} {settings.magnification:g}x"
    kept = Measures(measures.alone[inside], measures.contrast[inside])
    return Image(kind, kept, head[inside])


def fitted(measures: Floats, head: npt.NDArray[np.int8], weight: Floats) -> Logistic:
    """Fit a logistic regression by Newton's method, with a small ridge on all but the constant."""
    low, high = np.percentile(measures, [0.5, 99.5], axis=0)
    clipped = np.clip(measures, low, high)
    model = Logistic(low, high, clipped.mean(axis=0), clipped.std(axis=0) + 1e-9, np.zeros(1))
    terms = model.terms(measures)
    ridge = np.full(terms.shape[1], RIDGE * len(terms))
    ridge[0] = 0.0
    weights = np.zeros(terms.shape[1])
    for _ in range(30):
        probability = 1 / (1 + np.exp(-np.clip(terms @ weights, -30, 30)))
        slope = terms.T @ (weight * (head - probability)) - ridge * weights
        curvature = (terms * (weight * probability * (1 - probability))[:, None]).T @ terms
        weights = weights + np.linalg.solve(curvature + np.diag(ridge + 1e-9), slope)
    return Logistic(model.low, model.high, model.mean, model.spread, weights)


def fit(sample: list[Image]) -> tuple[Logistic, Logistic]:
    """Fit both regressions: on spots alone, and beside their peers."""
    head = np.concatenate([image.head for image in sample])
    clear = head >= 0
    counts: dict[str, int] = defaultdict(int)
    for image in sample:
        counts[image.kind] += len(image.head)
    weight = np.concatenate([np.full(len(i.head), counts[i.kind] ** -0.5) for i in sample])[clear]
    weight /= weight.mean()
    alone = fitted(np.vstack([i.measures.alone for i in sample])[clear], head[clear], weight)
    beside = np.vstack(
        [i.measures.beside_peers(alone.probability(i.measures.alone)) for i in sample]
    )
    return alone, fitted(beside[clear], head[clear], weight)


def report(sample: list[Image], alone: Logistic, beside: Logistic) -> None:
    """Print the shares of heads found and of finds that are heads, for every kind of image."""
    kinds: dict[str, list[tuple[Floats, npt.NDArray[np.int8]]]] = defaultdict(list)
    for image in sample:
        measures = image.measures
        score = beside.probability(measures.beside_peers(alone.probability(measures.alone)))
        kinds[image.kind].append((score[image.head >= 0], image.head[image.head >= 0]))
    for kind, parts in sorted(kinds.items()):
        score, head = (np.concatenate(column) for column in zip(*parts, strict=True))
        found = score >= 0.5
        right = int(head[found].sum())
        print(
            f"{kind:16} {int(head.sum()):5} heads: {right / max(head.sum(), 1):.3f} of them "
            f"found, {right / max(found.sum(), 1):.3f} of the finds are heads"
        )


def main() -> None:
    """Fit, print how good it is on fields kept back, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=240)
    parser.add_argument("--first-seed", type=int, default=40_000)
    parser.add_argument("--out", type=Path, default=Path("curate/detection/heads.json"))
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.fields)
    kept_back = seeds[-max(1, len(seeds) // KEPT_BACK) :]
    sample = list(images(seeds[: -len(kept_back)]))
    alone, beside = fit(sample)
    report(list(images(kept_back)), alone, beside)
    numbers = {
        name: {
            field.name: [float(f"{value:.6g}") for value in getattr(model, field.name)]
            for field in fields(model)
        }
        for name, model in (("alone", alone), ("beside_peers", beside))
    }
    options.out.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
