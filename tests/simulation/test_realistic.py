"""Fields drawn at random: the same for a seed, within what is documented, and cheap."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from fgaf.acquire.simulation.realistic import draw_settings
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings

MANY = [draw_settings(seed) for seed in range(200)]


def test_a_seed_draws_one_field() -> None:
    assert draw_settings(7) == MANY[7]
    assert len(set(map(repr, MANY))) == len(MANY)


def test_fields_range_from_10x_to_60x_and_from_empty_to_crowded() -> None:
    pixel = np.array([s.pixel_size_um for s in MANY])
    assert 0.079 < pixel.min() < 0.1
    assert 0.35 < pixel.max() < 0.651
    assert {s.magnification for s in MANY} >= {10, 20, 40, 60}
    assert {s.contrast for s in MANY} == {"brightfield", "relief", "phase", "phase-negative", "dic"}
    cells = np.array([s.cells for s in MANY])
    per_117_um = cells * 117**2 / (480_000 * pixel**2)
    assert (cells == 0).any()
    assert 90 < per_117_um.max() < 200


@pytest.mark.parametrize(
    "fixed",
    [
        {"magnification": 20.0},
        {"contrast": "relief", "numerical_aperture": 0.3},
        {"shape": (64, 96), "cells": 3, "pipette": True},
        {"bit_depth": 12, "droplet": True},
    ],
    ids=str,
)
def test_what_is_given_is_not_drawn(fixed: dict[str, object]) -> None:
    drawn = draw_settings(3, **fixed)
    assert {name: getattr(drawn, name) for name in fixed} == fixed


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        draw_settings(3, colour="blue")


def test_quick_flagella_look_as_the_others_do() -> None:
    images = [
        Scene(
            SimulationSettings(
                shape=(300, 300), quick=quick, cells=3, debris=0, round_cells=0, photons=1e8,
                full_well=1.5e8, read_noise=0, bit_depth=12,
            )
        ).expose(0.0, 0.005, 0.5)[0].astype(float)
        for quick in (False, True)
    ]  # fmt: skip
    difference = (images[1] - images[0]) / np.median(images[0])
    assert 0 < difference.std() < 0.003
    assert np.abs(difference).max() < 0.08
