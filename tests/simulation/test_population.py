"""Abnormal cells: as many as asked, of the forms asked, and the others as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import MicroscopeSettings, SimulationSettings, SpermSettings
from fgaf.acquire.simulation.sperm import Sperm
from fgaf.acquire.simulation.swimming import Pose


def drawn(count: int, **settings: Any) -> list[Sperm]:
    rng = np.random.default_rng(4)
    return [draw_sperm(rng, False, SpermSettings(**settings)) for _ in range(count)]


def spread(body: Sperm) -> float:
    """Diameter of the box around the tail, µm."""
    line = body.flagellum(Pose(0, 0, 0), 0.0)
    return float(np.hypot(*np.ptp(line, axis=0)[:2]))


FORMS: dict[str, Callable[[Sperm], bool]] = {
    "tapered_heads": lambda body: body.width < 0.5 * body.length and abs(body.taper) >= 0.3,
    "amorphous_heads": lambda body: len(body.outline) > 0,
    "large_heads": lambda body: 5.5 <= body.length <= 7.5,
    "small_heads": lambda body: 2.5 <= body.length <= 3.5,
    "round_heads": lambda body: body.width >= 0.9 * body.length and body.acrosome_from > 1,
    "double_heads": lambda body: body.twin > 0.4,
    "headless": lambda body: body.headless,
    "cytoplasm": lambda body: len(body.lumps) > 0,
    "coiled_tails": lambda body: spread(body) < 35,
    "bent_tails": lambda body: len(body.turns) == 1,
    "short_tails": lambda body: body.tail_length <= 20,
}


@pytest.mark.parametrize("name", FORMS)
def test_a_share_of_the_cells_is_abnormal(name: str) -> None:
    assert all(FORMS[name](body) for body in drawn(30, **{name: 1.0}))
    some = drawn(200, **{name: 0.3})
    changed = np.mean([one != usual for one, usual in zip(some, drawn(200), strict=True)])
    assert 0.2 < changed < 0.4


def test_a_form_changes_no_other_cell() -> None:
    for one, usual in zip(drawn(40, coiled_tails=0.5), drawn(40), strict=True):
        assert one == usual or one.turns
        assert (one.length, one.nucleus) == (usual.length, usual.nucleus)


def test_indices_are_drawn_from_their_ranges() -> None:
    settings: dict[str, Any] = {
        "head_strength": (0.4, 0.6),
        "midpiece_strength": (0.2, 0.3),
        "nucleus_loss": (0.01, 0.02),
        "acrosome_loss": (0.2, 0.4),
    }
    for one, usual in zip(drawn(40, **settings), drawn(40), strict=True):
        assert 0.4 <= one.nucleus / usual.nucleus <= 0.6
        assert 0.2 <= one.midpiece / usual.midpiece <= 0.3
        assert one.tail == usual.tail
        assert 0.01 <= one.nucleus_loss <= 0.02
        assert 0.2 <= one.acrosome_loss / one.nucleus_loss <= 0.4


@pytest.mark.parametrize("name", [name for name in FORMS if "tail" not in name])
def test_the_box_of_a_cell_holds_all_of_it(name: str) -> None:
    """Nothing of a head, a twin or a lump is cut off at the border of its slices."""
    settings, rng = MicroscopeSettings(magnification=20), np.random.default_rng(1)
    cube = np.arange(-9, 9, 0.2, dtype=np.float32)
    a, b, c = np.meshgrid(cube, cube, np.arange(-2, 2, 0.2, dtype=np.float32), indexing="ij")
    for body in drawn(6, **{name: 1.0}):
        pose = Pose(0, 0, 0, yaw=float(rng.uniform(0, 6)), pitch=0.2, roll=float(rng.uniform(0, 1)))
        slices = body.slices(pose, np.zeros((0, 3)), settings)
        phase = slices.phase.sum() * slices.pitch_um**2
        whole = 0 if body.headless else body.index(a, b, c).sum() * 0.2**3
        assert phase == pytest.approx(whole * 2 * np.pi / settings.wavelength_um, rel=0.05)


def test_rolled_heads_lie_at_any_angle_and_move_no_other() -> None:
    settings: dict[str, Any] = {"shape": (300, 300), "cells": 30, "debris": 0, "motile": False}
    usual, rolled = (
        Scene(SimulationSettings(**settings, rolled_heads=share)).swimmers for share in (0.0, 1.0)
    )
    angles = np.array([each.way.start.roll for each in rolled])
    assert np.histogram(angles, 3, (0, 2 * np.pi))[0].min() > 3
    for one, other in zip(usual, rolled, strict=True):
        assert one.body == other.body
        assert one.way.start.yaw == other.way.start.yaw


def test_a_cell_without_a_head_is_no_sperm_in_the_truth() -> None:
    settings = SimulationSettings(shape=(96, 96), cells=3, debris=0, round_cells=0, headless=1.0)
    _, truth = Scene(settings).expose(0.0, 0.005, 0.0)
    assert {cell.kind for cell in truth} == {"tail"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"nucleus_loss": (0.02, 0.01)},
        {"nucleus_loss": (0.0, 2.0)},
        {"head_strength": (-1.0, 1.0)},
        {"large_heads": 1.5},
        {"large_heads": 0.6, "small_heads": 0.6},
        {"coiled_tails": 0.6, "bent_tails": 0.6},
    ],
    ids=str,
)
def test_impossible_cells_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SimulationSettings(**wrong)
