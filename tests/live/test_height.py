"""The height filter: nearer to the truth than single frames, honest about its error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from fgaf.model.live.height import Height, error_of

FRAME_NS = 24_000_000
NOISE_UM = 0.2


@dataclass(frozen=True)
class Way:
    """How a cell's height changes, and how much of the noise may stay."""

    name: str
    amplitude_um: float
    hz: float
    stays: float


WAYS = [
    Way("level", 0.0, 0.0, 0.55),
    Way("wandering", 0.5, 0.2, 0.6),
    Way("climbing", 8.0, 0.25, 0.85),
]


def run(way: Way, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Error of the measurements, of the filter, and the error it states."""
    random = np.random.default_rng(seed)
    time_s = np.arange(400) * FRAME_NS / 1e9
    truth = way.amplitude_um * np.sin(2 * np.pi * way.hz * time_s)
    seen = truth + random.normal(0, NOISE_UM, len(truth))
    height = Height(seen[0], NOISE_UM, 0)
    filtered, stated = [], []
    for number in range(1, len(truth)):
        now_ns = number * FRAME_NS
        height.measure(seen[number], NOISE_UM, now_ns)
        z, error, _ = height.at(now_ns)
        filtered.append(z)
        stated.append(error)
    return seen[1:] - truth[1:], np.array(filtered) - truth[1:], np.array(stated)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_the_filter_is_nearer_to_the_truth(way: Way) -> None:
    measured, filtered, stated = run(way)
    left = np.sqrt(np.mean(filtered[40:] ** 2) / np.mean(measured[40:] ** 2))
    assert left < way.stays
    assert np.mean(np.abs(filtered[40:]) < 3 * stated[40:]) > 0.95


def test_one_wild_measurement_hardly_shows() -> None:
    height = Height(0.0, NOISE_UM, 0)
    for number in range(1, 50):
        height.measure(0.0, NOISE_UM, number * FRAME_NS)
    height.measure(5.0, NOISE_UM, 50 * FRAME_NS)
    assert abs(height.at(50 * FRAME_NS)[0]) < 0.3


def test_the_height_goes_on_and_grows_uncertain_unseen() -> None:
    height = Height(0.0, NOISE_UM, 0)
    for number in range(1, 100):
        height.measure(5e-9 * number * FRAME_NS, NOISE_UM, number * FRAME_NS)
    last_ns = 99 * FRAME_NS
    z_um, error_um, speed_um_s = height.at(last_ns)
    later_um, later_error_um, _ = height.at(last_ns + 200_000_000)
    assert speed_um_s == pytest.approx(5.0, abs=0.8)
    assert later_um - z_um == pytest.approx(1.0, abs=0.2)
    assert later_error_um > error_um


def test_a_depth_at_the_end_of_the_classes_says_little() -> None:
    assert error_of(1.9, 0.05, 2.0, 0.5) >= 3 * error_of(1.4, 0.05, 2.0, 0.5)


def test_the_spread_of_a_depth_between_two_classes_is_no_error() -> None:
    assert error_of(0.75, 0.25, 2.0, 0.5) == pytest.approx(error_of(0.5, 0.0, 2.0, 0.5))
    assert error_of(0.5, 0.25, 2.0, 0.5) > 0.25


def test_a_swing_shows_at_once_and_is_not_foretold() -> None:
    height = Height(0.0, 0.05, 0)
    for number in range(1, 60):
        height.measure(0.1 * (-1) ** number, 0.05, number * FRAME_NS)
    last_ns = 59 * FRAME_NS
    assert height.at(last_ns)[0] < -0.05
    assert abs(height.at(last_ns + FRAME_NS)[0]) < 0.03
