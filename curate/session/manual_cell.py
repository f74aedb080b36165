"""A cell added by hand: followed and checked like the cells found automatically."""

from __future__ import annotations

from typing import Final

import numpy as np

from fgaf.base.errors import FgafError
from fgaf.curate.candidates import pixel_size_of, times_of
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.curate.focus.curves import measure
from fgaf.curate.focus.suggest import LIKELY, suggest
from fgaf.curate.session.finding import by_focus_curve
from fgaf.curate.session.state import CellState, StackRef, State
from fgaf.curate.session.votes import Votes
from fgaf.curate.tracking.follow import Track, link, search
from fgaf.dataset.raw import RawStack

_AROUND_UM: Final = 24.0
"""Half the side of the searched square."""
_NEAR: Final = 1.0
"""Maximum distance of a head from the clicked point, in head lengths."""


def cell_at(
    stack: RawStack, ref: StackRef, state: State, plane: int, y: float, x: float, annotator: str
) -> CellState:
    """Make the cell at a position: its tracked path, else that position in all planes.

    Parameters
    ----------
    stack
        Open raw stack.
    ref
        The stack's entry in the session.
    state
        State of the session: its settings, and the used names.
    plane, y, x
        The clicked point: plane, and pixels of the raw frame.
    annotator
        The person.

    Raises
    ------
    FgafError
        The position is outside the frame.
    """
    rows, columns = stack.shape[1:]
    if not (0 <= y < rows and 0 <= x < columns):
        raise FgafError("that place is outside the frame; click into the field")
    pixel = pixel_size_of(stack, ref.pixel_size_um or state.pixel_size_um)
    reach = round(_AROUND_UM / pixel)
    top, left = max(0, round(y) - reach), max(0, round(x) - reach)
    frames = stack.frames[:, top : round(y) + reach, left : round(x) + reach]
    tracks = link(
        search(frames, pixel, head_um=state.head_um),
        pixel,
        frames.shape[1:],
        times_of(stack),
        head_um=state.head_um,
        least_score=0.0,
    )
    head = state.head_um / pixel
    track = _nearest(tracks, plane, y - top, x - left, _NEAR * head)
    still = np.zeros(stack.n_planes)
    way_y, way_x = (still + y, still + x) if track is None else (track.y + top, track.x + left)
    optics = stack.header.optics
    order = np.argsort(stack.z_um, kind="stable")
    curves = measure(
        frames[order],
        way_y[order] - top,
        way_x[order] - left,
        stack.z_um[order],
        pixel,
        cutoff_per_um=optics.cutoff_per_um,
        head_um=state.head_um,
    )
    focus = suggest(curves, Votes(state.stacks.values()).rule_of(ref, LIKELY))
    number = 1
    while (name := f"{ref.name}-by-hand-{number:02d}") in state.cells:
        number += 1
    tall, wide = (head, head * HEAD_UM[1] / HEAD_UM[0])
    return CellState(
        id=name,
        stack=ref.fingerprint,
        y=np.round(way_y, 2),
        x=np.round(way_x, 2),
        height=tall if track is None else track.height,
        width=wide if track is None else track.width,
        score=0.0 if track is None else track.score,
        jump=() if track is None else tuple(int(p) for p in np.flatnonzero(track.jump)),
        suggestion=by_focus_curve(focus),
        added_by=annotator,
    )


def _nearest(tracks: list[Track], plane: int, y: float, x: float, within: float) -> Track | None:
    away = [float(np.hypot(track.y[plane] - y, track.x[plane] - x)) for track in tracks]
    best = int(np.argmin(away)) if away else -1
    return tracks[best] if away and away[best] <= within else None
