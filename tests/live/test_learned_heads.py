"""Places by a network that has learned heads, beside those of the finder."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field as field_of

import numpy as np
import numpy.typing as npt
import pytest

from fgaf.acquire import load_rig
from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.acquire.simulation.scene import Scene
from fgaf.curate.detection.network import shipped
from fgaf.dataset.truth import head_masks
from fgaf.model.inference.segment import Segmenter
from fgaf.model.live.head_windows import HeadWindows
from fgaf.model.live.tracker import SEARCH_S, Tracker
from fgaf.model.training.train import train
from tests.model.learned import quick

SHAPE, PIXEL_UM, HEAD_UM = (480, 640), 5.86 / 40, 4.7
FRAMES, FIRST = 22, 8
Frames = list[tuple[npt.NDArray[np.uint8], dict[int, tuple[float, float]]]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """A small network that has learned from 48 simulated cells, within a minute."""
    cells = simulate_cells(48, seed=11, half_range_um=1.5, patch_px=64, masks=True)
    run = tmp_path_factory.mktemp("learned") / "run"
    train(cells, quick(epochs=20, batch=24, lr=0.003, shift_px=12), run, pictures=False)
    return Segmenter.load(run, tta=False)


def field(seed: int) -> Frames:
    """Frames of swimming cells, 1 µm off focus, with the centres of their outlines."""
    values = {"shape": list(SHAPE), "cells": 5, "debris": 6, "round_cells": 0, "seed": seed}
    values |= {"margin_um": 12, "outlines": "true", "depth_spread_um": 0.3}
    settings = load_rig("sim", [f"simulation.{key}={value}" for key, value in values.items()])
    assert settings.simulation is not None
    scene = Scene(settings.simulation)
    frames: Frames = []
    for number in range(FRAMES):
        pixels, truth = scene.expose(number * SEARCH_S, 0.005, 1.0)
        masks = head_masks(truth, SHAPE)
        pieces = {each.id: np.argwhere(masks == each.id + 1) for each in truth}
        heads = {key: piece.mean(axis=0) for key, piece in pieces.items() if len(piece)}
        frames.append((pixels, {key: (float(y), float(x)) for key, (y, x) in heads.items()}))
    return frames


@dataclass
class Followed:
    """Errors of the places found, px; whether each was segmented; numbers that each cell had."""

    off_px: list[float] = field_of(default_factory=list)
    segmented: list[bool] = field_of(default_factory=list)
    numbers: dict[tuple[int, int], set[int]] = field_of(default_factory=lambda: defaultdict(set))

    def follow(self, seed: int, frames: Frames, model: Segmenter | None) -> None:
        windows = None if model is None else HeadWindows(model, SHAPE, PIXEL_UM, HEAD_UM)
        tracker = Tracker(SHAPE, PIXEL_UM, HEAD_UM, shipped(), windows=windows)
        for count, (pixels, heads) in enumerate(frames):
            time_ns = round(count * SEARCH_S * 1e9)
            tracks = tracker.follow(pixels, time_ns)
            tracker.begin(tracker.search(pixels, time_ns), time_ns)
            for cell, (y, x) in heads.items():
                away = {math.hypot(t.y - y, t.x - x): t for t in tracks if t.seen}
                if count >= FIRST and away and min(away) * PIXEL_UM < 2:
                    self.off_px.append(min(away))
                    self.segmented.append(away[min(away)].segmented)
                    self.numbers[seed, cell].add(away[min(away)].number)


@pytest.mark.slow
def test_centres_are_no_worse_than_the_finders_and_cells_keep_their_numbers(
    model: Segmenter,
) -> None:
    with_heads, without = Followed(), Followed()
    for seed in (8, 9, 10):
        frames = field(seed)
        for followed, chosen in ((with_heads, model), (without, None)):
            followed.follow(seed, frames, chosen)
    assert len(with_heads.off_px) >= 0.9 * len(without.off_px) > 80
    assert np.mean(with_heads.segmented) > 0.9
    assert np.median(with_heads.off_px) <= np.median(without.off_px)
    assert {len(each) for each in with_heads.numbers.values()} == {1}
