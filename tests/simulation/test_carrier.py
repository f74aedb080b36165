"""Cells of a simulated field that a pipette draws in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fgaf.acquire.simulation.aspiration.mouth import Mouth
from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.base.errors import SettingError
from fgaf.dataset.truth import CellTruth

EXPOSURE_S = 0.005
SHAPE = (256, 320)


@dataclass(frozen=True)
class Steady:
    """A pipette that draws from a time on; it may move."""

    place_um: tuple[float, float, float]
    flow: float = 0.05
    from_s: float = 0.1
    until_s: float = math.inf
    velocity_um_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    moves_from_s: float = math.inf

    def mouth(self, time_s: float) -> Mouth:
        gone = max(time_s - self.moves_from_s, 0.0)
        y, x, z = (at + gone * v for at, v in zip(self.place_um, self.velocity_um_s, strict=True))
        return Mouth((y, x, z), (0.0, -1.0, 0.0), 2.5, 3.5)

    def flow_nl_s(self, time_s: float) -> float:
        return self.flow if self.from_s <= time_s < self.until_s else 0.0


def settings(motile: bool = False, seed: int = 0, **fixed: object) -> SimulationSettings:
    return SimulationSettings.model_validate(
        {
            "shape": SHAPE,
            "cells": 3,
            "debris": 0,
            "round_cells": 0,
            "motile": motile,
            "seed": seed,
            "quick": True,
            "depth_spread_um": 0.5,
            **fixed,
        }
    )


def cells(scene: Scene, time_s: float, focus_um: float = 0.5) -> dict[int, CellTruth]:
    _, truth = scene.expose(time_s, EXPOSURE_S, focus_um)
    return {cell.id: cell for cell in truth if cell.kind == "sperm"}


def before(field: SimulationSettings, number: int = 0, away_um: float = 10.0) -> Steady:
    """A pipette to the right of a cell of the field, at its height."""
    pose = Scene(field).swimmers[number].way.pose(0.1)
    return Steady((pose.y_um, pose.x_um + away_um, max(field.height_um(pose.z_um), 4.0)))


@pytest.mark.parametrize("motile", [False, True])
def test_without_a_flow_the_field_is_as_it_was(motile: bool) -> None:
    field = settings(motile)
    resting = Scene(field, replace(before(field), flow=0.0))
    for time_s in (0.0, 0.7, 0.2):
        ours, truth = resting.expose(time_s, EXPOSURE_S, 1.0)
        theirs, their_truth = Scene(field).expose(time_s, EXPOSURE_S, 1.0)
        assert np.array_equal(ours, theirs)
        assert truth == their_truth


def test_an_immotile_cell_is_drawn_in_and_stays_in_the_picture_until_it_has_left_it() -> None:
    field = settings()
    suction = before(field)
    scene = Scene(field, suction)
    start = cells(scene, 0.0)[0]
    seen = [cells(scene, t).get(0) for t in np.arange(0.1, 0.7, 0.03)]
    assert seen[0] is not None
    assert seen[0].x_px == pytest.approx(start.x_px, abs=1)
    assert max(cell.x_px for cell in seen if cell is not None) > start.x_px + 20
    assert seen[-1] is None
    assert scene.carrier is not None
    entry = scene.carrier.entries[0]
    assert entry.entered_s is not None
    assert 0.1 < entry.entered_s < 0.4
    assert entry.radius_um is not None
    assert entry.radius_um < 2.5
    assert entry.inside


def test_a_carried_cell_moves_without_a_jump_and_swims_on_when_the_flow_ends() -> None:
    field = settings(motile=True, seed=3)
    suction = replace(before(field, away_um=25.0), flow=0.1, from_s=0.3, until_s=0.4)
    scene, free = Scene(field, suction), Scene(field).swimmers[0].way
    times = np.arange(0.2, 1.0, 0.025)
    own = [cells(scene, t).get(0) for t in times]
    pixel = field.pixel_size_um
    track = np.array([(c.y_px * pixel, c.x_px * pixel) for c in own if c is not None])
    times = times[: len(track)]
    assert times[-1] > 0.8
    steps = np.hypot(*np.diff(track, axis=0).T)
    assert steps.max() < 9
    pose = free.pose(0.2 + EXPOSURE_S / 2)
    assert track[0] == pytest.approx([pose.y_um, pose.x_um], abs=1e-6)
    later = free.pose(times[-1] + EXPOSURE_S / 2)
    gone = math.hypot(track[-1][0] - later.y_um, track[-1][1] - later.x_um)
    assert 0.2 < gone < 20
    mean = np.hypot(*(track[-1] - track[9])) / (times[-1] - times[9])
    assert mean == pytest.approx(free.speed_um_s, rel=0.2)


def test_cells_beyond_the_reach_of_the_flow_keep_their_paths() -> None:
    field = settings(motile=True, seed=1, cells=8, separation_um=8.0)
    suction = replace(before(field, away_um=5.0), flow=5e-4)
    scene = Scene(field, suction)
    late, free = cells(scene, 0.4), cells(Scene(field), 0.4)
    assert scene.carrier is not None
    assert scene.carrier.entries
    untouched = set(free) - set(scene.carrier.entries)
    assert untouched
    assert all(late[number] == free[number] for number in untouched)


def test_a_cell_in_the_bore_moves_with_the_pipette() -> None:
    field = settings()
    suction = replace(
        before(field, away_um=6.0),
        flow=0.01,
        until_s=0.19,
        velocity_um_s=(20.0, 0.0, 0.0),
        moves_from_s=0.3,
    )
    scene = Scene(field, suction)
    start = cells(scene, 0.29)[0]
    assert scene.carrier is not None
    assert scene.carrier.entries[0].inside
    depth = scene.carrier.entries[0].depth_um
    end = cells(scene, 0.79)[0]
    assert (end.y_px - start.y_px) * field.pixel_size_um == pytest.approx(9.8, abs=0.3)
    assert scene.carrier.entries[0].depth_um == pytest.approx(depth, abs=0.1)


def test_the_images_do_not_depend_on_how_often_the_field_was_exposed() -> None:
    field = settings(motile=True, seed=2)
    suction = before(field, away_um=20.0)
    often, once = Scene(field, suction), Scene(field, suction)
    for time_s in np.arange(0.0, 0.5, 0.1):
        often.expose(time_s, EXPOSURE_S, 0.5)
    ours, truth = often.expose(0.5, EXPOSURE_S, 0.5)
    theirs, their_truth = once.expose(0.5, EXPOSURE_S, 0.5)
    assert np.array_equal(ours, theirs)
    assert truth == their_truth
    assert often.carrier is not None
    assert often.carrier.entries


def test_adhering_cells_stay_in_a_weak_flow() -> None:
    field = settings(aspiration=AspirationSettings(adhesion_share=1.0, adhesion_pn=1000.0))
    scene = Scene(field, before(field))
    start, end = cells(scene, 0.0)[0], cells(scene, 0.5)[0]
    assert scene.carrier is not None
    assert scene.carrier.entries[0].stuck
    assert (end.y_px, end.x_px) == pytest.approx((start.y_px, start.x_px))


def test_what_is_long_ago_is_refused_in_one_line() -> None:
    field = settings()
    scene = Scene(field, replace(before(field), until_s=0.12))
    scene.expose(13.0, EXPOSURE_S, 0.5)
    with pytest.raises(SettingError, match="forgotten; ask for"):
        scene.expose(1.0, EXPOSURE_S, 0.5)


def test_heights_over_the_dish_are_in_specimen_micrometres() -> None:
    field = settings(center_um=12.0, aspiration=AspirationSettings(dish_um=8.0))
    assert field.height_um(12.0) == pytest.approx(8.0)
    assert field.height_um(13.0) == pytest.approx(8.0 + 1.335)
    assert field.drive_um(field.height_um(3.0)) == pytest.approx(3.0)
    assert field.drive_um(0.0) == pytest.approx(field.dish_um)
