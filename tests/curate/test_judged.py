"""The score of a track: by the planes with most contrast, its looks and its neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fgaf.curate.detection.detect import Detections, spots
from fgaf.curate.detection.network import LOOKS
from fgaf.curate.detection.scale import HEAD_UM, Scale
from fgaf.curate.tracking.follow import TRACK_SCORE, Track, link
from fgaf.curate.tracking.judge import candidate_score, features_of, judged
from tests.curate.drawings import PIXEL_UM, crowd

PLANES, SIDE = 17, 120
SCALE = Scale(0.3, HEAD_UM[0])


def spot(*places: tuple[int, int]) -> Detections:
    y, x = np.reshape(places, (-1, 2)).astype(float).T
    one = np.ones(len(y))
    sides = {"height": 15 * one, "width": 15 * one, "length": one, "angle": 0 * one}
    looks = np.zeros((len(y), LOOKS), np.float32)
    return Detections(y=y, x=x, score=0.8 * one, contrast=0.1 * one, looks=looks, **sides)


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
    scores, _ = features_of(tracks, list(ground), SCALE)
    after = {round(track.y[0]): score for track, score in zip(tracks, scores, strict=True)}
    assert before[30] == before[80]
    assert after[30] < 0.5 < 0.9 * before[80] < after[80]
    assert judged([], [], SCALE) == []


@pytest.fixture(scope="module")
def crowded() -> tuple[list[Track], list[npt.NDArray[np.float32]], Scale]:
    """Paths in five planes of a drawn crowd, more than are heads."""
    drawing, scale = crowd(20, side_um=50.0), Scale(PIXEL_UM)
    contrasts = [scale.contrast(drawing.image(noise)) for noise in (0.8, 1.0, 1.2, 1.4, 1.6)]
    planes = [spots(contrast, scale) for contrast in contrasts]
    shape = drawing.image().shape
    tracks = link(planes, PIXEL_UM, (shape[0], shape[1]), least_score=candidate_score())
    return tracks, contrasts, scale


def test_heads_in_a_crowd_stay_and_nothing_else(
    crowded: tuple[list[Track], list[npt.NDArray[np.float32]], Scale],
) -> None:
    tracks, contrasts, scale = crowded
    scores = np.array([track.score for track in judged(tracks, contrasts, scale)])
    assert np.count_nonzero(scores >= TRACK_SCORE) == 20 < len(tracks)


def test_the_order_of_paths_does_not_matter(
    crowded: tuple[list[Track], list[npt.NDArray[np.float32]], Scale],
) -> None:
    tracks, contrasts, scale = crowded
    forwards, backwards = (
        [track.score for track in judged(some, contrasts, scale)] for some in (tracks, tracks[::-1])
    )
    assert forwards == pytest.approx(backwards[::-1], abs=1e-6)
