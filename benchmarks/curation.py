"""How well cells are found and their focus suggested, against the simulator's truth.

Fields of 8 well separated cells over ±4 µm at 0.5 µm, immotile and swimming, in both contrasts; and
realistic fields: with one objective and camera, all else drawn, and with the objective drawn
too. Recall counts the sperm that stay in the frame through the whole stack, of
realistic fields those that can be seen in five planes; precision counts all tracks but those on
mirrored borders; the focus counts every sperm that `fgaf-curate auto` would keep or could have kept
(its crop inside the frame). Seeds of the default (70000...) were used for nothing else.

Run ``python benchmarks/curation.py [--fields N] [--first-seed S] [--case NAME]``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.realistic import draw_settings
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.candidates import focused
from fgaf.curate.detection.detect import can_be_seen
from fgaf.curate.detection.scale import Scale
from fgaf.curate.focus.suggest import CONFIDENT
from fgaf.curate.tracking.find import find_tracks
from fgaf.curate.tracking.follow import Track
from fgaf.dataset.truth import MIRRORED, CellTruth

HELD_OUT = 70_000
HALF_RANGE_UM, STEP_UM = 4.0, 0.5
INTERVAL_S, EXPOSURE_S = 0.033, 0.005
NEAR_UM = 2.5
BORDER_UM = 2.0
PATCH_PX = 96
LEAST_PLANES = 5
REALISTIC: Final = {
    "magnification": 40.0,
    "numerical_aperture": 0.65,
    "camera_pixel_um": 5.86,
    "bit_depth": 8,
    "shape": (600, 800),
}
"""Settings that are not drawn: one objective and camera."""


@dataclass
class Score:
    """What was found of some fields, and how far its focus is off."""

    sperm: int = 0
    found: int = 0
    tracks: int = 0
    right: int = 0
    confident: int = 0
    errors_um: list[float] = field(default_factory=list)
    all_errors_um: list[float] = field(default_factory=list)
    centre_um: list[float] = field(default_factory=list)
    detect_s: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Numbers to print: shares, and µm."""
        error = np.abs(self.errors_um)
        every = np.abs(self.all_errors_um)
        return {
            "cells": self.sperm,
            "recall": self.found / max(self.sperm, 1),
            "precision": self.right / max(self.tracks, 1),
            "focus_cells": len(error),
            "median_um": float(np.median(error)),
            "p90_um": float(np.percentile(error, 90)),
            "bias_um": float(np.mean(self.errors_um)),
            "dropped": len(every) - len(error),
            "all_median_um": float(np.median(every)),
            "all_p90_um": float(np.percentile(every, 90)),
            "centre_median_um": float(np.median(self.centre_um)),
            "detect_s": float(np.median(self.detect_s)),
        }


def plain(seed: int, contrast: str, motile: bool, **settings: Any) -> SimulationSettings:
    """Well separated cells and little else."""
    options = {"cells": 8, "shape": (700, 900), "separation_um": 22.0} | settings
    return SimulationSettings(seed=seed, contrast=contrast, motile=motile, **options)


def stack_of(
    settings: SimulationSettings,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], list[tuple[CellTruth, ...]]]:
    """Take one simulated stack: frames (P, Y, X), z (P,), the truth of each plane."""
    scene = Scene(settings)
    n = round(HALF_RANGE_UM / STEP_UM)
    z = np.arange(-n, n + 1) * STEP_UM
    planes = [scene.expose(k * INTERVAL_S, EXPOSURE_S, float(z[k])) for k in range(len(z))]
    return np.stack([pixels for pixels, _ in planes]), z, [truth for _, truth in planes]


def judge(score: Score, settings: SimulationSettings, visible_only: bool = False) -> None:
    """Add one field to a score."""
    frames, z, truth = stack_of(settings)
    pixel = settings.pixel_size_um
    shape = (frames.shape[1], frames.shape[2])
    start = time.perf_counter()
    tracks = find_tracks(frames, pixel, shape, np.arange(len(z)) * INTERVAL_S)
    score.detect_s.append(time.perf_counter() - start)
    candidates = focused(frames, z, tracks, pixel, cutoff_per_um=settings.cutoff)

    sperm = {cell.id for plane in truth for cell in plane if cell.kind == "sperm"}
    taken: dict[int, int] = {}
    for i, track in enumerate(candidate.track for candidate in candidates):
        distance = {c: distance_um(track, truth, c, pixel) for c in sperm - set(taken)}
        nearest = min(distance, key=lambda c: distance[c], default=None)
        if nearest is not None and distance[nearest] < NEAR_UM:
            taken[nearest] = i
            score.right += 1
        elif on_mirrored(track, truth, pixel):
            continue
        score.tracks += 1
    counted = seen_in(frames, truth, pixel) if visible_only else sperm
    for cell in sperm & counted:
        way = way_of(truth, cell)
        margin = BORDER_UM / pixel
        if way is None or not inside(way[:, :2], shape, margin):
            continue
        score.sperm += 1
        if cell not in taken:
            continue
        score.found += 1
        track, suggestion = candidates[taken[cell]].track, candidates[taken[cell]].suggestion
        score.centre_um.append(distance_um(track, truth, cell, pixel))
        if not inside(way[:, :2], shape, PATCH_PX / 2 + 4):
            continue
        nearest_plane = int(np.argmin(np.abs(z - suggestion.focus_um)))
        error = suggestion.focus_um - float(way[nearest_plane, 2])
        score.all_errors_um.append(error)
        if suggestion.confidence >= CONFIDENT:
            score.errors_um.append(error)


CASES: Final[dict[str, Callable[[int], SimulationSettings]]] = {
    **{
        f"{name} {'swimming' if motile else 'immotile'}": partial(
            plain, contrast=contrast, motile=motile
        )
        for name, contrast in (("bright field", "brightfield"), ("relief", "relief"))
        for motile in (False, True)
    },
    "realistic 40x": partial(draw_settings, **REALISTIC),
    "realistic 10x to 60x": partial(draw_settings, shape=REALISTIC["shape"]),
}


def seen_in(
    frames: npt.NDArray[Any], truth: list[tuple[CellTruth, ...]], pixel_um: float
) -> set[int]:
    """Cells that can be seen (`can_be_seen`) in `LEAST_PLANES` planes or more."""
    scale = Scale(pixel_um)
    planes: Counter[int] = Counter()
    for frame, cells in zip(frames, truth, strict=True):
        y, x = (np.array([getattr(cell, name) for cell in cells]) for name in ("y_px", "x_px"))
        seen = can_be_seen(scale.contrast(frame), scale.to_working(y), scale.to_working(x))
        planes.update(cell.id for cell, clear in zip(cells, seen, strict=True) if clear)
    return {cell for cell, count in planes.items() if count >= LEAST_PLANES}


def on_mirrored(track: Track, truth: list[tuple[CellTruth, ...]], pixel_um: float) -> bool:
    """Whether a track follows mirror images of heads, as in a border padded by mirroring."""
    away = [
        min(
            (
                np.hypot(track.y[k] - c.y_px, track.x[k] - c.x_px)
                for c in plane
                if c.kind == MIRRORED
            ),
            default=np.inf,
        )
        for k, plane in enumerate(truth)
        if track.seen[k]
    ]
    return bool(away) and float(np.median(away)) * pixel_um < NEAR_UM


def way_of(truth: list[tuple[CellTruth, ...]], cell: int) -> npt.NDArray[np.float64] | None:
    """(P, 3) y, x, focus of a cell; None where it leaves the field."""
    places = [next((c for c in plane if c.id == cell), None) for plane in truth]
    if any(place is None for place in places):
        return None
    return np.array([(p.y_px, p.x_px, p.focus_um) for p in places if p is not None])


def inside(way: npt.NDArray[np.float64], shape: tuple[int, int], margin: float) -> bool:
    """Whether places (P, 2) stay inside a frame with a margin, pixels."""
    return bool((way > margin).all() and (way < np.array(shape) - margin).all())


def distance_um(
    track: Track, truth: list[tuple[CellTruth, ...]], cell: int, pixel_um: float
) -> float:
    """Median distance of a track from a cell over the planes that hold both, µm."""
    away = [
        np.hypot(track.y[k] - c.y_px, track.x[k] - c.x_px)
        for k, plane in enumerate(truth)
        for c in plane
        if c.id == cell and track.seen[k]
    ]
    return float(np.median(away)) * pixel_um if away else float("inf")


def main() -> None:
    """Judge the cases and print one line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=6, help="fields per case")
    parser.add_argument("--first-seed", type=int, default=HELD_OUT)
    parser.add_argument("--case", choices=list(CASES), help="this one only")
    options = parser.parse_args()
    results = {}
    for name in [options.case] if options.case else CASES:
        score = Score()
        for seed in range(options.first_seed, options.first_seed + options.fields):
            judge(score, CASES[name](seed), visible_only=name.startswith("realistic"))
        results[name] = {k: round(v, 3) for k, v in score.summary().items()}
        print(name, results[name], flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
