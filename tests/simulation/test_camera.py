"""What the camera adds: noise as set, dust that stays, processing, JPEG, mirrored bands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from fgaf.acquire.simulation.camera import light, sensor
from fgaf.acquire.simulation.camera.mirror import mirror_truth, pad
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.dataset.truth import CellTruth

EXPOSURE_S = 0.005
EMPTY: dict[str, Any] = {
    "shape": (120, 160), "cells": 0, "debris": 0, "round_cells": 0, "mottle": 0.0, "unevenness": 0.0
}  # fmt: skip
QUIET: dict[str, Any] = {"photons": 28_000.0, "full_well": 45_000.0, "read_noise": 7.0}


def expose(relative: np.ndarray, **settings: Any) -> np.ndarray:
    return sensor.expose(
        relative, EXPOSURE_S, SimulationSettings(**settings), np.random.default_rng(0)
    ).astype(float)


def ground_noise(image: np.ndarray) -> float:
    """Median absolute deviation as r.m.s., over the ground's level."""
    level = np.median(image)
    return float(1.4826 * np.median(np.abs(image - level)) / level)


FLAT = np.ones((200, 200), np.float32)


def test_a_quiet_camera_has_the_noise_of_its_electrons() -> None:
    image = expose(FLAT, bit_depth=12, **QUIET)
    assert ground_noise(image) == pytest.approx(0.006, abs=0.0003)


@pytest.mark.parametrize("denoise", ["gaussian", "median", "adaptive"])
def test_denoising_takes_noise_and_keeps_large_things(denoise: str) -> None:
    step = FLAT.copy()
    step[:, 100:] = 0.7
    plain, smooth = (
        expose(step, bit_depth=12, denoise=each, photons=6000.0) for each in ("none", denoise)
    )
    assert smooth[:, :80].std() < 0.6 * plain[:, :80].std()
    for part in (np.s_[:, :80], np.s_[:, 120:]):
        assert smooth[part].mean() == pytest.approx(plain[part].mean(), rel=0.01)


def test_the_adaptive_filter_keeps_an_edge_that_a_gaussian_blurs() -> None:
    step = FLAT.copy()
    step[:, 100:] = 0.5
    slopes = [
        np.abs(np.diff(expose(step, bit_depth=12, denoise=each, denoise_px=1.5).mean(axis=0))).max()
        for each in ("none", "adaptive", "gaussian")
    ]
    assert slopes[1] > 0.8 * slopes[0]
    assert slopes[2] < 0.5 * slopes[0]


def test_gamma_lifts_dark_parts_and_leaves_black_and_white() -> None:
    ramp = np.linspace(0, 1, 200, dtype=np.float32)[None, :].repeat(20, axis=0)
    plain, lifted = (
        expose(ramp, bit_depth=12, photons=1e6, full_well=1e6, read_noise=0.0, gamma=g)
        for g in (1.0, 0.5)
    )
    middle = lifted.mean(axis=0) / 4095
    assert middle[[0, -1]] == pytest.approx([0, 1], abs=0.01)
    assert middle[50] == pytest.approx((plain.mean(axis=0)[50] / 4095) ** 0.5, abs=0.01)


def test_sharpening_overshoots_at_an_edge() -> None:
    step = FLAT.copy()
    step[:, 100:] = 0.5
    sharp = expose(step, bit_depth=12, photons=1e6, full_well=2e6, sharpen=1.0).mean(axis=0) / 2047
    assert sharp.max() > 1.1
    assert sharp[:80] == pytest.approx(1.0, abs=0.01)


def test_jpeg_departs_more_at_lower_quality_and_repeats_itself() -> None:
    texture = 1 + 0.1 * np.random.default_rng(1).standard_normal((160, 160), dtype=np.float32)
    plain = expose(texture)
    departures = [
        np.abs(expose(texture, jpeg_quality=quality) - plain).mean() for quality in (95, 70, 30)
    ]
    assert 0 < departures[0] < departures[1] < departures[2] < 15
    np.testing.assert_array_equal(
        expose(texture, jpeg_quality=70), expose(texture, jpeg_quality=70)
    )


def test_dust_is_the_same_in_all_planes_and_at_all_times() -> None:
    settings = SimulationSettings(
        **(EMPTY | QUIET | {"dust": 12, "bit_depth": 12, "photons": 1e6, "full_well": 1.6e6})
    )
    scene = Scene(settings)
    images = [scene.expose(t, EXPOSURE_S, z) for t, z in ((0.0, 0.0), (1.0, 3.0), (2.0, -50.0))]
    for pixels, truth in images[1:]:
        assert np.abs(pixels.astype(float) - images[0][0]).max() < 60
        assert truth == images[0][1]
    assert [cell.kind for cell in images[0][1]] == ["dust"] * 12
    assert np.ptp(images[0][0].astype(float)) > 200


def test_dust_stays_when_the_specimen_changes() -> None:
    lamps = [
        Scene(SimulationSettings(**(EMPTY | {"seed": seed, "dust": 5, "dust_seed": 4})))
        for seed in (1, 2)
    ]
    first, second = (scene.expose(0.0, EXPOSURE_S, 0.0)[1] for scene in lamps)
    assert first == second


@pytest.mark.parametrize(("name", "value"), [("vignetting", 0.4), ("tilt", 0.3)])
def test_light_falls_off_as_set(name: str, value: float) -> None:
    settings = SimulationSettings(shape=(300, 400), unevenness=0.0, mottle=0.0, **{name: value})
    lamp = light.illumination(settings)
    assert lamp.mean() == pytest.approx(1, abs=1e-3)
    low = lamp.min() / (lamp[150, 200] if name == "vignetting" else lamp.max())
    assert low == pytest.approx(1 - value if name == "vignetting" else 0.7 / 1.3, abs=0.01)


def test_a_mirrored_band_repeats_what_lies_beside_it() -> None:
    image = np.arange(40 * 60).reshape(40, 60)
    padded = pad(image, 8)
    assert padded.shape == image.shape
    np.testing.assert_array_equal(padded[8:-8, 8:-8], image[8:-8, 8:-8])
    np.testing.assert_array_equal(padded[:, :8], padded[:, 8:16][:, ::-1])
    np.testing.assert_array_equal(padded[-8:], padded[-16:-8][::-1])


def test_mirrored_heads_are_marked_and_hidden_ones_left_out() -> None:
    def cell(number: int, y: float, x: float, kind: str = "sperm") -> CellTruth:
        return CellTruth(id=number, kind=kind, y_px=y, x_px=x, focus_um=1.0, yaw_rad=0.3)

    cells = [cell(0, 50, 60), cell(1, 12, 60), cell(2, 5, 60), cell(3, 11, 150), cell(4, 12, 9)]
    cells.append(cell(5, 12, 30, "cocci"))
    seen = list(mirror_truth(cells, (100, 200), 10))
    originals = [c for c in seen if c.kind != "mirrored"]
    assert [c.id for c in originals] == [0, 1, 3, 5]
    mirrored = [c for c in seen if c.kind == "mirrored"]
    assert [(c.id, c.y_px, c.x_px) for c in mirrored] == [(1, 7.0, 60.0), (3, 8.0, 150.0)]
    assert [c.yaw_rad for c in mirrored] == pytest.approx([-0.3, -0.3])


def test_a_mirrored_head_looks_like_its_original() -> None:
    settings = SimulationSettings(
        shape=(200, 200), cells=6, debris=0, round_cells=0, motile=False, margin_um=6.0,
        separation_um=6.0, mirror_px=40, photons=1e6, full_well=1.6e6, quick=True, seed=2,
    )  # fmt: skip
    pixels, truth = Scene(settings).expose(0.0, EXPOSURE_S, 1.0)
    twins = [c for c in truth if c.kind == "mirrored"]
    assert twins
    for twin in twins:
        assert any(c.id == twin.id and c.kind == "sperm" for c in truth)
        y, x = round(twin.y_px), round(twin.x_px)
        beside = [min(max(place, 79 - place), 319 - place) for place in (y, x)]
        assert pixels[y, x] == pixels[beside[0], beside[1]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"jpeg_quality": 0},
        {"jpeg_quality": 90, "bit_depth": 12},
        {"denoise": "strong"},
        {"mirror_px": 60, "shape": (200, 400)},
        {"gamma": 0.0},
    ],
    ids=str,
)
def test_impossible_cameras_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SimulationSettings(**wrong)
