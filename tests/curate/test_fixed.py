"""Marks on the sensor are removed from a stack; what changes with focus stays."""

from __future__ import annotations

import numpy as np
import pytest

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.fixed import without_fixed
from fgaf.curate.detection.scale import Scale
from fgaf.curate.tracking.follow import link, search

SETTINGS = SimulationSettings(
    seed=9, shape=(400, 500), cells=4, debris=3, round_cells=0, motile=False, margin_um=12
)
MARK = (60.0, 430.0)


def frames(marked: bool) -> list[np.ndarray]:
    field = Scene(SETTINGS)
    rows, columns = np.mgrid[:400, :500]
    r = np.hypot((rows - MARK[0]) / 10, (columns - MARK[1]) / 16)
    light = 1 - 0.35 * np.clip((1 - r) * 5, 0, 1) * marked
    planes = [field.expose(0.03 * k, 0.005, -3.0 + 0.5 * k)[0] for k in range(13)]
    return [np.rint(plane * light).astype(plane.dtype) for plane in planes]


@pytest.fixture(scope="module")
def tracks() -> dict[bool, np.ndarray]:
    found = {}
    for marked in (False, True):
        planes = frames(marked)
        linked = link(search(planes, SETTINGS.pixel_size_um), SETTINGS.pixel_size_um, (400, 500))
        found[marked] = np.array([(track.y[6], track.x[6]) for track in linked])
    return found


def test_a_mark_like_a_head_is_no_cell(tracks: dict[bool, np.ndarray]) -> None:
    assert len(tracks[True]) == len(tracks[False])
    assert np.hypot(*(tracks[True] - MARK).T).min() > 20


def test_cells_that_lie_still_are_not_marks(tracks: dict[bool, np.ndarray]) -> None:
    _, truth = Scene(SETTINGS).expose(0.0, 0.005, 0.0)
    for cell in truth:
        if cell.kind == "sperm":
            away = np.hypot(*(tracks[True] - (cell.y_px, cell.x_px)).T)
            assert away.min() * SETTINGS.pixel_size_um < 2.5


def test_only_the_mark_is_changed() -> None:
    scale = Scale(SETTINGS.pixel_size_um)
    clean, marked = ([scale.contrast(plane) for plane in frames(m)] for m in (False, True))
    for plane, changed in zip(clean, without_fixed(marked), strict=True):
        assert np.abs(changed - plane).max() < 0.25
        assert np.median(np.abs(changed - plane)) < 0.01
    assert np.abs(marked[0] - clean[0]).max() > 0.25


def test_few_planes_are_left_as_they_are() -> None:
    planes = [np.ones((8, 8), np.float32)] * 3
    assert all(a is b for a, b in zip(without_fixed(planes), planes, strict=True))
