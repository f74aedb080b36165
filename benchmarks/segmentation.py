"""Masks of heads: trained networks beside the shipped finder and thresholds, accuracy and latency.

    python benchmarks/segmentation.py dataset.h5 run run/model.xml

The archive holds masks; every method segments its test patches. A model is anything that
`fgaf-predict` takes: a run, a checkpoint or an export. The others learn nothing:

finder     the network of `fgaf-curate`, its heads drawn as ellipses of the found length and axis
otsu       contrast against the patch's median, cut at Otsu's threshold
local      the same contrast, cut above the mean of a surrounding twice as large as a head

`--shift N` moves every test patch by up to N whole pixels, so that its cell is no longer in the
middle; the border is mirrored.

Latency is for one patch and one thread: the methods take turns, and the medians are of the
processor's time, which other programs change less than the clock's.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from skimage.draw import ellipse
from skimage.filters import threshold_local, threshold_otsu

from fgaf.curate.detection.detect import detect
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.split import TEST
from fgaf.model.deploy.open_model import open_segmenter
from fgaf.model.metrics.heads import compare, judge
from fgaf.model.networks.augment import AugmentSettings, augment_with_masks

Mask = npt.NDArray[np.bool_]
Segment = Callable[[npt.NDArray[Any]], Mask]

WIDTH = 0.55
"""Width of a head relative to its length, which suits the simulated heads best."""
ROUNDS, CALLS = 15, 3
SHOWN = ("iou", "recall", "precision", "centre_median_px", "centre_p95_px")


@dataclass
class Method:
    """A way to get the mask (S, S) of one patch, and its times in seconds."""

    name: str
    segment: Segment
    seconds: list[float] = field(default_factory=list)


def model(path: Path) -> Method:
    """A trained network."""
    opened = open_segmenter(path, threads=1)
    return Method(str(path), lambda patch: opened.shares(patch)[0] >= opened.card.threshold)


def finder(pixel_um: float) -> Method:
    """The shipped finder; it knows no masks, so a head is an ellipse."""

    def segment(patch: npt.NDArray[Any]) -> Mask:
        found = detect(patch, pixel_um)
        mask = np.zeros(patch.shape, bool)
        for y, x, length, angle in zip(found.y, found.x, found.length, found.angle, strict=True):
            long = 0.5 * length * HEAD_UM[0] / pixel_um
            mask[ellipse(y, x, WIDTH * long, long, shape=mask.shape, rotation=-angle)] = True
        return mask

    return Method("finder", segment)


def contrast(patch: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Smoothed distance of every pixel from the background."""
    smooth = ndimage.gaussian_filter(patch.astype(np.float64), 1.0)
    return np.abs(smooth - np.median(smooth))


def cleaned(mask: Mask) -> Mask:
    """Holes filled, and specks and thin tails removed."""
    return np.asarray(ndimage.binary_opening(ndimage.binary_fill_holes(mask), iterations=2))


def otsu(patch: npt.NDArray[Any]) -> Mask:
    """Cut at Otsu's threshold."""
    answer = contrast(patch)
    return cleaned(answer > threshold_otsu(answer))


def local(pixel_um: float) -> Segment:
    """Cut above the local mean."""
    side = 2 * round(HEAD_UM[0] / pixel_um) + 1

    def segment(patch: npt.NDArray[Any]) -> Mask:
        answer = contrast(patch)
        return cleaned(answer > threshold_local(answer, side, method="mean") + answer.std())

    return segment


def measure(methods: list[Method], patches: npt.NDArray[Any]) -> None:
    """Time one patch after the other, the methods in turns."""
    for round_ in range(ROUNDS + 1):
        for method in methods:
            began = time.process_time()
            for k in range(CALLS):
                method.segment(patches[(CALLS * round_ + k) % len(patches)])
            if round_:  # the first round warms up
                method.seconds.append((time.process_time() - began) / CALLS)


def accuracy(method: Method, archive: Archive, least_px: int) -> dict[str, Any]:
    """Metrics of the test patches."""
    rows = np.flatnonzero(archive.split_of_rows() == TEST)
    results = [
        compare(method.segment(archive.images[row]), archive.masks[row], least_px) for row in rows
    ]
    return judge(results, archive, rows)


def moved(archive: Archive, shift_px: int) -> Archive:
    """The archive with its patches and masks moved by up to some pixels."""
    moves = AugmentSettings(turns=False, shift_px=shift_px, gain=0, offset=0, noise=0)
    images = torch.from_numpy(archive.images.astype(np.float32))[:, None]
    generator = torch.Generator().manual_seed(1)
    patches, masks = augment_with_masks(images, torch.from_numpy(archive.masks), moves, generator)
    pixels = patches[:, 0].numpy().astype(archive.images.dtype)
    return replace(archive, images=pixels, masks=masks.numpy())


def told(metrics: dict[str, Any], key: str) -> str:
    """A figure with its interval."""
    if metrics[key] is None:
        return "-"
    low, high = metrics["intervals"][key] or (metrics[key],) * 2
    return f"{metrics[key]:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Measure, print a table and then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--least-px", type=int, default=92, help="smallest region that is a head")
    parser.add_argument("--shift", type=int, default=0, help="pixels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    archive = Archive.read(options.archive)
    pixel_um = archive.header.optics.pixel_size_um
    if archive.masks is None or pixel_um is None:
        parser.error(f"{options.archive} has no masks, or no pixel size")
    archive = moved(archive, options.shift)
    methods = [model(path) for path in options.models]
    methods += [finder(pixel_um), Method("otsu", otsu), Method("local", local(pixel_um))]
    measure(methods, archive.images)
    results = {}
    print("method  ms  " + "  ".join(SHOWN), flush=True)
    for method in methods:
        metrics = accuracy(method, archive, options.least_px)
        ms = 1e3 * median(method.seconds)
        results[method.name] = {"ms": round(ms, 2), "metrics": metrics}
        figures = "  ".join(told(metrics, key) for key in SHOWN)
        print(f"{method.name}  {ms:.2f}  {figures}", flush=True)
    print(json.dumps({"processors": os.cpu_count(), "methods": results}))


if __name__ == "__main__":
    main()
