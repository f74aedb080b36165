"""Phase contrast and interference contrast against theory, and many objectives."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError

from fgaf.acquire.commands.main import simulate_cells
from fgaf.acquire.rig import BUILT_IN, load_rig
from fgaf.acquire.simulation.contrast import RING_MARGIN
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.painter import Canvas
from fgaf.acquire.simulation.reference import multislice
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import Contrast, MicroscopeSettings, SimulationSettings
from fgaf.acquire.simulation.sperm import Sperm
from fgaf.acquire.simulation.swimming import Pose
from fgaf.acquire.simulation.waves import Patch, Slices, WaveImager

CELL = Sperm(nucleus_loss=0.008, acrosome_loss=0.002, flagellum_loss=0.003, tail_length=9.0)


def scope(contrast: str, **settings: Any) -> MicroscopeSettings:
    return MicroscopeSettings.model_validate(
        {"contrast": contrast, "spherical_waves": 0.0} | settings
    )


def blob(settings: MicroscopeSettings, peak: float, sigma_um: float, room_um: float = 0) -> Slices:
    """One slice of phase: a round Gaussian, in a box with room around it."""
    n = round((3.5 * sigma_um + room_um) / settings.raster_um)
    at = settings.raster_um * np.arange(-n, n + 1)
    profile = np.exp(-(at**2) / (2 * sigma_um**2))
    phase = (peak * np.outer(profile, profile)).astype(np.float32)[None]
    return Slices(phase, float(at[0]), float(at[0]), settings.raster_um, 0.0, 0.3)


def image(settings: MicroscopeSettings, slices: Slices, depth_um: float = 0.0) -> Patch:
    return WaveImager(Microscope(settings)).image(slices, 0.0, 0.0, depth_um, order=3)


def centre(patch: Patch) -> float:
    return float(patch.intensity[-patch.top, -patch.left]) - 1


def expected_in_phase_contrast(settings: MicroscopeSettings, sigma_um: float) -> float:
    """Departure per radian in the middle of a round Gaussian, by sums over even grids."""
    cutoff, (inner, outer) = settings.cutoff, settings.ring
    ring = -1j * settings.ring_transmittance**0.5
    angle, radius = np.meshgrid(np.arange(24) * np.pi / 12, np.linspace(inner, outer, 7))
    f, unit = np.linspace(-1.8, 1.8, 121, retstep=True)
    fy, fx = np.meshgrid(f, f)
    total = 0.0
    for sy, sx, weight in zip(
        (radius * np.sin(angle)).ravel(),
        (radius * np.cos(angle)).ravel(),
        radius.ravel() / radius.sum(),
        strict=True,
    ):
        rho = np.hypot(fy + sy, fx + sx)
        on_ring = (rho > inner - RING_MARGIN) & (rho < outer + RING_MARGIN)
        pupil = np.where(rho > 1, 0, np.where(on_ring, ring, 1))
        f2 = (fy**2 + fx**2) * cutoff**2
        blob = 2 * np.pi * sigma_um**2 * np.exp(-2 * (np.pi * sigma_um) ** 2 * f2)
        total += weight * 2 * (np.conj(ring) * 1j * (pupil * blob).sum()).real
    return float(total * (unit * cutoff) ** 2 / abs(ring) ** 2)


@pytest.mark.parametrize("transmittance", [0.1, 0.25, 1.0])
@pytest.mark.parametrize(("contrast", "sign"), [("phase", 1), ("phase-negative", -1)])
def test_phase_contrast_in_focus_is_linear_in_the_phase(
    contrast: str, sign: int, transmittance: float
) -> None:
    settings = scope(contrast, ring_transmittance=transmittance)
    single, double = (centre(image(settings, blob(settings, p, 0.4))) for p in (0.01, 0.02))
    assert double / single == pytest.approx(2, rel=0.03)
    expected = sign * 0.01 * expected_in_phase_contrast(settings, 0.4)
    assert sign * expected < 0
    assert single == pytest.approx(expected, rel=0.06)


def test_a_halo_surrounds_a_thing_in_phase_contrast_and_balances_it() -> None:
    settings = scope("phase")
    patch = image(settings, blob(settings, 0.02, 0.5, room_um=12))
    relative = patch.intensity - 1
    y, x = np.indices(relative.shape)
    away = np.hypot(y + patch.top, x + patch.left) * settings.pixel_size_um
    halo = relative[(away > 1.8) & (away < 4)]
    assert relative[away < 0.5].max() < 0
    assert halo.mean() > 0.02 * abs(relative.min())
    assert abs(relative.sum()) < 0.05 * np.abs(relative).sum()


def test_the_middle_of_a_wide_thing_loses_its_phase_contrast() -> None:
    """What is wider than the halo reaches: its light goes through the ring too."""
    settings = scope("phase", ring=(0.3, 0.6))
    small, wide = (centre(image(settings, blob(settings, 0.02, s))) for s in (0.4, 3.0))
    assert abs(wide) < 0.35 * abs(small)


@pytest.mark.parametrize("contrast", ["phase", "phase-negative"])
@pytest.mark.parametrize("depth_um", [0.0, 1.5])
def test_a_ring_that_dims_nothing_loses_nothing(contrast: str, depth_um: float) -> None:
    settings = scope(contrast, ring_transmittance=1.0)
    relative = image(settings, blob(settings, 0.8, 0.8, room_um=10), depth_um).intensity - 1
    assert abs(relative.sum()) < 0.04 * np.abs(relative).sum()


@pytest.mark.parametrize("bias_deg", [40.0, 90.0, 140.0])
@pytest.mark.parametrize("shear_deg", [0.0, 45.0, 200.0])
def test_interference_contrast_shows_the_slope_along_the_shear(
    shear_deg: float, bias_deg: float
) -> None:
    settings = scope("dic", shear_deg=shear_deg, bias_deg=bias_deg, condenser_na=0.2)
    peak, sigma = 0.02, 1.0
    patch = image(settings, blob(settings, peak, sigma))
    y, x = np.indices(patch.intensity.shape) * settings.pixel_size_um
    y, x = y + patch.top * settings.pixel_size_um, x + patch.left * settings.pixel_size_um
    angle = np.radians(shear_deg)
    sy, sx = settings.shear_um / 2 * np.array([np.sin(angle), np.cos(angle)])
    ahead, behind = (
        peak * np.exp(-((y + s * sy) ** 2 + (x + s * sx) ** 2) / (2 * sigma**2)) for s in (1, -1)
    )
    expected = (ahead - behind) / np.tan(np.radians(bias_deg) / 2)
    assert np.abs(patch.intensity - 1 - expected).max() < 0.06 * expected.max()


def test_what_one_output_of_the_interferometer_lacks_the_other_has() -> None:
    bright, dark = (
        scope("dic", bias_deg=bias, shear_deg=angle) for bias, angle in ((60, 45), (120, 225))
    )
    slices = blob(bright, 0.8, 0.8)
    total = sum(
        np.sin(np.radians(each.bias_deg) / 2) ** 2 * (image(each, slices).intensity.astype(float))
        for each in (bright, dark)
    )
    alone = np.abs(image(bright, slices).intensity - 1).mean()
    assert abs(np.mean(total) - 1) < 0.01 * alone


OBJECTIVES: dict[str, dict[str, float]] = {
    "40x": {},
    "10x": {"magnification": 10, "numerical_aperture": 0.25, "condenser_na": 0.15},
    "20x": {"magnification": 20, "numerical_aperture": 0.45},
    "60x": {"magnification": 60, "numerical_aperture": 0.85, "condenser_na": 0.5},
    "60x water": {"magnification": 60, "numerical_aperture": 1.2, "medium_index": 1.333},
    "60x oil": {"magnification": 60, "numerical_aperture": 1.2, "medium_index": 1.515},
}
CASES = [
    ("phase", "40x"),
    ("phase-negative", "40x"),
    ("dic", "40x"),
    ("brightfield", "10x"),
    ("phase", "10x"),
    ("brightfield", "20x"),
    ("dic", "20x"),
    ("brightfield", "60x"),
    ("phase", "60x"),
    ("brightfield", "60x water"),
    ("dic", "60x oil"),
]


@pytest.mark.parametrize(("contrast", "objective"), CASES)
def test_every_objective_agrees_with_the_multislice_method(contrast: str, objective: str) -> None:
    settings = MicroscopeSettings.model_validate({"contrast": contrast} | OBJECTIVES[objective])
    pixel, model = settings.pixel_size_um, WaveImager(Microscope(settings))
    side = max(2 * round(10 / pixel), 48)
    place = side / 2 + 0.3, side / 2 + 1.4
    pose = Pose(0.0, 0.0, 0.0, yaw=0.4, pitch=0.1)
    slices = CELL.slices(pose, CELL.flagellum(pose, 0.0), settings)
    plain = multislice(model.microscope, slices, place, 0.8, side, 2, settings.finer)
    canvas = Canvas((side, side), 0.8)
    canvas.multiply(model.image(slices, *place, 0.8, order=2))
    assert np.sqrt(np.mean((canvas.relative() - plain) ** 2)) < 0.08 * np.std(plain)


@pytest.mark.parametrize("contrast", ["brightfield", "phase", "dic"])
@pytest.mark.parametrize("depth_um", [0.0, 2.0, 5.0])
def test_the_usual_number_of_source_points_is_enough(contrast: str, depth_um: float) -> None:
    settings = MicroscopeSettings.model_validate({"contrast": contrast})
    model, pose = WaveImager(Microscope(settings)), Pose(0.0, 0.0, 0.0, yaw=0.4)
    slices = CELL.slices(pose, CELL.flagellum(pose, 0.0), settings)
    usual, dense = (model.image(slices, 0.0, 0.0, depth_um, order=n) for n in (None, 8))
    error = np.sqrt(np.mean((usual.intensity - dense.intensity) ** 2))
    assert error < 0.11 * dense.intensity.std()


@pytest.mark.parametrize("contrast", ["phase", "phase-negative", "dic"])
def test_a_field_of_each_contrast_has_things_in_it_and_even_ground(contrast: str) -> None:
    settings = SimulationSettings.model_validate(
        {"contrast": contrast, "shape": (200, 260), "cells": 2, "mottle": 0.0}
    )
    scene = Scene(settings)
    pixels = scene.expose(0.0, 0.005, 0.5)[0].astype(float)
    assert np.median(pixels) == pytest.approx(255 * 6000 / 10000, rel=0.1)
    assert pixels.std() > 8


def test_commands_and_rigs_know_every_contrast() -> None:
    (option,) = (each for each in simulate_cells.params if each.name == "contrast")
    assert tuple(option.type.choices) == get_args(Contrast)  # type: ignore[attr-defined]
    shown = [load_rig(name).simulation.contrast for name in BUILT_IN]
    assert set(shown) == set(get_args(Contrast))


@pytest.mark.parametrize(
    "wrong",
    [
        {"contrast": "darkfield"},
        {"ring": (0.5, 0.4)},
        {"ring": (0.5, 1.2)},
        {"ring_transmittance": 0.0},
        {"bias_deg": 0.0},
        {"shear_um": -1.0},
    ],
    ids=str,
)
def test_impossible_optics_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MicroscopeSettings.model_validate(wrong)
