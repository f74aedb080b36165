"""Segmented heads in windows: where they are in the frame, whatever the window shows of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from fgaf import FgafError
from fgaf.curate.detection.network import shipped
from fgaf.dataset.storage.optics import Optics
from fgaf.model.live.head_windows import HeadWindows, require_optics
from fgaf.model.live.tracker import SEARCH_S, Tracker
from tests.curate.drawings import PIXEL_UM, Drawing
from tests.live.conftest import Contrasts

HEAD_UM = 4.7
FRAME_NS = round(1e9 * SEARCH_S)
Made = Callable[..., Contrasts]
Places = list[tuple[float, float]]


def drawn(places_um: Places, side_um: float = 30.0) -> tuple[npt.NDArray[np.uint8], Places]:
    """A frame of heads, and their centres in pixels."""
    drawing = Drawing(side_um)
    for place in places_um:
        drawing.head(place, tail=0.1)
    centres = [
        ((y + drawing.side_um / 2) / PIXEL_UM - 0.5, (x + drawing.side_um / 2) / PIXEL_UM - 0.5)
        for y, x in places_um
    ]
    return drawing.image(), centres


def off_px(found: npt.NDArray[np.float64], place: tuple[float, float]) -> float:
    return min((math.hypot(y - place[0], x - place[1]) for y, x, _ in found), default=math.inf)


@dataclass(frozen=True)
class Case:
    """A head, how far the middle of its window is from it, and pixels of the training."""

    name: str
    head_um: tuple[float, float] = (0.0, 0.0)
    away_px: tuple[float, float] = (0.0, 0.0)
    trained_um: float = PIXEL_UM


CASES = [
    Case("in the middle"),
    Case("off the middle", (1.03, -2.21), (11, -9)),
    Case("at the border of the frame", (-12.4, 12.3)),
    Case("larger pixels in training", (2.0, -3.3), (5, 7), 1.8 * PIXEL_UM),
    Case("smaller pixels in training", (2.0, -3.3), (-5, 7), 0.7 * PIXEL_UM),
    Case("larger pixels, at the border", (12.2, -12.4), (0, 0), 1.8 * PIXEL_UM),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_centre_is_in_pixels_of_the_frame(case: Case, contrasts: Made) -> None:
    frame, (place,) = drawn([case.head_um])
    model = contrasts(optics=Optics(pixel_size_um=case.trained_um))
    windows = HeadWindows(model, frame.shape, PIXEL_UM, HEAD_UM)
    found = windows.heads(frame, [(place[0] + case.away_px[0], place[1] + case.away_px[1])])
    assert len(found) == 1
    assert off_px(found, place) * PIXEL_UM < 0.06
    assert 0.5 < found[0, 2] < 1


def test_a_head_that_a_window_cuts_is_taken_from_the_other(contrasts: Made) -> None:
    frame, places = drawn([(0.0, -3.0), (0.5, 3.0)])
    model = contrasts()
    windows = HeadWindows(model, frame.shape, PIXEL_UM, HEAD_UM)
    for own in places:
        alone = windows.heads(frame, [own])
        assert [off_px(alone, place) < 0.4 for place in places] == [own is p for p in places]
    both = windows.heads(frame, places)
    assert [off_px(both, place) < 0.4 for place in places] == [True, True]
    assert model.batches == [2, 2, 2]


@pytest.mark.parametrize(("count", "batches"), [(1, [2]), (5, [6]), (16, [16]), (17, [16, 2])])
def test_a_batch_has_a_number_of_windows_that_was_prepared(
    count: int, batches: list[int], contrasts: Made
) -> None:
    frame, (place,) = drawn([(0.0, 0.0)])
    model = contrasts()
    windows = HeadWindows(model, frame.shape, PIXEL_UM, HEAD_UM)
    assert len(windows.heads(frame, [place] * count)) == count
    assert model.batches == batches
    windows.prepare()
    assert set(batches) <= set(model.batches[len(batches) :])


def test_specks_are_no_heads(contrasts: Made) -> None:
    frame, (place,) = drawn([(0.0, 0.0)])
    windows = HeadWindows(contrasts(least_px=5000), frame.shape, PIXEL_UM, HEAD_UM)
    assert windows.heads(frame, [place]).shape == (0, 3)
    assert windows.heads(frame, []).shape == (0, 3)


def test_a_frame_smaller_than_a_window_is_refused(contrasts: Made) -> None:
    with pytest.raises(FgafError, match=r"50 x 200 px are smaller than the windows of 64 px"):
        HeadWindows(contrasts(), (50, 200), PIXEL_UM, HEAD_UM)


def test_optics_must_be_those_of_training_but_pixels_may_differ(contrasts: Made) -> None:
    card = contrasts(optics=Optics(pixel_size_um=0.2, numerical_aperture=0.65)).card
    mine = Optics(pixel_size_um=0.1465, numerical_aperture=0.65)
    require_optics(card, mine, "sim")
    other = mine.model_copy(update={"numerical_aperture": 0.5})
    with pytest.raises(FgafError, match=r"for --heads, the rig sim has a numerical aperture of"):
        require_optics(card, other, "sim")


def followed(model: Contrasts | None, frames: list[npt.NDArray[np.uint8]]) -> Tracker:
    shape = frames[0].shape
    windows = None if model is None else HeadWindows(model, shape, PIXEL_UM, HEAD_UM)
    tracker = Tracker(shape, PIXEL_UM, HEAD_UM, shipped(), windows=windows)
    for number, frame in enumerate(frames):
        tracker.follow(frame, number * FRAME_NS)
        tracker.begin(tracker.search(frame, number * FRAME_NS), number * FRAME_NS)
    return tracker


def test_the_finder_helps_where_nothing_is_segmented(contrasts: Made) -> None:
    frame, places = drawn([(-5.0, -5.0), (5.0, 5.0)])
    for least_px, segmented in ((100, True), (5000, False)):
        tracker = followed(contrasts(least_px=least_px), [frame] * 8)
        assert [track.segmented for track in tracker.known] == [segmented] * 2
        assert all(track.seen for track in tracker.known)
        found = np.array([(t.y, t.x, t.score) for t in tracker.known])
        assert max(off_px(found, place) for place in places) < 2.5


def test_a_cell_without_a_region_is_tried_again_after_five_frames(contrasts: Made) -> None:
    frame, _ = drawn([(0.0, 0.0)])
    model = contrasts(least_px=5000)
    followed(model, [frame] * 23)
    named = 4  # found, and confirmed in three more frames
    assert len(model.batches) == math.ceil((23 - named) / 6)


def test_heads_that_pass_each_other_keep_their_numbers(contrasts: Made) -> None:
    """They nearly touch on the way, and are then one connected piece."""
    ways = [[(-1.6, -7.0 + 0.5 * k), (1.6, 7.0 - 0.5 * k)] for k in range(29)]
    frames, last = [], []
    for places in ways:
        frame, last = drawn(places)
        frames.append(frame)
    windows = HeadWindows(contrasts(), frames[0].shape, PIXEL_UM, HEAD_UM)
    middle = (frames[0].shape[0] / 2, frames[0].shape[1] / 2)
    assert len(windows.heads(frames[14], [middle])) == 1
    before = followed(contrasts(), frames[:8])
    own = {track.number: track.y < frames[0].shape[0] / 2 for track in before.known}
    after = followed(contrasts(), frames)
    assert {track.number: track.y < frames[0].shape[0] / 2 for track in after.known} == own
    found = np.array([(t.y, t.x, t.score) for t in after.known])
    assert max(off_px(found, place) for place in last) < 1.5


def test_new_cells_are_those_of_the_finder(contrasts: Made) -> None:
    frame, _ = drawn([(-5.0, -5.0), (5.0, 5.0)])
    with_heads, without = followed(contrasts(), [frame] * 8), followed(None, [frame] * 8)
    assert with_heads.named == without.named == 2
    assert not any(track.segmented for track in without.known)


def test_a_card_without_a_pixel_size_takes_the_frame_as_it_is(contrasts: Made) -> None:
    frame, (place,) = drawn([(1.0, 1.0)])
    model = contrasts()
    unknown = Contrasts(replace(model.card, optics=Optics()))
    same = [
        HeadWindows(each, frame.shape, PIXEL_UM, HEAD_UM).heads(frame, [place])
        for each in (model, unknown)
    ]
    assert same[0] == pytest.approx(same[1])
