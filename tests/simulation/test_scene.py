"""The field: the same whenever asked, and as its truth says."""

from __future__ import annotations

import gc
import weakref
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError

from fgaf.acquire.simulation.microscope import FADE_UM, HORIZON_UM
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import Contrast, SimulationSettings
from fgaf.dataset.truth import CellTruth

EXPOSURE_S = 0.005


def field(**settings: Any) -> Scene:
    small: dict[str, Any] = {"shape": (240, 320), "cells": 2, "debris": 2, "round_cells": 1}
    return Scene(SimulationSettings(**(small | settings)))


def lone_head(seed: int, contrast: Contrast) -> Scene:
    return field(
        seed=seed,
        contrast=contrast,
        shape=(192, 192),
        cells=1,
        debris=0,
        round_cells=0,
        motile=False,
        margin_um=13.0,
        bit_depth=12,
        mottle=0.0,
    )


def near(image: np.ndarray, cell: CellTruth, radius: float = 20.0) -> np.ndarray:
    y, x = np.indices(image.shape)
    return np.hypot(y - cell.y_px, x - cell.x_px) < radius


def test_an_exposure_follows_from_its_arguments_alone() -> None:
    calls = [(0.5, EXPOSURE_S, 1.0), (0.0, EXPOSURE_S, -2.0), (0.5, 0.002, 1.0)]
    first, second = field(seed=4), field(seed=4)
    forth = [first.expose(*call) for call in calls]
    back = [second.expose(*call) for call in reversed(calls)][::-1]
    for (pixels, truth), (again, truth_again) in zip(forth, back, strict=True):
        np.testing.assert_array_equal(pixels, again)
        assert truth == truth_again


def test_a_scene_takes_its_tables_along_when_it_goes() -> None:
    scene = field(droplet=True)
    scene.expose(0.0, 0.005, 1.0)
    tables = [weakref.ref(part) for part in (scene._painter, scene._painter.waves.windows)]
    gc.disable()
    try:
        del scene
        assert [table() for table in tables] == [None, None]
    finally:
        gc.enable()


PINNED: dict[Contrast, list[int]] = {
    "brightfield": [146, 151, 153, 159, 159, 152, 148, 157, 141, 147, 141, 144, 149, 168],
    "relief": [146, 150, 153, 150, 158, 170, 172, 157, 93, 133, 195, 175, 88, 158],
}


@pytest.mark.parametrize("contrast", PINNED)
def test_the_usual_field_stays_as_it_is(contrast: Contrast) -> None:
    scene = Scene(SimulationSettings(contrast=contrast, shape=(96, 128), cells=3))
    row = scene.expose(0.5, EXPOSURE_S, 1.0)[0][40, 4::9].astype(int)
    assert np.abs(row - PINNED[contrast]).max() <= 1


def test_seeds_times_and_depths_differ() -> None:
    scene = field(seed=4)
    base, _ = scene.expose(0.0, EXPOSURE_S, 0.0)
    others = [
        scene.expose(0.001, EXPOSURE_S, 0.0)[0],
        scene.expose(0.0, EXPOSURE_S, 0.001)[0],
        field(seed=5).expose(0.0, EXPOSURE_S, 0.0)[0],
    ]
    assert not any(np.array_equal(base, other) for other in others)


def test_the_frame_is_as_asked() -> None:
    pixels, truth = field(bit_depth=12).expose(0.0, EXPOSURE_S, 0.0)
    assert pixels.shape == (240, 320)
    assert pixels.dtype == np.uint16
    assert [cell.kind for cell in truth] == ["sperm"] * 2 + ["debris"] * 2 + ["cell"]
    assert len({cell.id for cell in truth}) == len(truth)


def sharpness(image: np.ndarray, cell: CellTruth, contrast: Contrast) -> float:
    """Grows towards focus: relief shows edges there, bright field loses all contrast."""
    inside = near(image, cell)
    if contrast == "brightfield":
        return -float(image[inside].std())
    slope_y, slope_x = np.gradient(image)
    return float((slope_y**2 + slope_x**2)[inside].sum())


@pytest.mark.parametrize(
    ("contrast", "bias", "worst"), [("brightfield", 0.1, 0.35), ("relief", 0.2, 0.5)]
)
def test_a_head_is_in_focus_where_its_truth_says(
    contrast: Contrast, bias: float, worst: float
) -> None:
    errors = []
    for seed in range(6):
        scene = lone_head(seed, contrast)
        cell = scene.expose(0.0, EXPOSURE_S, 0.0)[1][0]
        depths = np.arange(-1.2, 1.21, 0.2)
        curve = [
            sharpness(
                scene.expose(0, EXPOSURE_S, cell.focus_um + d)[0].astype(float), cell, contrast
            )
            for d in depths
        ]
        k = int(np.clip(np.argmax(curve), 2, len(curve) - 3))
        parabola = np.polyfit(depths[k - 2 : k + 3], curve[k - 2 : k + 3], 2)
        errors.append(-parabola[1] / 2 / parabola[0])
    assert abs(np.mean(errors)) < bias
    assert np.abs(errors).max() < worst


def test_bright_field_turns_from_bright_to_dark_through_focus() -> None:
    scene = lone_head(3, "brightfield")
    cell = scene.expose(0.0, EXPOSURE_S, 0.0)[1][0]
    centres = []
    for depth in (-1.5, 1.5):
        image = scene.expose(0.0, EXPOSURE_S, cell.focus_um + depth)[0].astype(float)
        centres.append(image[near(image, cell, 6)].mean() / np.median(image))
    assert centres[0] > 1.03
    assert centres[1] < 0.97


def test_relief_lights_a_head_from_one_side() -> None:
    """Along the slit's normal (x) one flank is bright and the other dark."""
    scene = lone_head(0, "relief")
    cell = scene.expose(0.0, EXPOSURE_S, 0.0)[1][0]
    image = scene.expose(0.0, EXPOSURE_S, cell.focus_um)[0].astype(float) / 2457
    x = np.arange(image.shape[1])[None, :]
    inside = near(image, cell, 13)
    left, right = (inside & (s * (x - cell.x_px) > 3) for s in (-1, 1))
    bright, dark = sorted((image[left].mean(), image[right].mean()), reverse=True)
    assert bright > 1.08
    assert bright - dark > 0.2


def test_swimming_cells_move_as_their_truth_tells() -> None:
    scene = field(seed=2, cells=3, shape=(600, 600), debris=0, round_cells=0)
    _, before = scene.expose(0.0, EXPOSURE_S, 0.0)
    _, after = scene.expose(0.2, EXPOSURE_S, 0.0)
    for a, b in zip(before, after, strict=True):
        way = np.hypot(b.y_px - a.y_px, b.x_px - a.x_px) * scene.settings.pixel_size_um
        assert 3 < way < 30
        assert 0 < abs(b.focus_um - a.focus_um) < 1.5
        assert (a.yaw_rad, a.pitch_rad, a.roll_rad) != (b.yaw_rad, b.pitch_rad, b.roll_rad)


def test_frozen_cells_stay() -> None:
    scene = field(motile=False)
    assert scene.expose(0.0, EXPOSURE_S, 0.0)[1] == scene.expose(3.0, EXPOSURE_S, 1.0)[1]


def test_cells_keep_their_distance() -> None:
    scene = field(
        cells=8, shape=(1200, 1920), debris=0, round_cells=0, motile=False, separation_um=40.0
    )
    _, truth = scene.expose(0.0, EXPOSURE_S, 0.0)
    places = np.array([(c.y_px, c.x_px) for c in truth]) * scene.settings.pixel_size_um
    distance = np.hypot(*(places[:, None] - places[None]).T)
    assert len(truth) == 8
    assert distance[~np.eye(8, dtype=bool)].min() >= 40


def test_depths_lie_about_the_centre_and_spread_as_set() -> None:
    scene = field(cells=30, shape=(1200, 1920), debris=0, center_um=120.0, depth_spread_um=2.0)
    _, truth = scene.expose(0.0, 1e-6, 120.0)
    focus = np.array([c.focus_um for c in truth if c.kind == "sperm"])
    assert np.abs(focus - 120).max() < 2.3
    assert np.ptp(focus) > 2


def test_cells_that_swam_away_come_back() -> None:
    scene = field(cells=12, shape=(1000, 1000), debris=0, round_cells=0)
    seen = [len(scene.expose(t, EXPOSURE_S, 0.0)[1]) for t in (0.0, 60.0, 120.0, 180.0)]
    assert seen[0] == 12
    assert sum(seen[1:]) >= 3


@pytest.mark.parametrize("thing", ["pipette", "droplet"])
@pytest.mark.parametrize("contrast", get_args(Contrast))
def test_pipette_and_droplet_come_when_asked(thing: str, contrast: Contrast) -> None:
    scenes = [
        field(seed=1, cells=0, debris=0, round_cells=0, contrast=contrast, **{thing: asked})
        for asked in (False, True)
    ]
    empty, full = (scene.expose(0.0, EXPOSURE_S, 0.5) for scene in scenes)
    changed = np.abs(full[0].astype(float) - empty[0]) > 25
    assert 0.002 < changed.mean() < 0.6
    assert [c.kind for c in full[1]] == (["pipette"] if thing == "pipette" else [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"bit_depth": 10},
        {"numerical_aperture": 1.2},
        {"condenser_na": 0.8},
        {"beat_hz": (20.0, 8.0)},
        {"colour": "blue"},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SimulationSettings(**wrong)


@pytest.mark.parametrize("contrast", ["brightfield", "relief"])
@pytest.mark.parametrize("focus_um", [40.0, 98.0, -1000.0])
def test_a_field_far_out_of_focus_is_ground_and_costs_nothing(
    contrast: Contrast, focus_um: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = field(seed=1, contrast=contrast, pipette=False)
    empty = field(seed=1, contrast=contrast, cells=0, debris=0, round_cells=0)
    sides: list[int] = []
    windows = scene._painter.waves.windows
    make = windows.get
    monkeypatch.setattr(
        windows, "get", lambda shape, order: (sides.extend(shape), make(shape, order))[1]
    )
    pixels, truth = scene.expose(0.0, EXPOSURE_S, focus_um)
    np.testing.assert_array_equal(pixels, empty.expose(0.0, EXPOSURE_S, focus_um)[0])
    assert truth
    assert not sides


def test_contrast_falls_without_a_step_until_it_is_ground() -> None:
    scope = field()._painter.waves.microscope
    assert scope.fade(np.array([0, -FADE_UM])).tolist() == [1, 1]
    assert scope.fade(np.array([HORIZON_UM, -1e4])).tolist() == [0, 0]
    assert 0 < float(scope.fade(HORIZON_UM - 0.01)) < 0.01
