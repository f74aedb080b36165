"""The optics against theory, and the fast model against the plain one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pytest

from fgaf.acquire.simulation.flagellum import FlagellumImager
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.reference import multislice
from fgaf.acquire.simulation.settings import Contrast, MicroscopeSettings
from fgaf.acquire.simulation.sperm import Sperm
from fgaf.acquire.simulation.swimming import Pose, Swimming
from fgaf.acquire.simulation.waves import Slices, WaveImager

IDEAL = MicroscopeSettings(spherical_waves=0)


def blob(settings: MicroscopeSettings, peak: float, sigma_um: float = 0.4) -> Slices:
    """One slice of phase: a round Gaussian."""
    n = round(3.5 * sigma_um / settings.raster_um)
    at = settings.raster_um * np.arange(-n, n + 1)
    profile = np.exp(-(at**2) / (2 * sigma_um**2))
    phase = (peak * np.outer(profile, profile)).astype(np.float32)[None]
    return Slices(phase, float(at[0]), float(at[0]), settings.raster_um, 0.0, 0.3)


def widened(slices: Slices, room: int = 60) -> Slices:
    """The same thing in a wider box of nothing."""
    return replace(
        slices,
        phase=np.pad(slices.phase, ((0, 0), (room, room), (room, room))),
        y_um=slices.y_um - room * slices.pitch_um,
        x_um=slices.x_um - room * slices.pitch_um,
    )


def imager(settings: MicroscopeSettings = IDEAL) -> WaveImager:
    return WaveImager(Microscope(settings))


def departure(model: WaveImager, slices: Slices, depth_um: float, **kwargs: Any) -> np.ndarray:
    return model.image(slices, 0.0, 0.0, depth_um, **kwargs).intensity - 1


def test_a_weak_phase_object_has_almost_no_contrast_in_focus() -> None:
    slices = blob(IDEAL, 0.05)
    in_focus, off_focus = (departure(imager(), slices, depth).std() for depth in (0.0, 1.0))
    assert in_focus < 0.03 * off_focus


@pytest.mark.parametrize("peak", [0.05, 0.8])
def test_contrast_changes_sign_through_focus(peak: float) -> None:
    """A dense thing is a lens: bright with the focus behind it in the light's way (drive low)."""
    settings = IDEAL
    model = imager(settings)
    for depth, sign in ((-1.0, 1), (1.0, -1)):
        image = model.image(blob(settings, peak), 0.0, 0.0, depth)
        centre = image.intensity[-image.top, -image.left]
        assert sign * (centre - 1) > 0.02 * peak


@dataclass(frozen=True)
class Transfer:
    condenser_na: float
    frequency: float
    depth_um: float
    medium_index: float = 1.0

    @property
    def settings(self) -> MicroscopeSettings:
        return MicroscopeSettings(
            condenser_na=self.condenser_na, medium_index=self.medium_index, spherical_waves=0
        )


TRANSFERS = [
    Transfer(condenser, frequency, depth, index)
    for condenser, frequency, depth, index in (
        (0.0, 0.2, 1.0, 1.0),
        (0.0, 0.5, -1.0, 1.0),
        (0.0, 0.5, 3.0, 1.0),
        (0.0, 0.9, 1.5, 1.0),
        (0.0, 0.5, 2.0, 1.33),
        (0.3, 0.2, 1.0, 1.0),
        (0.3, 0.5, 1.0, 1.0),
        (0.3, 0.9, -1.5, 1.0),
        (0.3, 1.4, 0.5, 1.0),
        (0.5, 0.7, 1.0, 1.33),
    )
]


def transfer_by_theory(case: Transfer) -> float:
    """Phase transfer function, averaged over a dense and even disc of source points."""
    s = case.settings
    k = s.medium_index / s.wavelength_um
    grid = np.linspace(-1, 1, 201) * case.condenser_na / s.wavelength_um
    y, x = np.meshgrid(grid, grid) if case.condenser_na else (np.zeros((1, 1)), np.zeros((1, 1)))
    inside = np.hypot(y, x) <= case.condenser_na / s.wavelength_um
    y, x = y[inside], x[inside]
    total = 0.0
    for sign in (1, -1):
        square = y**2 + (x + sign * case.frequency) ** 2
        passed = square <= s.cutoff**2
        phase = np.sqrt(k**2 - square[passed]) - np.sqrt(k**2 - (y**2 + x**2)[passed])
        total += np.sin(2 * np.pi * case.depth_um * phase).sum() / inside.sum()
    return total


def measured_transfer(case: Transfer) -> float:
    """Of a blob so weak that its image is linear: image spectrum over phase spectrum."""
    model, slices = imager(case.settings), blob(case.settings, 0.002)
    patch = model.image(slices, 0.0, 0.0, case.depth_um, order=6)
    x = (np.arange(patch.intensity.shape[1]) + patch.left) * model.pixel_um
    wave = np.exp(-2j * np.pi * case.frequency * x)
    image = ((patch.intensity - 1).sum(axis=0) * wave).sum() * model.pixel_um**2
    at = slices.x_um + slices.pitch_um * np.arange(slices.phase.shape[2])
    phase = slices.phase[0].sum(axis=0) * np.exp(-2j * np.pi * case.frequency * at)
    pixel = np.sinc(case.frequency * model.pixel_um)
    return float((image / (phase.sum() * slices.pitch_um**2)).real / pixel)


@pytest.mark.parametrize("case", TRANSFERS, ids=str)
def test_defocused_weak_phase_follows_the_transfer_function(case: Transfer) -> None:
    assert measured_transfer(case) == pytest.approx(transfer_by_theory(case), abs=0.04)


def test_theory_is_the_paraxial_sine_for_a_point_source() -> None:
    case = Transfer(condenser_na=0.0, frequency=0.4, depth_um=1.5)
    sine = np.sin(np.pi * case.settings.wavelength_um * case.depth_um * case.frequency**2)
    assert transfer_by_theory(case) == pytest.approx(-2 * sine, rel=0.03)


@pytest.mark.parametrize("condenser_na", [0.0, 0.3, 0.5])
def test_nothing_passes_beyond_the_cutoff(condenser_na: float) -> None:
    settings = MicroscopeSettings(condenser_na=condenser_na)
    model = imager(settings)
    phase, against = (widened(blob(settings, p, sigma_um=0.2), 120) for p in (0.02, -0.02))
    linear = departure(model, phase, 0.5) - departure(model, against, 0.5)
    power = np.abs(np.fft.fft2(linear)) ** 2
    f = np.fft.fftfreq(len(linear), model.pixel_um)
    beyond = np.hypot(f[:, None], f) > (settings.numerical_aperture + condenser_na + 0.05) / 0.55
    assert power[beyond].sum() < 3e-4 * power.sum()
    assert power[~beyond].sum() > 0.99 * power.sum()


@pytest.mark.parametrize("depth_um", [-2.0, 0.0, 1.0])
@pytest.mark.parametrize("peak", [0.1, 1.0])
def test_light_is_neither_made_nor_lost(peak: float, depth_um: float) -> None:
    """A thing so smooth that no light leaves the pupil only moves light about."""
    image = departure(imager(), blob(IDEAL, peak, sigma_um=1.0), depth_um)
    assert abs(image.mean()) < 2e-4 * peak


@pytest.mark.parametrize("contrast", get_args(Contrast))
def test_the_window_does_not_show(contrast: Contrast) -> None:
    """The same thing in a far larger window: no wrap around, no edge."""
    settings = MicroscopeSettings(contrast=contrast)
    model, slices = imager(settings), blob(settings, 0.8)
    small, large = (model.image(s, 0.3, -0.2, 2.0, order=3) for s in (slices, widened(slices)))
    top, left = small.top - large.top, small.left - large.left
    height, width = small.intensity.shape
    difference = small.intensity - large.intensity[top : top + height, left : left + width]
    assert np.abs(difference).max() < 0.02 * np.abs(large.intensity - 1).max()


def test_a_cell_at_the_border_images_as_one_in_the_middle() -> None:
    painter, body = Painter(MicroscopeSettings()), Sperm()
    images = []
    for y, x in ((128, 128), (8, 250)):
        canvas = Canvas((256, 256), 1.0)
        pixel = painter.settings.pixel_size_um
        way = Swimming(Pose(y * pixel, x * pixel, 0.0, yaw=0.7))
        painter.sperm(canvas, Swimmer(body, way), 0.0)
        images.append(canvas.relative())
    middle, border = images
    np.testing.assert_allclose(border[:100, 150:], middle[120:220, 28:134], atol=2e-4)


def test_pixels_too_coarse_for_the_optics_are_averages_of_finer_ones() -> None:
    """20x: a pixel twice as wide averages the fine image at four places half a pixel apart."""
    coarse_settings = MicroscopeSettings(magnification=20)
    coarse, fine = imager(coarse_settings), imager(MicroscopeSettings())
    assert coarse_settings.finer == 2
    patch = coarse.image(blob(coarse_settings, 0.8), 0.0, 0.0, 1.5, order=4)
    mean: np.ndarray | float = 0.0
    for y in (-0.5, 0.5):
        for x in (-0.5, 0.5):
            shifted = fine.image(blob(fine.microscope.settings, 0.8), y, x, 1.5, order=4)
            reach = 20
            rows = slice(-shifted.top - reach, -shifted.top + reach + 1, 2)
            columns = slice(-shifted.left - reach, -shifted.left + reach + 1, 2)
            mean = mean + shifted.intensity[rows, columns] / 4
    rows = slice(-patch.top - 10, -patch.top + 11)
    columns = slice(-patch.left - 10, -patch.left + 11)
    np.testing.assert_allclose(patch.intensity[rows, columns], mean, atol=0.003)


def test_a_thing_moving_through_the_exposure_is_smeared_along_its_way() -> None:
    model, slices = imager(), blob(IDEAL, 0.5)
    smeared = departure(model, slices, 1.0, smear_um=(0.0, 0.5))
    middle = model.image(slices, 0.0, 0.0, 1.0)
    rows = slice(-middle.top - 12, -middle.top + 13)
    mean = np.zeros((25, 25))
    for x in (np.arange(16) + 0.5) / 32 - 0.25:
        patch = model.image(slices, 0.0, x / model.pixel_um, 1.0)
        columns = slice(-patch.left - 12, -patch.left + 13)
        mean += (patch.intensity[rows, columns] - 1) / 16
    columns = slice(-middle.left - 12, -middle.left + 13)
    np.testing.assert_allclose(smeared[rows, columns], mean, atol=0.002)


@dataclass(frozen=True)
class Agreement:
    contrast: Contrast
    depth_um: float
    whole: bool
    """With the flagellum, as a thread in the fast model and in the slices of the plain one."""
    rms: float


AGREEMENTS = [
    Agreement("brightfield", 0.0, False, 0.004),
    Agreement("brightfield", -1.5, False, 0.006),
    Agreement("brightfield", 3.0, False, 0.004),
    Agreement("relief", 0.0, False, 0.012),
    Agreement("relief", 2.0, False, 0.012),
    Agreement("brightfield", 1.0, True, 0.004),
    Agreement("relief", 1.0, True, 0.012),
]


@pytest.mark.parametrize("case", AGREEMENTS, ids=str)
def test_the_fast_model_agrees_with_the_multislice_method(case: Agreement) -> None:
    settings = MicroscopeSettings(contrast=case.contrast)
    painter = Painter(settings)
    side = 112
    body = draw_sperm(np.random.default_rng(5), motile=True)
    body = replace(body, tail_length=9.0)
    centre = ((side / 2 + 0.3) * settings.pixel_size_um, (side / 2 + 12.4) * settings.pixel_size_um)
    way = Swimming(Pose(*centre, 0.0, yaw=0.4, pitch=0.15, roll=0.3), beat_phase=1.0)
    pose, line = way.pose(0.0), body.flagellum(way.pose(0.0), way.beat(0.0))
    points = len(line) if case.whole else body.midpiece_points
    slices = body.slices(pose, line, settings, points)
    place = (centre[0] / settings.pixel_size_um, centre[1] / settings.pixel_size_um)
    plain = multislice(painter.waves.microscope, slices, place, case.depth_um, side, order=3)
    canvas = Canvas((side, side), case.depth_um)
    if case.whole:
        painter.sperm(canvas, Swimmer(body, way), 0.0)
    else:
        canvas.multiply(painter.waves.image(slices, *place, case.depth_um))
    error = canvas.relative() - plain
    assert np.sqrt(np.mean(error**2)) < case.rms
    assert np.corrcoef(canvas.relative().ravel(), plain.ravel())[0, 1] > 0.96


@pytest.mark.parametrize("contrast", get_args(Contrast))
@pytest.mark.parametrize("magnification", [20.0, 40.0])
def test_a_bead_of_a_thread_is_a_weak_small_thing(contrast: Contrast, magnification: float) -> None:
    """The table of point images against the wave model, between the table's places."""
    settings = MicroscopeSettings(contrast=contrast, magnification=magnification)
    model = imager(settings)
    threads = FlagellumImager(model.windows)
    sigma, strength = 0.11, 1e-3
    weak = blob(settings, strength / (2 * np.pi * sigma**2), sigma_um=sigma)
    image = np.zeros((64, 64), np.float32)
    place = np.array([31.75]), np.array([32.5])
    threads.add(image, *place, np.array([1.2]), np.array([strength]))
    patch = model.image(weak, float(place[0][0]), float(place[1][0]), 1.2)
    window = np.zeros((64, 64), np.float32)
    top, left = max(patch.top, 0), max(patch.left, 0)
    part = patch.intensity[top - patch.top :, left - patch.left :][: 64 - top, : 64 - left] - 1
    window[top : top + part.shape[0], left : left + part.shape[1]] = part
    assert np.abs(image - window).max() < 0.06 * np.abs(window).max()


def test_slices_of_another_raster_are_refused() -> None:
    with pytest.raises(ValueError, match="raster"):
        imager().image(blob(MicroscopeSettings(magnification=60), 0.1), 0.0, 0.0, 0.0)
