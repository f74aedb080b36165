"""Light and camera."""

from __future__ import annotations

import numpy as np
import pytest

from fgaf.acquire.simulation.camera import light, sensor
from fgaf.acquire.simulation.settings import SimulationSettings

FLAT = np.ones((256, 256), np.float32)


def expose(settings: SimulationSettings, exposure_s: float = 0.005, seed: int = 0) -> np.ndarray:
    return sensor.expose(FLAT, exposure_s, settings, np.random.default_rng(seed))


@pytest.mark.parametrize("photons", [500.0, 2000.0, 6000.0])
def test_noise_is_shot_and_read_noise(photons: float) -> None:
    settings = SimulationSettings(bit_depth=12, photons=photons, read_noise=10)
    electrons = expose(settings).astype(float) * settings.full_well / 4095
    assert electrons.mean() == pytest.approx(photons, rel=0.005)
    rounding = (settings.full_well / 4095) ** 2 / 12
    assert electrons.var() == pytest.approx(photons + 100 + rounding, rel=0.03)


def test_the_signal_grows_with_the_exposure_up_to_saturation() -> None:
    settings = SimulationSettings(photons=6000, full_well=10000)
    short, normal, long = (expose(settings, t).astype(float) for t in (0.0025, 0.005, 0.02))
    assert short.mean() == pytest.approx(normal.mean() / 2, rel=0.01)
    assert np.all(long == 255)


@pytest.mark.parametrize(("bits", "dtype", "highest"), [(8, np.uint8, 255), (12, np.uint16, 4095)])
def test_bit_depth(bits: int, dtype: type, highest: int) -> None:
    image = expose(SimulationSettings(bit_depth=bits), exposure_s=1.0)
    assert image.dtype == dtype
    assert image.max() == highest


def test_a_closed_shutter_leaves_read_noise_above_zero() -> None:
    image = sensor.expose(
        FLAT * 0, 0.005, SimulationSettings(bit_depth=12), np.random.default_rng(0)
    )
    assert image.min() == 0
    assert 0 < image.mean() < 5


def test_illumination_is_as_uneven_as_set() -> None:
    settings = SimulationSettings(shape=(300, 480), unevenness=0.12, mottle=0.0)
    lamp = light.illumination(settings)
    assert lamp.shape == (300, 480)
    assert lamp.mean() == pytest.approx(1, abs=1e-3)
    assert np.abs(lamp - 1).max() == pytest.approx(0.12, rel=0.01)
    np.testing.assert_array_equal(lamp, light.illumination(settings))


def test_mottle_has_the_set_strength() -> None:
    clouds = light.mottle(np.random.default_rng(0), (256, 256), SimulationSettings(mottle=0.01))
    assert clouds.std() == pytest.approx(0.01, rel=0.1)
