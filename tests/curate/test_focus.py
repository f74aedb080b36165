"""The focus of cells that delay and absorb light, in bright field and relief."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fgaf.acquire.simulation.camera import sensor
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.swimming import Pose, Swimming
from fgaf.curate.focus.curves import Curves, measure
from fgaf.curate.focus.peak import fall_of, shear_of
from fgaf.curate.focus.phase import fit, optics_of
from fgaf.curate.focus.suggest import CONFIDENT, THICK, suggest_all
from fgaf.curate.focus.transfer import ABERRATIONS, CONDENSERS, transfer_of

Z_UM = np.arange(-8, 9) * 0.5
FREQUENCY = (0.35, 0.52, 0.68, 0.85, 1.07)
CUTOFF = 0.65 / 0.55
SIDE_PX = 128


def predicted(focus_um: float, angle: float, condenser: int, aberration: int) -> Curves:
    """The curves of an ideal cell."""
    table = transfer_of(FREQUENCY, CUTOFF, 9)
    even, odd, mixed = np.moveaxis(
        table.at((condenser, aberration), Z_UM, np.array([focus_um]))[:, 0], -1, 0
    )
    power = np.sin(angle) ** 2 * even + np.cos(angle) ** 2 * odd
    power = (power + np.sin(angle) * np.cos(angle) * mixed).T
    return Curves(Z_UM, np.repeat(power[..., None], 12, axis=2), np.array(FREQUENCY), CUTOFF)


@pytest.mark.parametrize("degrees", [0, 8, 20, 40, -20])
@pytest.mark.parametrize("waves", [-0.06, 0.0, 0.04])
def test_the_focus_of_an_ideal_cell_is_found_whatever_it_absorbs(
    degrees: float, waves: float
) -> None:
    aberration = int(np.argmin(np.abs(ABERRATIONS - waves)))
    foci = (-0.8, 0.1, 1.3)
    cells = [predicted(focus, np.radians(degrees), 2, aberration) for focus in foci]
    optics = optics_of(cells)
    found = [fit(curves, optics) for curves in cells]
    np.testing.assert_allclose([f.focus_um for f in found], foci, atol=0.12)
    assert all(f.unexplained < 0.02 for f in found)


def test_without_aberration_a_phase_vanishes_in_focus_and_an_absorption_is_even() -> None:
    table = transfer_of(FREQUENCY, CUTOFF, 9)
    squares = table.squares[:, len(ABERRATIONS) // 2]
    middle = len(table.defocus_um) // 2
    np.testing.assert_allclose(squares[:, :, middle, 1], 0, atol=1e-10)
    np.testing.assert_allclose(squares[..., :2], squares[:, :, ::-1, :2], atol=1e-6)
    np.testing.assert_allclose(squares[..., 2], -squares[:, :, ::-1, 2], atol=1e-6)
    assert squares.shape[0] == len(CONDENSERS)


@dataclass(frozen=True)
class Heads:
    """Simulated cells, and how far their focus may be off."""

    name: str
    settings: dict[str, object]
    rule: str
    worst_um: float = 0.3


WEAK_MIDPIECE = {"midpiece_strength": (0.3, 0.5)}
HEADS = (
    Heads("phase only", {}, "phase"),
    Heads("absorbing", {"nucleus_loss": (0.015, 0.015), **WEAK_MIDPIECE}, "phase"),
    Heads("strongly absorbing", {"nucleus_loss": (0.03, 0.03), **WEAK_MIDPIECE}, "phase"),
    Heads("relief", {"contrast": "relief"}, "peak"),
    Heads(
        "relief, absorbing",
        {"contrast": "relief", "nucleus_loss": (0.015, 0.015), **WEAK_MIDPIECE},
        "peak",
    ),
)


def stack_of(
    settings: SimulationSettings,
    number: int,
    focus_um: float,
    pitch_deg: float = 0.0,
    rolls_deg: Sequence[float] = (0.0,),
) -> npt.NDArray[np.generic]:
    """Planes of one cell in the middle of its frame; its roll changes from plane to plane."""
    rng = np.random.default_rng([3, number])
    start = Pose(0.0, 0.0, 0.0, float(rng.uniform(0, 2 * np.pi)), np.radians(pitch_deg))
    body = draw_sperm(rng, False, settings)
    middle = SIDE_PX / 2 * settings.pixel_size_um
    painter = Painter(settings)
    frames = []
    for z, roll_deg in zip(Z_UM, cycle(rolls_deg), strict=False):
        swimmer = Swimmer(body, Swimming(replace(start, roll=np.radians(roll_deg))))
        canvas = Canvas((SIDE_PX, SIDE_PX), float(z))
        painter.sperm(canvas, swimmer, 0.0, 0.0, (middle, middle, focus_um))
        frames.append(sensor.expose(canvas.relative(), 0.005, settings, rng))
    return np.stack(frames)


def curves_of(settings: SimulationSettings, number: int, focus_um: float, **cell: Any) -> Curves:
    """Curves of such a cell, measured around the centre of its head."""
    place = np.full(len(Z_UM), SIDE_PX / 2)
    stack = stack_of(settings, number, focus_um, **cell)
    return measure(stack, place, place, Z_UM, settings.pixel_size_um, cutoff_per_um=settings.cutoff)


@pytest.mark.parametrize("heads", HEADS, ids=lambda heads: heads.name)
def test_the_focus_of_simulated_heads_is_not_biased(heads: Heads) -> None:
    settings = SimulationSettings.model_validate({"quick": True, **heads.settings})
    foci = (-0.7, 0.2, 1.1)
    curves = [curves_of(settings, number, focus) for number, focus in enumerate(foci)]
    found = suggest_all(curves)
    assert {suggestion.rule for suggestion in found} == {heads.rule}
    assert not any(suggestion.problem for suggestion in found)
    errors = [suggestion.focus_um - focus for suggestion, focus in zip(found, foci, strict=True)]
    assert np.abs(errors).max() <= heads.worst_um
    assert abs(np.mean(errors)) <= 0.2


@pytest.mark.parametrize("contrast", ["brightfield", "relief"])
def test_the_focus_of_a_tilted_cell_is_that_of_its_head(contrast: str) -> None:
    settings = SimulationSettings.model_validate({"quick": True, "contrast": contrast})
    both = [
        suggest_all([curves_of(settings, number, 0.2, pitch_deg=deg) for number in range(4)])
        for deg in (-20, 20)
    ]
    down, up = (np.array([s.focus_um for s in found]) for found in both)
    assert abs(np.mean(up - down)) <= 0.2


@pytest.mark.parametrize("focus_um", [-0.7, 0.3])
@pytest.mark.parametrize("thickness_um", [3.0, 5.0, 8.0])
def test_a_cell_thicker_than_the_depth_of_focus_is_left_to_a_person(
    thickness_um: float, focus_um: float
) -> None:
    """It acts as a lens: the contrast of all its detail rises alike on both sides of the focus."""
    power = 1.01 - np.exp(-4 * ((Z_UM - focus_um) / thickness_um) ** 2)
    thick = predicted(focus_um, 0.0, 2, len(ABERRATIONS) // 2)
    thick = replace(thick, power=np.broadcast_to(power[:, None, None], thick.power.shape))
    thin = [predicted(focus, 0.0, 2, len(ABERRATIONS) // 2) for focus in (-0.5, 0.4, 1.0)]
    *others, among_thin = suggest_all([*thin, thick])
    assert not any(suggestion.problem for suggestion in others)
    assert among_thin.problem == THICK
    assert abs(among_thin.focus_um - focus_um) <= 0.25
    (alone,) = suggest_all([thick])
    assert max(among_thin.confidence, alone.confidence) < CONFIDENT


def test_the_shear_of_relief_contrast_is_found_from_a_few_cells() -> None:
    """The slit of the simulated microscope is turned so that it shears along x."""
    settings = SimulationSettings(quick=True, contrast="relief")
    axis = shear_of([curves_of(settings, number, 0.2) for number in range(5)])
    assert axis is not None
    assert abs(np.degrees(np.angle(np.exp(2j * axis)) / 2)) <= 25


def test_in_relief_the_cells_of_a_stack_tell_the_aberration() -> None:
    """Fine detail has another focus than coarse; without regard to it, these would be 0.3 apart."""
    means = []
    for waves in (-0.06, 0.06):
        settings = SimulationSettings(quick=True, contrast="relief", spherical_waves=waves)
        foci = (-0.7, 0.2, 1.1)
        cells = [curves_of(settings, number, focus) for number, focus in enumerate(foci)]
        found = suggest_all(cells)
        assert np.sign(fall_of(cells, shear_of(cells)).shift_um) == -np.sign(waves)
        means.append(np.mean([one.focus_um - f for one, f in zip(found, foci, strict=True)]))
    assert abs(means[1] - means[0]) <= 0.2


def test_a_head_that_rolls_from_plane_to_plane_is_not_taken_for_a_thick_cell() -> None:
    settings = SimulationSettings(quick=True)
    rolls = (75, 20, 45, 80, 10, 35)
    cells = [curves_of(settings, 0, 0.3), curves_of(settings, 1, -0.5, rolls_deg=rolls)]
    still, rolling = suggest_all(cells)
    assert not still.problem
    assert rolling.problem != THICK
    assert abs(rolling.focus_um + 0.5) <= 0.3


def test_contrast_that_changes_in_all_bands_of_one_plane_hardly_draws_the_focus() -> None:
    """As of a head that rolls; without it these cells are in focus at 0.1 µm."""
    height = 1 / (1 + ((Z_UM - 0.1) / 1.8) ** 2)
    empty = predicted(0.0, 0.0, 2, len(ABERRATIONS) // 2)
    for plane in np.flatnonzero(np.abs(Z_UM) <= 1.5):
        rolled = np.where(np.arange(len(Z_UM)) == plane, 1.25, 1.0) * height
        power = np.broadcast_to((rolled**2)[:, None, None], empty.power.shape)
        (found,) = suggest_all([replace(empty, power=power)], "peak")
        assert not found.problem
        assert abs(found.focus_um - 0.1) <= 0.1
