"""Paths of heads that swing, and of tracks that go on beside where they were."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pytest

from fgaf.curate.detection.detect import Detections
from fgaf.curate.detection.network import LOOKS
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.curate.tracking.follow import link

PLANES, SHAPE, STEP_PX, HEAD_PX = 17, (400, 400), 8.0, 32.0
PIXEL_UM = HEAD_UM[0] / HEAD_PX


@dataclass(frozen=True)
class Case:
    """How far a head is off its straight path in each plane, pixels across it."""

    name: str
    off: tuple[float, ...]
    jumps: tuple[int, ...]


def swinging(beat_hz: float) -> tuple[float, ...]:
    """A swing of 1.2 µm to either side, seen in planes 33 ms apart."""
    return tuple(8.0 * np.sin(2 * np.pi * beat_hz * 0.033 * np.arange(PLANES) + 0.7))


CASES = [
    Case("straight", (0.0,) * 17, ()),
    Case("swings 12 times a second", swinging(12), ()),
    Case("swings 14 times a second", swinging(14), ()),
    Case("goes on beside", (0.0,) * 8 + (18.0,) * 9, (8,)),
    Case("goes on beside for two planes", (0.0,) * 15 + (18.0,) * 2, (15,)),
]


def plane(y: float, x: float) -> Detections:
    one = np.ones(1)
    sides = {"height": HEAD_PX * one, "width": HEAD_PX * one, "length": one, "angle": 0 * one}
    looks = np.zeros((1, LOOKS), np.float32)
    return Detections(
        y=y * one, x=x * one, score=0.9 * one, contrast=0.1 * one, looks=looks, **sides
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_only_a_path_that_goes_on_elsewhere_jumps(case: Case) -> None:
    spots = [plane(200 + case.off[k], 100 + STEP_PX * k) for k in range(PLANES)]
    (track,) = link(spots, PIXEL_UM, SHAPE)
    assert track.seen.sum() >= PLANES - 1
    assert tuple(np.flatnonzero(track.jump)) == case.jumps


def together(*parts: Detections) -> Detections:
    """The spots of one plane."""
    columns = [field.name for field in fields(Detections)]
    return Detections(**{c: np.concatenate([getattr(part, c) for part in parts]) for c in columns})


def test_of_two_heads_side_by_side_each_has_a_path() -> None:
    """2.4 µm apart; a second spot 1.5 µm beside one of them is of the same head."""
    apart, within = (um / PIXEL_UM for um in (2.4, 1.5))
    ways = [(100 + STEP_PX * k, (200, 200 + apart)) for k in range(PLANES)]
    spots = [together(*(plane(y, x) for y in pair)) for x, pair in ways]
    spots[8] = together(spots[8], plane(200 - within, ways[8][0]))
    tracks = link(spots, PIXEL_UM, SHAPE)
    assert sorted(round(float(np.median(track.y))) for track in tracks) == [200, round(200 + apart)]
    assert all(track.seen.all() for track in tracks)
