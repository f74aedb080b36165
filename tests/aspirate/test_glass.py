"""The glass around the mouth is learnt while tip and drive stand, and not otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fgaf.model.aspirate.glass import Glass
from fgaf.model.aspirate.observation import Tip
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.live.ground import FRAMES
from fgaf.model.live.message import LiveFrame

SHAPE, PIXEL_UM = (300, 500), 0.1465
TIP = Tip(150.0, 250.0, 0.0, 0.0, 1.0)
FRAME = LiveFrame(
    *(0, 0, 0, 0.0, 1.0, 0, 41.0, 0.0, 0.0, None, None, False, ()),
    pixels=np.full(SHAPE, 100, np.uint8),
)


def glass_after(frames: int, **settings: float) -> Glass:
    glass = Glass(AspirationSettings(**settings), PIXEL_UM, SHAPE)  # type: ignore[arg-type]
    for _ in range(frames):
        glass.look(True, FRAME, TIP, None)
    return glass


def test_it_is_known_after_a_few_frames_and_forgotten_with_the_trial() -> None:
    glass = glass_after(FRAMES - 1)
    assert not glass.known
    glass.look(True, FRAME, TIP, None)
    assert glass.known
    glass.look(False, FRAME, TIP, None)
    assert not glass.known
    assert glass.ground is None


@pytest.mark.parametrize(
    ("frame", "tip"),
    [
        (replace(FRAME, drive_um=FRAME.drive_um + 0.3), TIP),
        (FRAME, replace(TIP, z_um=0.3)),
        (FRAME, replace(TIP, x_px=251.0)),
    ],
)
def test_what_moves_is_learnt_anew(frame: LiveFrame, tip: Tip) -> None:
    glass = glass_after(FRAMES)
    glass.look(True, frame, tip, None)
    assert not glass.known
    for _ in range(FRAMES - 1):
        glass.look(True, frame, tip, None)
    assert glass.known


@pytest.mark.parametrize(
    ("into", "inside", "outside"),
    [
        ((0.0, 1.0), [(0, 0), (0, 20), (7, 5)], [(0, -14), (14, 0), (0, 33)]),
        ((1.0, 0.0), [(0, 0), (15, 0)], [(-14, 0), (0, 14)]),
        ((0.0, -1.0), [(0, 0), (0, -20)], [(0, 14), (14, 0)]),
        ((0.7071, 0.7071), [(0, 0), (12, 12)], [(-11, -11)]),
    ],
)
def test_it_is_learnt_along_the_bore_and_not_where_the_cell_is_kept(
    into: tuple[float, float],
    inside: list[tuple[float, float]],
    outside: list[tuple[float, float]],
) -> None:
    stripes = FRAME.pixels.copy()
    stripes[::2] = 60
    glass, tip = Glass(AspirationSettings(view_um=20), PIXEL_UM, SHAPE), replace(TIP)
    tip = replace(tip, into_y=into[0], into_x=into[1])
    for _ in range(FRAMES):
        glass.look(True, replace(FRAME, pixels=stripes), tip, None)
    assert glass.ground is not None
    bare = glass.ground.without(stripes)

    def is_even(place_um: tuple[float, float]) -> bool:
        y, x = round(150 + place_um[0] / PIXEL_UM), round(250 + place_um[1] / PIXEL_UM)
        return abs(int(bare[y, x]) - int(bare[y + 1, x])) < 30

    assert all(map(is_even, inside))
    assert not any(map(is_even, outside))
