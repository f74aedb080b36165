"""Objects that absorb, against theory and against the plain model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fgaf.acquire.simulation.flagellum import FlagellumImager
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.reference import multislice
from fgaf.acquire.simulation.settings import Contrast, MicroscopeSettings
from fgaf.acquire.simulation.sperm import Sperm
from fgaf.acquire.simulation.swimming import Pose, Swimming
from fgaf.acquire.simulation.waves import Patch, Slices, WaveImager

IDEAL = MicroscopeSettings(spherical_waves=0)


def slab(radius_um: float, per_um: complex, thick_um: float, edge_um: float = 0.4) -> Slices:
    """A disc of even phase (real) and loss (imaginary) per µm, in slices about its middle."""
    settings, count = IDEAL, 4
    n = round((radius_um + 4 * edge_um) / settings.raster_um)
    at = settings.raster_um * np.arange(-n, n + 1)
    away = np.hypot(at[:, None], at)
    disc = np.clip((radius_um - away) / edge_um + 0.5, 0, 1)
    phase = np.repeat((disc * per_um * thick_um / count)[None], count, axis=0)
    step = thick_um / count * settings.reduction
    top = (count - 1) / 2 * step
    return Slices(
        phase.astype(np.complex64), float(at[0]), float(at[0]), settings.raster_um, top, step
    )


def middle(patch: Patch) -> float:
    return float(patch.intensity[-patch.top, -patch.left])


def image(slices: Slices, depth_um: float) -> Patch:
    return WaveImager(Microscope(IDEAL)).image(slices, 0.0, 0.0, depth_um, order=3)


@pytest.mark.parametrize("thick_um", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("per_um", [0.05j, 0.3j, 0.5 + 0.3j])
def test_a_wide_absorber_follows_beer_and_lambert(per_um: complex, thick_um: float) -> None:
    centre = middle(image(slab(6.0, per_um, thick_um), 0.0))
    assert centre == pytest.approx(np.exp(-2 * per_um.imag * thick_um), abs=0.012)


def test_a_weak_absorber_is_dark_on_both_sides_and_darkest_in_focus() -> None:
    weak = slab(0.5, 0.05j, 0.5)
    contrast = {z: middle(image(weak, z)) - 1 for z in (-1.0, -0.4, 0.0, 0.4, 1.0)}
    assert all(contrast[z] < 0 for z in (-0.4, 0.0, 0.4))
    assert contrast[0.0] == min(contrast.values())
    assert contrast[0.4] == pytest.approx(contrast[-0.4], rel=0.02)
    assert contrast[1.0] == pytest.approx(contrast[-1.0], abs=1e-3)


@pytest.mark.parametrize("depth_um", [-3.0, 0.0, 1.5])
def test_light_is_lost_where_it_is_absorbed_and_nowhere_else(depth_um: float) -> None:
    """So smooth that no light leaves the pupil."""
    smooth = slab(4.0, 0.2j, 1.0, edge_um=6.0)
    patch = image(smooth, depth_um)
    lost = (1 - np.exp(-2 * smooth.phase.imag.sum(axis=0))).sum() * smooth.pitch_um**2
    gone = (1 - patch.intensity).sum() * IDEAL.pixel_size_um**2
    assert gone == pytest.approx(lost, rel=0.01)


@pytest.mark.parametrize("contrast", ["brightfield", "relief"])
@pytest.mark.parametrize("strength", [1e-3j, 8e-4 + 5e-4j])
def test_a_bead_that_absorbs_is_a_weak_small_absorber(
    contrast: Contrast, strength: complex
) -> None:
    settings = MicroscopeSettings(contrast=contrast)
    model = WaveImager(Microscope(settings))
    sigma, n = 0.11, 12
    at = settings.raster_um * np.arange(-n, n + 1)
    profile = np.exp(-(at**2) / (2 * sigma**2))
    weak = np.outer(profile, profile)[None] * (strength / (2 * np.pi * sigma**2))
    slices = Slices(
        weak.astype(np.complex64), float(at[0]), float(at[0]), settings.raster_um, 0, 0.3
    )
    bead = np.zeros((64, 64), np.float32)
    place = np.array([31.75]), np.array([32.5])
    FlagellumImager(model.windows).add(bead, *place, np.array([1.2]), np.array([strength]))
    canvas = Canvas((64, 64), 1.2)
    canvas.multiply(model.image(slices, 31.75, 32.5, 1.2))
    wave = canvas.relative() - 1
    assert np.abs(bead - wave).max() < 0.06 * np.abs(wave).max()


DARK = Sperm(
    nucleus=0.04,
    nucleus_loss=0.012,
    acrosome=0.03,
    acrosome_loss=0.004,
    flagellum_loss=0.008,
    midpiece=0.03,
    tail_length=9.0,
)


@pytest.mark.parametrize(
    ("contrast", "depth_um", "rms"),
    [("brightfield", 0.0, 0.004), ("brightfield", -1.5, 0.004), ("relief", 1.0, 0.012)],
)
def test_a_dark_cell_agrees_with_the_multislice_method(
    contrast: Contrast, depth_um: float, rms: float
) -> None:
    settings, side = MicroscopeSettings(contrast=contrast), 112
    pixel, painter = settings.pixel_size_um, Painter(MicroscopeSettings(contrast=contrast))
    way = Swimming(Pose(56.3 * pixel, 68.4 * pixel, 0.0, yaw=0.4, pitch=0.15, roll=0.3))
    pose, line = way.pose(0.0), DARK.flagellum(way.pose(0.0), way.beat(0.0))
    slices = DARK.slices(pose, line, settings, len(line))
    plain = multislice(painter.waves.microscope, slices, (56.3, 68.4), depth_um, side, order=3)
    canvas = Canvas((side, side), depth_um)
    painter.sperm(canvas, Swimmer(DARK, way), 0.0)
    error = canvas.relative() - plain
    assert np.sqrt(np.mean(error**2)) < rms
    assert np.corrcoef(canvas.relative().ravel(), plain.ravel())[0, 1] > 0.96


def test_a_dark_head_is_dark_in_focus_and_darker_behind() -> None:
    """The nucleus, behind, takes more light than the acrosome; a clear head is not dark."""
    painter = Painter(MicroscopeSettings())
    pixel = painter.settings.pixel_size_um
    rear, front = [], []
    for body in (DARK, replace(DARK, nucleus_loss=0.0, acrosome_loss=0.0)):
        canvas = Canvas((96, 96), 0.0)
        painter.sperm(canvas, Swimmer(body, Swimming(Pose(48 * pixel, 48 * pixel, 0.0))), 0.0)
        rows = canvas.relative()[46:51] - 1
        rear.append(float(rows[:, 39:45].mean()))
        front.append(float(rows[:, 52:58].mean()))
    assert rear[0] < -0.12
    assert rear[0] < front[0] - 0.05
    assert abs(rear[1]) < 0.07
