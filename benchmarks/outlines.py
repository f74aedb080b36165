"""Compare the proposed outline of a head with its true one, on simulated fields.

``python benchmarks/outlines.py`` prints the mean intersection over union by the distance from
focus: of the ellipse that `fgaf-curate open` proposes, and of an active contour that begins with
it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import morphological_chan_vese

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.outline import proposed_head
from fgaf.curate.detection.scale import Scale
from fgaf.dataset.storage.outlines import fill

SHAPE, MARGIN_PX = (260, 300), 15
HEIGHTS_UM = np.arange(-4, 4.5, 0.5)
WITHIN_UM = 2.5
INTERVAL_S, EXPOSURE_S = 0.033, 0.005
BAND_PX, ROUNDS = 2, 10

Mask = npt.NDArray[np.bool_]


def contour(image: npt.NDArray[np.uint8], start: Mask) -> Mask:
    """An active contour (Chan-Vese) of what differs from the ground, in a band around a mask."""
    smooth = ndimage.gaussian_filter(image.astype(np.float64), 1)
    far, farther = (ndimage.binary_dilation(start, iterations=n * BAND_PX) for n in (1, 3))
    differs = np.abs(smooth - np.median(smooth[farther & ~far]))
    found = morphological_chan_vese(
        np.where(far, differs, 0), ROUNDS, init_level_set=start, smoothing=2
    ).astype(np.bool_)
    within = (found & far) | ndimage.binary_erosion(start, iterations=BAND_PX)
    return np.asarray(ndimage.binary_fill_holes(within))


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())


def measure(contrast: str, seed: int, cells: int) -> dict[int, list[tuple[float, float]]]:
    """Overlaps of ellipse and contour with the true outline, by µm from focus, rounded."""
    scene = Scene(
        SimulationSettings(
            seed=seed, contrast=contrast, shape=SHAPE, cells=cells, motile=False, debris=0,
            outlines=True,
        )
    )  # fmt: skip
    scale = Scale(scene.settings.optics.pixel_size_um)
    overlaps: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for plane, height in enumerate(HEIGHTS_UM):
        image, shown = scene.expose(plane * INTERVAL_S, EXPOSURE_S, float(height))
        for cell in shown:
            place, away = np.array((cell.y_px, cell.x_px)), float(height) - cell.focus_um
            inside = (place >= MARGIN_PX).all() and (place < np.array(SHAPE) - MARGIN_PX).all()
            if not (cell.outline_px and inside and abs(away) <= WITHIN_UM):
                continue
            true = np.zeros(SHAPE, np.uint8)
            fill(true, np.array(cell.outline_px), 1)
            ellipse = proposed_head(image, cell.y_px, cell.x_px, scale)
            overlaps[round(away)].append(
                (overlap(ellipse, true > 0), overlap(contour(image, ellipse), true > 0))
            )
    return overlaps


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[81])
    parser.add_argument("--cells", type=int, default=6)
    options = parser.parse_args()
    print(f"{'contrast':12}{'from focus, µm':>16}{'heads':>8}{'ellipse':>10}{'contour':>10}")
    for contrast in ("brightfield", "phase"):
        joined: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for seed in options.seeds:
            for away, found in measure(contrast, seed, options.cells).items():
                joined[away] += found
        for away in sorted(joined):
            ellipse, active = np.mean(joined[away], axis=0)
            print(f"{contrast:12}{away:16d}{len(joined[away]):8d}{ellipse:10.3f}{active:10.3f}")


if __name__ == "__main__":
    main()
