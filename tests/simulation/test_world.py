"""One specimen under a moving stage: neighbouring views agree, cells swim through, moves blur."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from skimage.registration import phase_cross_correlation

from fgaf.acquire import load_rig, open_rig
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.dataset.truth import CellTruth

EXPOSURE_S = 0.005
CLEAN: dict[str, Any] = {
    "photons": 6e8, "full_well": 9.6e8, "read_noise": 0.0, "bit_depth": 12,
    "mottle": 0.0, "unevenness": 0.0,
}  # fmt: skip
SMALL: dict[str, Any] = {"shape": (240, 300), "cells": 4, "debris": 3, "round_cells": 0}
PIXEL_UM = SimulationSettings().pixel_size_um
SIDES = ("length", "width")
FAR = (20_000, -9_000)


def scene(**settings: Any) -> Scene:
    return Scene(SimulationSettings(**(CLEAN | SMALL | settings)))


def look(
    world: Scene, corner_px: tuple[float, float], time_s: float = 0.4, focus_um: float = 1.0
) -> tuple[np.ndarray, tuple[CellTruth, ...]]:
    """Take an image at a place given in pixels."""
    place = (corner_px[0] * PIXEL_UM, corner_px[1] * PIXEL_UM)
    pixels, truth = world.expose(time_s, EXPOSURE_S, focus_um, place=lambda _: place)
    return pixels.astype(float), truth


def heads(truth: tuple[CellTruth, ...], shape: tuple[int, int]) -> list[CellTruth]:
    """Those whose centre is in the frame."""
    return [
        cell
        for cell in truth
        if cell.kind == "sperm" and 0 <= cell.y_px < shape[0] and 0 <= cell.x_px < shape[1]
    ]


@dataclass(frozen=True)
class Shift:
    name: str
    corner_px: tuple[int, int]
    time_s: float
    settings: dict[str, Any]
    repeats: bool = False  # what other cases show too


SHIFTS = [
    Shift("cells far away", FAR, 0.4, {}, repeats=True),
    Shift("cells after a minute", FAR, 60.0, {}),
    Shift("from the first field", (0, 0), 0.4, {}, repeats=True),
    Shift("across the first field's border", (-100, 60), 3.0, {}),
    Shift("clumps", FAR, 0.4, {"rosettes": 1, "pairs": 1, "cells": 0}),
    Shift("small objects", FAR, 0.4, {"cells": 0, "tails": 2, "spots": 2, "cocci": 2}),
    Shift("an edge", (-20, -40), 0.4, {"droplet": True, "edges": 1}),
    Shift("grain", FAR, 0.4, {"grain": 0.05, "cells": 0}),
]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] * case.repeats) for case in SHIFTS],
    ids=lambda case: case.name,
)
def test_two_views_agree_where_they_overlap(case: Shift) -> None:
    world = scene(seed=3, **case.settings)
    (y, x), (dy, dx) = case.corner_px, (37, -52)
    one, truth = look(world, (y, x), case.time_s)
    other, truth_other = look(world, (y + dy, x + dx), case.time_s)
    assert np.abs(one[dy:, :dx] - other[:-dy, -dx:]).max() <= 1
    assert one.std() > 5
    places = {cell.id: (cell.y_px - dy, cell.x_px - dx) for cell in truth}
    for cell in truth_other:
        if cell.id in places:
            assert (cell.y_px, cell.x_px) == pytest.approx(places[cell.id], abs=1e-6)


def test_parts_of_a_pixel_move_the_image_too() -> None:
    world = scene(seed=3, grain=0.02)
    one, other = (look(world, (FAR[0] + part, FAR[1] - part))[0] for part in (0.0, 0.37))
    shift, *_ = phase_cross_correlation(one, other, upsample_factor=50, normalization=None)
    assert shift == pytest.approx((0.37, -0.37), abs=0.05)


def test_the_order_of_visits_changes_nothing() -> None:
    places = [(0, 0), FAR, (0, 0), FAR]
    forth, back = scene(seed=4), scene(seed=4)
    seen = [look(forth, place) for place in places]
    again = [look(back, place) for place in places[::-1]][::-1]
    for (pixels, truth), (pixels_again, truth_again) in zip(seen, again, strict=True):
        np.testing.assert_array_equal(pixels, pixels_again)
        assert truth == truth_again
    np.testing.assert_array_equal(seen[1][0], seen[3][0])


def test_light_and_dust_stay_with_the_camera_and_so_does_a_pipette() -> None:
    settings = CLEAN | SMALL | {"mottle": 0.02, "unevenness": 0.1, "cells": 0, "debris": 0}
    world = Scene(SimulationSettings(**settings, dust=5, pipette=True))
    (here, truth), (there, truth_there) = look(world, (0, 0)), look(world, FAR)
    np.testing.assert_array_equal(here, there)
    assert truth == truth_there


@pytest.mark.parametrize("time_s", [0.0, pytest.param(20.0, marks=pytest.mark.slow), 60.0])
def test_nothing_else_reaches_into_the_first_field(time_s: float) -> None:
    """A view that is next to none away from the first one looks for cells everywhere."""
    world = scene(seed=5, shape=(240, 300), cells=6, rosettes=1, tails=2)
    here, there = (look(world, (step, step), time_s, 4.0)[0] for step in (0.0, 1e-6))
    assert np.abs(here - there).max() <= 1


def test_other_places_hold_as_many_cells_as_the_first_at_any_time() -> None:
    world = scene(seed=6, shape=(480, 640), cells=8, debris=0, separation_um=10.0)
    shape = world.settings.shape
    first = heads(world._truth((0.0, 0.0), 0.0), shape)
    assert len(first) == 8
    rng = np.random.default_rng(0)
    for time_s in (0.0, 100.0):
        places = rng.uniform(-20_000, 20_000, (12, 2)).tolist()
        seen = [heads(world._truth((y, x), time_s), shape) for y, x in places]
        cells = [cell for each in seen for cell in each]
        assert len(cells) / len(seen) == pytest.approx(8, abs=1.5)
        assert len({cell.id for cell in cells}) == len(cells)
        assert np.abs([cell.focus_um for cell in cells]).max() < 2.5
        assert np.std([cell.focus_um for cell in cells]) == pytest.approx(0.9, rel=0.25)
        lengths, widths = ([getattr(cell, f"{side}_um") for cell in cells] for side in SIDES)
        assert np.mean(lengths) == pytest.approx(np.mean([c.length_um for c in first]), rel=0.15)
        assert np.mean(widths) == pytest.approx(np.mean([c.width_um for c in first]), rel=0.15)


def test_cells_swim_in_and_out_and_keep_their_numbers() -> None:
    world = scene(seed=7, shape=(600, 600), cells=12, debris=0)
    corner, step_s = np.array(FAR) * PIXEL_UM, 0.05
    frames = [
        {cell.id: cell for cell in world._truth((corner[0], corner[1]), k * step_s)}
        for k in range(60)
    ]
    assert len(set(frames[0]) & set(frames[-1])) < len(frames[0]) / 2
    assert len(set().union(*frames)) > 1.5 * len(frames[0])
    for before, after in pairwise(frames):
        for number in set(before) & set(after):
            a, b = before[number], after[number]
            assert np.hypot(b.y_px - a.y_px, b.x_px - a.x_px) * PIXEL_UM < 100 * step_s + 3
        for number in set(before) ^ set(after):
            cell = before.get(number) or after[number]
            edge = min(cell.y_px, cell.x_px, 600 - cell.y_px, 600 - cell.x_px)
            assert edge * PIXEL_UM < 100 * step_s + 3


def test_a_cell_is_the_same_when_the_stage_returns() -> None:
    world = scene(seed=8, motile=False)
    here = look(world, FAR)
    away = look(world, (FAR[0] + 5000, FAR[1]))
    assert not {cell.id for cell in here[1]} & {cell.id for cell in away[1]}
    again = look(world, FAR)
    np.testing.assert_array_equal(here[0], again[0])
    assert here[1] == again[1]


def test_numbers_are_of_one_object_each() -> None:
    world = scene(seed=9, cells=3, rosettes=1, tails=1, dust=2, needles=1)
    numbers: Counter[int] = Counter()
    for place in ((0, 0), FAR, (-3000, 4000), (3000, -4000)):
        truth = look(world, place)[1]
        held = {"dust", "pipette"}
        assert len({cell.id for cell in truth}) == len(truth)
        numbers.update({cell.id for cell in truth if cell.kind not in held})
    assert set(numbers.values()) == {1}


def test_nothing_lies_outside_the_extent() -> None:
    world = scene(seed=1, extent_fields=9, cells=8)
    rows, columns = world.settings.shape
    assert heads(look(world, (0, 3 * columns), 3.0)[1], world.settings.shape)
    pixels, truth = look(world, (6 * rows, 0), 3.0)
    assert truth == ()
    assert pixels.std() < 1
    alone = scene(seed=1, extent_fields=1, cells=8)
    assert not heads(look(alone, (0, 2 * columns), 3.0)[1], world.settings.shape)


@pytest.mark.parametrize(
    "drift_um", [pytest.param((0.0, 3.0), marks=pytest.mark.slow), (-2.0, 1.0)], ids=str
)
def test_motion_blurs_as_the_mean_of_still_images(drift_um: tuple[float, float]) -> None:
    settings = {"seed": 2, "motile": False, "spots": 1, "tails": 1, "grain": 0.03}
    world = scene(**settings, rosettes=1)
    corner = np.array(FAR) * PIXEL_UM

    def moving(time_s: float) -> tuple[float, float]:
        y, x = corner + np.array(drift_um) * (time_s - 0.4) / EXPOSURE_S
        return y, x

    blurred = world.expose(0.4, EXPOSURE_S, 1.0, place=moving)[0].astype(float)
    parts = 12
    mean = np.zeros_like(blurred)
    for part in (np.arange(parts) + 0.5) / parts:
        place = moving(0.4 + part * EXPOSURE_S)
        still = world.expose(0.4, EXPOSURE_S, 1.0, place=lambda _, place=place: place)[0]
        mean += still / parts
    sharp = look(world, (FAR[0] + drift_um[0] / 2 / PIXEL_UM, FAR[1] + drift_um[1] / 2 / PIXEL_UM))
    assert np.sqrt(np.mean((blurred - mean) ** 2)) < 0.06 * np.sqrt(np.mean((sharp[0] - mean) ** 2))


def test_a_cell_that_the_stage_follows_stays_sharp() -> None:
    settings = {"speed_um_s": (100.0, 100.0), "reference_exposure_s": 0.05}
    world = scene(seed=3, shape=(300, 300), cells=1, debris=0, **settings)
    way, exposure_s = world.swimmers[0].way, 0.05

    def follow(time_s: float) -> tuple[float, float]:
        y, x = way.path(time_s)
        return y - 150 * PIXEL_UM, x - 150 * PIXEL_UM

    middle = follow(exposure_s / 2)
    images = [
        world.expose(0.0, exposure_s, -1.0, place=place)[0][110:190, 110:190].astype(float)
        for place in (follow, lambda _: middle)
    ]
    assert images[0].std() > 1.2 * images[1].std()


def test_a_fast_move_costs_no_more_than_a_few_images() -> None:
    world, calls = scene(cells=1, debris=0), []
    world.expose(
        0.0, 0.1, 0.0, lambda: calls.append(1), lambda time_s: (FAR[0] + 20_000 * time_s, FAR[1])
    )
    still: list[int] = []
    world.expose(0.0, 0.1, 0.0, lambda: still.append(1), lambda _: (FAR[0] + 1000.0, FAR[1]))
    assert len(calls) <= 6 * len(still)


GEOMETRY = [(0.0, False), (5.0, False), (-90.0, True), (180.0, False)]


@pytest.mark.parametrize(("angle_deg", "mirrored"), GEOMETRY, ids=str)
def test_a_move_of_the_stage_shifts_the_image_by_as_many_pixels(
    angle_deg: float, mirrored: bool
) -> None:
    rig = load_rig(
        "sim",
        (
            "simulation.shape=[240, 300]",
            "simulation.cells=0",
            "simulation.debris=12",
            "simulation.photons=100000",
            "simulation.full_well=200000",
            "simulation.mottle=0",
            "simulation.unevenness=0",
            "xy_stage.options.start_um=[900, -700]",
            f"xy_stage.options.angle_deg={angle_deg}",
            f"xy_stage.options.mirrored={str(mirrored).lower()}",
        ),
    )
    move = np.array([6.0, -3.5])
    with open_rig(rig) as devices:
        stage: Any = devices.xy_stage
        devices.camera.start()
        images = []
        for x, y in ((900, -700), (900 + move[0], -700 + move[1])):
            stage.move_xy_to(x, y)
            while stage.moving_xy():
                devices.clock.sleep(0.01)
            images.append(devices.camera.trigger(5.0).pixels.astype(float))
    turn = np.radians(angle_deg)
    along = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    x, y = along @ (move * (1, -1 if mirrored else 1)) / PIXEL_UM
    found, *_ = phase_cross_correlation(
        images[0], images[1], upsample_factor=20, normalization=None
    )
    assert found == pytest.approx((y, x), abs=0.3)
