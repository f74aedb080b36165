"""A head in a micropipette is seen against the glass that was learnt before it came."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.acquire.simulation.camera import sensor
from fgaf.acquire.simulation.painter import Canvas, Painter
from fgaf.acquire.simulation.scenery.held_pipette import HeldPipette
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.network import shipped
from fgaf.model.bench.aspiration.cell import draw_subject
from fgaf.model.live.ground import FRAMES, Box, Circle, Ground
from fgaf.model.live.tracker import Tracker

Image = npt.NDArray[Any]

SHAPE, BOX = (160, 400), Box(0, 60, 160, 400)
PIPETTE = AspirationSettings(inner_diameter_um=10, outer_diameter_um=11)
SETTINGS = SimulationSettings(shape=SHAPE, quick=True, aspiration=PIPETTE)
PIXEL_UM = SETTINGS.pixel_size_um
TIP = (80 * PIXEL_UM, 130 * PIXEL_UM, 0.0)
INTERVAL_S = 0.025


def even(level: int, dtype: Any = np.uint8) -> Image:
    return np.full(SHAPE, level, dtype)


def learnt(frames: list[Image]) -> Ground:
    lines = [
        np.clip((np.minimum(at, at[::-1]) + 1) / 20, 0, 1) for at in map(np.arange, (160, 340))
    ]
    ground = Ground(BOX, np.outer(*lines).astype(np.float32))
    for pixels in frames:
        ground.learn(pixels, None)
    return ground


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_stands_is_taken_out_and_the_rest_stays(dtype: Any) -> None:
    frame = even(120, dtype)
    frame[70:90, 200:260] = 40
    ground = learnt([frame] * FRAMES)
    later = frame.copy()
    later[75:85, 210:220] = 30  # a quarter darker than what stands there
    bare = ground.without(later)
    assert bare.dtype == dtype
    assert np.ptp(bare[70:90, 230:260].astype(int)) <= 1
    assert bare[80, 215] / bare[80, 250] == pytest.approx(0.75, abs=0.02)
    assert (bare[:, :60] == later[:, :60]).all()
    assert abs(bare[:, 60:62].astype(int) - later[:, 60:62]).max() < 10, "it begins softly"
    assert later[80, 215] == 30, "the frame itself is as it was"


def test_what_passes_while_it_learns_is_not_learnt() -> None:
    frames = [even(120) for _ in range(FRAMES)]
    for number, frame in enumerate(frames):
        frame[70:90, 100 + 30 * number : 120 + 30 * number] = 60
    assert np.ptp(learnt(frames).without(even(120))[20:-20, 90:-30]) == 0


def test_a_ground_that_is_not_yet_known_changes_nothing() -> None:
    ground, frame = learnt([even(120)] * (FRAMES - 1)), even(99)
    assert not ground.known
    assert ground.without(frame) is frame
    ground.learn(even(120), None)
    assert ground.known


def test_what_has_left_fades_and_the_awaited_head_does_not() -> None:
    before, later = even(120), even(120)
    before[60:80, 100:120] = 80  # it lies there while the ground is learnt, and leaves
    later[60:80, 200:220] = 80
    ground, head = learnt([before] * FRAMES), Circle(70, 210, 25)
    assert ground.without(later)[70, 110] > 150
    for _ in range(25):
        ground.learn(later, None)
    assert ground.without(later)[70, 110] > 150, "where the head is, is unknown"
    for _ in range(25):
        ground.learn(later, head)
    bare = ground.without(later).astype(int)
    assert abs(bare[70, 110] - bare[70, 300]) <= 2
    assert bare[70, 210] / bare[70, 300] == pytest.approx(80 / 120, abs=0.02)


def test_what_passes_hardly_changes_a_known_ground() -> None:
    ground, head = learnt([even(120)] * FRAMES), Circle(30, 30, 10)
    for number in range(12):
        frame = even(120)
        frame[60:80, 100 + 8 * number : 130 + 8 * number] = 60
        ground.learn(frame, head)
    bare = ground.without(even(120)).astype(int)
    assert abs(bare[30:-30, 90:-40] - 120).max() < 120 * 0.15


@cache
def _scene() -> tuple[Painter, HeldPipette, Any]:
    painter = Painter(SETTINGS)
    subject = draw_subject(np.random.default_rng(1), True, (4, 20), (10, 30), (0, 0.2), 0)
    return painter, HeldPipette(PIPETTE, painter.waves, SHAPE), subject.swimmer


def drawn(along_um: float | None, rng: np.random.Generator) -> Image:
    """The pipette in focus, and a head on its axis, so far behind the mouth."""
    painter, pipette, swimmer = _scene()
    canvas = Canvas(SHAPE, 0.0)
    if along_um is not None:
        pose = swimmer.way.pose(0.0)
        shift = (TIP[0] - pose.y_um, TIP[1] + along_um - pose.x_um, -pose.z_um)
        painter.sperm(canvas, swimmer, 0.0, 0.005, shift)
    relative = canvas.relative()
    pipette.multiply(relative, 0.0, [TIP])
    return sensor.expose(relative, 0.005, SETTINGS, rng)


def test_a_head_keeps_its_number_through_the_mouth_and_along_the_bore() -> None:
    """It swims up to the mouth, is drawn in ever faster, and stops when the pump does."""
    rng = np.random.default_rng(0)
    ground = learnt([drawn(None, rng) for _ in range(FRAMES)])
    tracker = Tracker(SHAPE, PIXEL_UM, 4.7, shipped())
    speeds = [*([20.0] * 8), 25, 30, 40, 50, 65, 80, 100, 100, 100, 100, 60, 20, *([10.0] * 8)]
    along, numbers, off = -12.0, [], []
    for frame, speed in enumerate(speeds):
        along += speed * INTERVAL_S
        seen, time_ns = drawn(along, rng), round(frame * INTERVAL_S * 1e9)
        pixels = ground.without(seen)
        found = [track for track in tracker.follow(pixels, time_ns, 0.0) if track.seen]
        tracker.begin(tracker.search(pixels, time_ns), time_ns)
        at = (TIP[0], TIP[1] + along)
        away = [math.dist(at, (t.y * PIXEL_UM, t.x * PIXEL_UM)) for t in found]
        if frame > 4:
            off.append(min(away, default=math.inf))
            nearest = found[int(np.argmin(away))] if found else None
            numbers.append(nearest.number if nearest else 0)
            ground.learn(seen, nearest and Circle(nearest.y, nearest.x, 6 / PIXEL_UM))
    assert along > 8
    assert set(numbers) == {1}
    assert max(off) < 1.0
