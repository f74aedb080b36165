"""What is followed: heads, and neither debris nor the same cell twice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fgaf.acquire import load_rig
from fgaf.acquire.simulation.scene import Scene
from fgaf.curate.detection.network import shipped
from fgaf.model.live.tracker import SEARCH_S, Track, Tracker
from tests.curate.drawings import PIXEL_UM as DRAWN_UM, Drawing

SHAPE, PIXEL_UM = (480, 640), 5.86 / 40
FRAME_NS = round(1e9 * SEARCH_S)


def scene(**simulation: object) -> Scene:
    values = {"shape": list(SHAPE), "round_cells": 1, "debris": 12} | simulation
    settings = load_rig("sim", [f"simulation.{key}={value}" for key, value in values.items()])
    assert settings.simulation is not None
    return Scene(settings.simulation)


def tracker() -> Tracker:
    return Tracker(SHAPE, PIXEL_UM, 4.7, shipped())


def followed(field: Scene, frames: int, drive_um: float) -> Tracker:
    found = tracker()
    for number in range(frames):
        pixels, _ = field.expose(number * SEARCH_S, 0.005, drive_um)
        found.follow(pixels, number * FRAME_NS)
        found.begin(found.search(pixels, number * FRAME_NS), number * FRAME_NS)
    return found


@pytest.mark.parametrize("drive_um", [-1.0, 1.0])
def test_of_13_particles_and_round_cells_hardly_any_gets_a_number(drive_um: float) -> None:
    assert followed(scene(cells=0, seed=3), 14, drive_um).named <= 1


@pytest.mark.parametrize("drive_um", [-1.0, 0.0, 1.0])
def test_heads_are_found_among_debris_in_focus_too(drive_um: float) -> None:
    field = scene(cells=3, seed=5, margin_um=12, motile="false", depth_spread_um=0.2)
    found = followed(field, 14, drive_um)
    _, truth = field.expose(13 * SEARCH_S, 0.005, drive_um)
    heads = [each for each in truth if each.kind == "sperm"]
    away = [
        min((math.hypot(t.y - own.y_px, t.x - own.x_px) for t in found.known), default=math.inf)
        for own in heads
    ]
    assert np.sum(np.array(away) * PIXEL_UM < 1.5) >= 2
    assert len(found.known) <= len(heads)


def test_the_cell_that_the_stage_keeps_is_not_dropped_for_low_scores() -> None:
    field = scene(cells=1, seed=5, debris=0, margin_um=20, motile="false", depth_spread_um=0.2)
    found = followed(field, 8, 1.0)
    (cell,) = found.known
    for number, held in ((8, cell.number), (9, None)):
        cell.worth = 0.0
        pixels, _ = field.expose(number * SEARCH_S, 0.005, 1.0)
        kept = found.follow(pixels, number * FRAME_NS, held=held)
        assert (cell in kept) == (held is not None)


@pytest.mark.parametrize("held", [None, 0, 1])
def test_of_two_cells_that_may_be_at_a_head_the_held_one_is(held: int | None) -> None:
    found, ground = tracker(), np.full(SHAPE, 150, np.uint8)
    both = stamped(stamped(ground, 200, 300), 200, 332)
    for number in range(8):
        found.follow(both, number * FRAME_NS)
        found.begin(found.search(both, number * FRAME_NS), number * FRAME_NS)
    numbers = [track.number for track in sorted(found.known, key=lambda track: track.x)]
    assert len(numbers) == 2
    between = stamped(ground, 200, 318)  # nearer to the second one
    cells = found.follow(between, 8 * FRAME_NS, held=None if held is None else numbers[held])
    assert [track.number for track in cells if track.seen] == [numbers[1 if held is None else held]]


@pytest.mark.parametrize(("carried", "goes_on"), [(True, False), (True, True), (False, True)])
def test_a_head_in_a_flow_is_found_again_whether_that_goes_on_or_has_ended(
    carried: bool, goes_on: bool
) -> None:
    found, ground = tracker(), np.full(SHAPE, 150, np.uint8)

    def follow(number: int, pixels: np.ndarray) -> list[Track]:
        found.follow(pixels, number * FRAME_NS // 2, held=1, carried=carried)
        found.begin(found.search(pixels, number * FRAME_NS), number * FRAME_NS // 2)
        return found.known

    for number in range(12):  # 110 µm/s
        follow(number, stamped(ground, 200, 200 + 18 * number))
    for number in range(12, 14):
        follow(number, ground)
    (track,) = follow(14, stamped(ground, 200, 200 + 18 * (14 if goes_on else 11)))
    assert track.seen
    assert track.number == 1


def test_a_cell_that_stands_keeps_its_head_when_a_carried_one_is_lost_beside_it() -> None:
    found, ground = tracker(), np.full(SHAPE, 150, np.uint8)

    def follow(number: int, pixels: np.ndarray) -> dict[int, bool]:
        found.follow(pixels, number * FRAME_NS // 2, held=held, carried=True)
        found.begin(found.search(pixels, number * FRAME_NS), number * FRAME_NS // 2)
        return {track.number: track.seen for track in found.known}

    alone, held = stamped(ground, 228, 416), 0
    for number in range(12):
        follow(number, stamped(alone, 200, 200 + 18 * number))
    held, other = (track.number for track in sorted(found.known, key=lambda track: track.y))
    for number in range(12, 16):
        assert follow(number, alone) == {held: False, other: True}


def test_frames_that_come_faster_are_not_all_searched() -> None:
    pixels, _ = scene(cells=3, seed=5, motile="false").expose(0.0, 0.005, 1.0)
    found = tracker()
    finds = [len(found.search(pixels, number * FRAME_NS // 4)) for number in range(16)]
    assert sum(finds) > 0
    assert all(count == 0 for number, count in enumerate(finds) if number % 4)


def stamped(pixels: np.ndarray, y: int, x: int) -> np.ndarray:
    """A frame with a mark on the sensor that looks like a head."""
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    r = np.hypot((rows - y) / 10, (columns - x) / 16)
    return np.rint(pixels * (1 - 0.35 * np.clip((1 - r) * 5, 0, 1))).astype(pixels.dtype)


def test_a_mark_on_the_sensor_is_dropped_when_the_drive_moves_and_a_still_cell_is_not() -> None:
    field = scene(cells=3, seed=5, margin_um=12, motile="false", depth_spread_um=0.2, debris=0)
    found, mark = tracker(), (60, 330)

    def near(track: Track) -> bool:
        return math.hypot(track.y - mark[0], track.x - mark[1]) < 8

    def follow(first: int, drives_um: list[float]) -> None:
        for number, drive_um in enumerate(drives_um, start=first):
            pixels, _ = field.expose(number * SEARCH_S, 0.005, drive_um)
            pixels, time_ns = stamped(pixels, *mark), number * FRAME_NS
            found.follow(pixels, time_ns, drive_um)
            found.begin(found.search(pixels, time_ns), time_ns)

    follow(0, [1.0] * 14)
    assert any(near(track) for track in found.known)
    cells = {track.number for track in found.known if not near(track)}
    assert len(cells) >= 2
    follow(14, [1.0, 1.6, 2.2, 2.8, 3.4, 2.8, 2.2, 1.6, 1.0, *[1.0] * 14])
    assert not any(near(track) for track in found.known)
    assert cells <= {track.number for track in found.known}


def test_heads_that_were_found_once_are_no_cells_yet() -> None:
    drawing = Drawing(20.0)
    for place in ((-5.0, -5.0), (5.0, 5.0)):
        drawing.head(place)
    frame = drawing.image()
    found = Tracker(frame.shape, DRAWN_UM, 4.7, shipped())
    found.begin(found.search(frame, 0), 0)
    assert (len(found.known), found.unconfirmed) == (0, 2)
    for number in (1, 2):
        found.follow(frame, number * FRAME_NS)
    assert (len(found.known), found.unconfirmed) == (2, 0)


@pytest.mark.parametrize("diameter", [3.0, 12.0])
def test_objects_of_another_length_are_followed_too(diameter: float) -> None:
    drawing = Drawing(8 * diameter)
    places = [(-2.5, -2.0), (0.0, 0.0), (1.02, 0.0), (2.2, 2.4)]
    for y, x in places:
        drawing.disc((y * diameter, x * diameter), diameter)
    expected = (np.array(places) * diameter + drawing.side_um / 2) / DRAWN_UM - 0.5
    frame = drawing.image()
    found = Tracker(frame.shape, DRAWN_UM, diameter, shipped())
    for number in range(14):
        found.follow(frame, number * FRAME_NS)
        found.begin(found.search(frame, number * FRAME_NS), number * FRAME_NS)
    away = [
        min((math.hypot(t.y - y, t.x - x) for t in found.known), default=math.inf)
        for y, x in expected
    ]
    assert len(found.known) == len(places)
    assert max(away) * DRAWN_UM < 0.25 * diameter
