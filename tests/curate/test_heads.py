"""Heads told from debris, round cells and tails in single planes, by the simulator's truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.detect import detect
from fgaf.curate.detection.heads import MEASURES, Measures, head_scores

NEAR_UM = 2.5
BORDER_UM = 3.0
UNSEEN_UM = 1.0


@dataclass(frozen=True)
class Field:
    name: str
    contrast: str
    magnification: float
    numerical_aperture: float
    seeds: tuple[int, ...]
    cells: int


FIELDS = [
    Field("bright field 40x", "brightfield", 40, 0.65, (61, 62, 63), 8),
    Field("relief 40x", "relief", 40, 0.65, (61, 62, 63), 8),
    Field("bright field 20x", "brightfield", 20, 0.45, (64,), 24),
    Field("relief 20x", "relief", 20, 0.45, (64,), 24),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_heads_are_found_in_single_planes_and_little_else(field: Field) -> None:
    """Heads in bright field can't be seen in focus: they are asked for from 1 µm on."""
    asked = found = finds = right = 0
    for seed in field.seeds:
        settings = SimulationSettings(
            seed=seed,
            contrast=field.contrast,
            magnification=field.magnification,
            numerical_aperture=field.numerical_aperture,
            shape=(600, 760),
            cells=field.cells,
            debris=2 * field.cells,
        )
        z = -2.5
        image, truth = Scene(settings).expose(0.0, 0.005, z)
        heads = detect(image, settings.pixel_size_um)
        finds += len(heads)
        for cell in truth:
            away = np.hypot(heads.y - cell.y_px, heads.x - cell.x_px) * settings.pixel_size_um
            hit = bool(len(away)) and float(away.min()) < NEAR_UM
            if cell.kind != "sperm":
                continue
            right += hit
            margin = BORDER_UM / settings.pixel_size_um
            inside = margin < cell.y_px < 600 - margin and margin < cell.x_px < 760 - margin
            if inside and (field.contrast == "relief" or abs(z - cell.focus_um) > UNSEEN_UM):
                asked += 1
                found += hit
    assert asked >= 12
    assert found / asked >= 0.9
    assert right / finds >= 0.85


def measures(**changed: float) -> Measures:
    usual = {
        "strength": np.log(15.0),
        "size": 0.25,
        "elongation": 0.15,
        "around": np.log(0.25),
        "strongest around": np.log(0.5),
        "through": np.log(0.3),
        "coarse": -0.8,
        "coarser": -2.0,
    }
    row = [(usual | changed)[name] for name in MEASURES]
    return Measures(np.array([row]), np.array([-2.0]))


@dataclass(frozen=True)
class Spot:
    name: str
    changed: dict[str, float]


@pytest.mark.parametrize(
    "spot",
    [
        Spot("too faint", {"strength": np.log(3.5)}),
        Spot("too large", {"size": 0.46}),
        Spot("a line", {"elongation": 1.2, "through": np.log(0.95)}),
    ],
    ids=lambda spot: spot.name,
)
def test_where_heads_are_not_resolved_spots_are_asked_for(spot: Spot) -> None:
    assert head_scores(measures(), resolved=False)[0] > 0.5
    assert head_scores(measures(**spot.changed), resolved=False)[0] < 0.2


def test_measures_beyond_all_that_was_seen_count_as_the_end_of_it() -> None:
    far, farther = measures(coarser=-10.0), measures(coarser=-1000.0)
    np.testing.assert_array_equal(head_scores(far), head_scores(farther))


def test_fine_detail_is_debris_where_heads_are_resolved_only() -> None:
    fine = measures(coarse=-1.7, coarser=-3.6, size=0.19)
    assert head_scores(fine)[0] < 0.3
    assert head_scores(fine, resolved=False)[0] > 0.5


def test_no_spots_have_no_scores() -> None:
    none = Measures(np.empty((0, len(MEASURES))), np.empty(0))
    assert len(head_scores(none)) == 0
    assert len(head_scores(none, resolved=False)) == 0
