"""The score of a track by what the planes with most contrast show."""

from __future__ import annotations

import numpy as np

from fgaf.curate.detection.detect import Detections
from fgaf.curate.detection.scale import HEAD_UM, Scale
from fgaf.curate.tracking.find import judged
from fgaf.curate.tracking.follow import link

PLANES, SIDE = 17, 120
SCALE = Scale(0.3, HEAD_UM[0])


def spot(*places: tuple[int, int]) -> Detections:
    y, x = np.reshape(places, (-1, 2)).astype(float).T
    one = np.ones(len(y))
    sides = {"height": 15 * one, "width": 15 * one, "length": one, "angle": 0 * one}
    return Detections(y=y, x=x, score=0.8 * one, contrast=0.1 * one, **sides)


def test_a_speck_that_looks_like_a_head_only_where_it_is_blurred_has_a_low_score() -> None:
    """Both are found in the same planes; the speck is missed where it is sharp, the head faint."""
    speck, head = (30, 30), (80, 80)
    yes = np.abs(np.arange(PLANES) - 8) > 3
    ground = np.random.default_rng(1).normal(0, 0.001, (PLANES, SIDE, SIDE)).astype(np.float32)
    for plane, found in zip(ground, yes, strict=True):
        for (y, x), sharp in ((speck, 0.4), (head, 0.01)):
            plane[y - 3 : y + 4, x - 5 : x + 6] += 0.1 if found else sharp
    planes = [spot(speck, head) if found else spot() for found in yes]
    tracks = link(planes, SCALE.pixel_size_um, (SIDE, SIDE))
    before = {round(track.y[0]): track.score for track in tracks}
    after = {round(track.y[0]): track.score for track in judged(tracks, list(ground), SCALE)}
    assert before[30] == before[80]
    assert after[30] < 0.5 < 0.9 * before[80] < after[80]
    assert judged([], [], SCALE) == []
