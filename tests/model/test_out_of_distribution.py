"""Out of range: patches unlike those of training, made by the simulated microscope."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fgaf.acquire.simulation.camera import sensor
from fgaf.acquire.simulation.camera.light import mottle
from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.acquire.simulation.painter import Canvas, Painter
from fgaf.acquire.simulation.scenery.particles import draw_debris
from fgaf.acquire.simulation.scenery.round_cells import draw_round_cell
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.initial_weights import shipped
from fgaf.model.inference.out_of_distribution import FALSE_ALARM, learn, spectrum
from fgaf.model.inference.predict import Predictor

SIDE = 96
SETTINGS = SimulationSettings()


@dataclass(frozen=True)
class Strange:
    """Patches that no training set holds, and how many of them must be recognised."""

    name: str
    things: int
    least: float


EMPTY, DEBRIS, ROUND = (
    Strange("empty", 0, 0.9),
    Strange("debris", 2, 0.25),
    Strange("round", 1, 0.8),
)


def patches_of(kind: Strange, count: int = 12) -> np.ndarray:
    """Patches without a sperm: background, and things that lie about the middle of it."""
    rng = np.random.default_rng(5)
    painter = Painter(SETTINGS)
    draw = draw_round_cell if kind is ROUND else draw_debris
    middle = SIDE / 2 * SETTINGS.pixel_size_um
    patches = []
    for _ in range(count):
        canvas = Canvas((SIDE, SIDE), 0.0)
        for _ in range(kind.things):
            y, x = middle + rng.uniform(-1.5, 1.5, 2)
            thing = draw(rng, SETTINGS, y, x, float(rng.uniform(-2, 2)))
            canvas.multiply(thing.image(painter.waves, canvas.focus_um))
        light = rng.normal(1, 0.08) * mottle(rng, (SIDE, SIDE), SETTINGS)
        exposure = SETTINGS.reference_exposure_s
        patches.append(sensor.expose(canvas.relative() * light, exposure, SETTINGS, rng))
    return np.stack(patches)


@pytest.fixture(scope="module")
def model() -> Predictor:
    """The network that ships, and what thirty simulated cells look like."""
    archive = simulate_cells(cells=30, seed=11)
    checkpoint, side = shipped(), archive.split_of_rows()
    sides = (archive.images[side == 0], archive.images[side == 1])
    familiar = learn(checkpoint.settings, checkpoint.scale, *sides)
    return Predictor(replace(checkpoint, familiar=familiar), tta=False)


@pytest.mark.parametrize("kind", [EMPTY, DEBRIS, ROUND], ids=lambda kind: kind.name)
def test_what_is_no_sperm_is_out_of_range(kind: Strange, model: Predictor) -> None:
    assert 1 - model.in_range(patches_of(kind)).mean() >= kind.least


@pytest.mark.parametrize(("beyond_um", "least"), [(4.0, 0.9), (8.0, 1.0)])
def test_far_from_focus_is_out_of_range(beyond_um: float, least: float, model: Predictor) -> None:
    far = simulate_cells(cells=6, seed=12, step_um=beyond_um, half_range_um=beyond_um)
    assert (~model.in_range(far.images[far.depth_um != 0])).mean() >= least


def test_cells_like_those_of_training_are_in_range(model: Predictor) -> None:
    near = simulate_cells(cells=8, seed=13)
    assert (~model.in_range(near.images)).mean() < 0.1
    assert model.card.tells_range
    assert model.card.false_alarm is not None
    assert FALSE_ALARM <= model.card.false_alarm < 0.05


@pytest.mark.parametrize("side", [32, 96])
def test_the_spectrum_is_that_of_a_fourier_transform(side: int) -> None:
    patch = np.random.default_rng(3).normal(1, 0.1, (side, side)).astype(np.float32)
    place = np.arange(side) - (side - 1) / 2
    radius = np.hypot(place[:, None], place) / (side / 2)
    window = np.where(radius < 1, np.cos(radius * np.pi / 2), 0) ** 2
    seen = (patch - (patch * window).sum() / window.sum()) * window
    power = np.abs(np.fft.fft2(seen)) ** 2 / (window**2).sum()
    cycles = np.fft.fftfreq(side, 1 / side)
    shell = np.hypot(cycles[:, None], cycles).round()
    found = spectrum(torch.from_numpy(patch)[None, None])[0].numpy()
    expected = [np.log(power[shell == k].mean()) for k in range(1, len(found) + 1)]
    assert found == pytest.approx(expected, abs=1e-3)


def test_it_travels_in_the_checkpoint(model: Predictor, tmp_path: Path) -> None:
    patches = patches_of(EMPTY, 2)
    for name in ("checkpoint.pt", "network.safetensors"):
        model.checkpoint.save(tmp_path / name)
        again = Predictor(Checkpoint.load(tmp_path / name), tta=True)
        assert again.card.false_alarm == model.card.false_alarm
        assert not again.in_range(patches).any()


def test_a_checkpoint_without_it_says_so(model: Predictor) -> None:
    plain = Predictor(replace(model.checkpoint, familiar=None))
    assert not plain.card.tells_range
    assert plain.in_range(patches_of(EMPTY, 2)).all()
