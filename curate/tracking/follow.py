"""Tracks cells through the planes of a stack.

Planes are searched one by one (`fgaf.curate.detection.detect`), and the spots are linked: from the
strongest head, forwards and backwards in time, each step predicted from the last one. A phase
object fades in its focus: the prediction continues the track until it is visible again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base.workers.progress import part, steps
from fgaf.curate.detection.detect import Detections, checked, spots
from fgaf.curate.detection.fixed import Contrast, without_fixed
from fgaf.curate.detection.scale import HEAD_UM, Floats, Scale
from fgaf.curate.tracking.gap_closing import MEMORY, Chain, close_gaps
from fgaf.curate.tracking.smooth import Places, by_contrast, by_focus, smoothed

TRACK_SCORE: Final = 0.5
"""Tracks with a lower score are left out unless asked for; less than a single plane needs, since a
track's score is a mean of many planes, also of those far out of focus."""
FASTEST_UM_S: Final = 150.0
"""Maximum speed of a sperm; a link that needs a higher speed is not made."""

_USUAL_INTERVAL_S: Final = 0.035
_WIDTH: Final = 0.42
"""Distance from a path within which spots are of its head, in head lengths; heads that touch side
by side are 0.5 to 0.7 apart."""
_SLACK: Final = 0.45
"""Maximum distance of a cell from its predicted position, in head lengths, plus `_SWERVE` of its
step."""
_SWERVE: Final = 0.6
_LEAST_SHARE: Final = 0.6
"""A track is seen in this share of the planes that it is inside the frame, at least,"""
_LEAST_HELD: Final = 0.3
"""and in this share of all planes."""
_PARTED: Final = 0.42
"""Step aside, in head lengths, from which a path goes on elsewhere after a jump: as on another
cell, or on the midpiece. A head that swings jumps too, but stays on its path, within 0.35."""
_LEAST_SIDE: Final = 2
_CONTRAST_WEIGHT, _SCORE_WEIGHT, _MISSED = 0.4, 0.8, 1.6
_CONTRAST_SHARE: Final = 0.1
"""Of the time of a search, for its bar."""


@dataclass(frozen=True)
class Track:
    """One cell through the planes of a stack; arrays are (P,), pixels of the raw frame.

    Attributes
    ----------
    y, x
        Centre of the head, sub-pixel; predicted or interpolated where it was not seen.
    seen
        Whether the head was found in the plane.
    jump
        Whether the step into this plane was far from its prediction, and the path does not go on
        where it would without it, so that it needs a check.
    height, width
        Size of the upright box around the head, one for all planes, pixels.
    score
        Similarity of the track to one head, 0 to 1.
    scores
        Score of its spot in each plane, 0 where none was found.
    length
        Length of the head relative to the length searched with.
    places
        Positions of its spots, before `y` and `x` were smoothed.
    looks
        (P, L) how the network sees its spot in each plane, 0 where none was found.
    """

    y: Floats
    x: Floats
    seen: npt.NDArray[np.bool_]
    jump: npt.NDArray[np.bool_]
    height: float
    width: float
    score: float
    scores: Floats
    length: float
    places: Places
    looks: npt.NDArray[np.float32]

    def steadied(self, z_um: Floats, focus_um: float) -> Track:
        """The track of a phase object near its roughly known focus, where it is not visible.

        Parameters
        ----------
        z_um
            (P,) drive positions, µm.
        focus_um
            Drive position of the focus, µm.
        """
        y, x = smoothed(self.places, by_focus(self.places, z_um, focus_um))
        return replace(self, y=y, x=x)


def search(
    frames: Iterable[npt.NDArray[Any]], pixel_size_um: float, *, head_um: float = HEAD_UM[0]
) -> list[Detections]:
    """Find the spots of every plane: (P,) detections, heads and other objects, for `link`.

    What is the same in all planes, as dust on the sensor, is removed first.

    Parameters
    ----------
    frames
        Frames (Y, X) of the planes, in order.
    pixel_size_um
        Side of a pixel in the specimen, µm.
    head_um
        Length of a head, µm.
    """
    scale = Scale(pixel_size_um, head_um)
    return [spots(plane, scale) for plane in steps(contrasts_of(frames, scale))]


def contrasts_of(frames: Iterable[npt.NDArray[Any]], scale: Scale) -> list[Contrast]:
    """Contrast of every plane on the working grid, without what is fixed on the sensor.

    Parameters
    ----------
    frames
        Frames (Y, X) of the planes, in order.
    scale
        The working grid.
    """
    with part(_CONTRAST_SHARE):
        contrasts = [scale.contrast(checked(frame)) for frame in steps(frames)]
    return without_fixed(contrasts)


def link(
    planes: Sequence[Detections],
    pixel_size_um: float,
    shape: tuple[int, int],
    times_s: Floats | None = None,
    *,
    head_um: float = HEAD_UM[0],
    least_score: float = TRACK_SCORE,
) -> list[Track]:
    """Link the spots of successive planes to tracks, best first.

    Parameters
    ----------
    planes
        (P,) detections of `search`, in the order the planes were taken.
    pixel_size_um
        Pixel in the specimen, µm.
    shape
        (Y, X) of the frames.
    times_s
        (P,) time of each plane; None where unknown, then 35 ms apart.
    head_um
        Length of a head, µm.
    least_score
        Tracks with a lower score are left out.
    """
    head = Scale(pixel_size_um, head_um).head_px
    times = np.arange(len(planes)) * _USUAL_INTERVAL_S if times_s is None else times_s
    reach = FASTEST_UM_S / pixel_size_um * np.abs(np.diff(times))
    free = [np.ones(len(plane), dtype=bool) for plane in planes]
    seeds = sorted(
        ((p, int(i)) for p, plane in enumerate(planes) for i in np.flatnonzero(plane.score > 0.3)),
        key=lambda seed: -_merit(planes[seed[0]], seed[1]),
    )
    paths: list[Chain] = []
    for p, i in seeds:
        if not free[p][i]:
            continue
        path = _best_path(planes, free, (p, i), head, reach)
        for q, plane in enumerate(planes):
            near = np.hypot(plane.y - path.y[q], plane.x - path.x[q]) < _WIDTH * head
            free[q] &= ~near
        free[p][i] = False
        paths.append(path)
    tracks = [_track(planes, path, shape, head) for path in close_gaps(paths, head)]
    likely = [track for track in tracks if track.score >= least_score]
    return sorted(likely, key=lambda track: -track.score)


def _merit(plane: Detections, i: int) -> float:
    return float(plane.contrast[i] * plane.score[i])


def _best_path(
    planes: Sequence[Detections],
    free: list[npt.NDArray[np.bool_]],
    seed: tuple[int, int],
    head: float,
    reach: Floats,
) -> Chain:
    """Try every plausible first step from the seed, and no motion; keep the best path."""
    p, i = seed
    y, x = planes[p].y[i], planes[p].x[i]
    steps = [(0.0, 0.0)]
    for q, sign in ((p + 1, 1), (p - 1, -1)):
        if 0 <= q < len(planes):
            dy, dx = planes[q].y - y, planes[q].x - x
            limit = reach[min(p, q)] + _SLACK * head
            near = free[q] & (np.hypot(dy, dx) < limit) & (planes[q].score > 0.05)
            steps += [(sign * dy[j], sign * dx[j]) for j in np.flatnonzero(near)]
    paths = [_extend(planes, free, seed, step, head, reach) for step in steps]
    paths.append(_extend(planes, free, seed, (0.0, 0.0), head, reach, still=True))
    return min(paths, key=lambda path: path.cost)


def _extend(
    planes: Sequence[Detections],
    free: list[npt.NDArray[np.bool_]],
    seed: tuple[int, int],
    step: tuple[float, float],
    head: float,
    reach: Floats,
    still: bool = False,
) -> Chain:
    n = len(planes)
    path = Chain(np.zeros(n), np.zeros(n), np.full(n, -1), np.zeros(n, dtype=bool))
    p, i = seed
    path.y[p], path.x[p], path.spot[p] = planes[p].y[i], planes[p].x[i], i
    for sign in (1, -1):
        velocity = sign * np.array(step)
        contrast = planes[p].contrast[i]
        way = [(p, path.y[p], path.x[p])]
        for q in range(p + sign, n if sign > 0 else -1, sign):
            before = np.array([path.y[q - sign], path.x[q - sign]])
            gap = abs(q - way[-1][0])
            expected = np.array(way[0 if still else -1][1:]) + gap * velocity
            plane = planes[q]
            away = np.hypot(plane.y - expected[0], plane.x - expected[1])
            moved = np.hypot(plane.y - before[0], plane.x - before[1])
            gate = (_SLACK + 0.15 * min(gap - 1, 3)) * head + _SWERVE * np.hypot(*velocity)
            ok = free[q] & (away < gate) & (moved < reach[min(q, q - sign)] + _SLACK * head)
            costs = (
                (away / gate) ** 2
                + _CONTRAST_WEIGHT * np.abs(np.log(plane.contrast / contrast))
                + _SCORE_WEIGHT * (1 - plane.score)
            )
            if not ok.any():
                path.y[q], path.x[q] = expected
                path.cost += _MISSED
                continue
            j = int(np.argmin(np.where(ok, costs, np.inf)))
            path.y[q], path.x[q], path.spot[q] = plane.y[j], plane.x[j], j
            path.jump[max(q, way[-1][0])] = away[j] > 0.8 * gate and away[j] > 0.5 * head
            path.cost += min(costs[j], _MISSED)
            contrast = np.sqrt(contrast * plane.contrast[j])
            way.append((q, plane.y[j], plane.x[j]))
            if not still:
                velocity = _velocity(way[-MEMORY:], velocity)
    return path


def _velocity(way: list[tuple[int, float, float]], before: Floats) -> Floats:
    """Mean velocity of the last positions, per plane in the direction of tracking.

    The first step alone is unreliable because the head oscillates: it has the same weight as the
    guess before.
    """
    at = np.abs(np.array([q for q, _, _ in way], dtype=np.float64) - way[0][0])
    places = np.array([place for _, *place in way])
    at -= at.mean()
    slope = (at[:, None] * places).sum(axis=0) / (at**2).sum()
    return np.asarray(0.5 * (slope + before) if len(way) == 2 else slope)


def _track(planes: Sequence[Detections], path: Chain, shape: tuple[int, int], head: float) -> Track:
    seen = path.spot >= 0
    held = np.flatnonzero(seen)
    index = np.arange(len(planes))
    y, x = path.y.copy(), path.x.copy()
    inside = (index >= held[0]) & (index <= held[-1])
    gaps = inside & ~seen
    y[gaps] = np.interp(index[gaps], held, path.y[held])
    x[gaps] = np.interp(index[gaps], held, path.x[held])

    def column(name: str) -> Floats:
        return np.array([getattr(planes[int(p)], name)[path.spot[p]] for p in held])

    contrast, of_planes = np.zeros((2, len(planes)))
    contrast[held], of_planes[held] = column("contrast"), column("score")
    looks = np.zeros((len(planes), planes[0].looks.shape[1]), np.float32)
    looks[held] = column("looks")
    places = Places(y, x, contrast, head)
    y, x = smoothed(places, by_contrast(places))
    within = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    share = len(held) / max(1, int(np.count_nonzero(within)))
    scores = of_planes[held]
    score = float(np.average(scores, weights=scores))
    enough = min(1.0, share / _LEAST_SHARE, len(held) / (_LEAST_HELD * len(planes)))
    return Track(
        y=y,
        x=x,
        seen=seen,
        jump=np.array(
            [jump and _parts(path, held, q, head) for q, jump in enumerate(path.jump)], dtype=bool
        ),
        height=float(np.median(column("height"))),
        width=float(np.median(column("width"))),
        score=score * enough,
        scores=of_planes,
        length=float(np.average(column("length"), weights=scores)),
        places=places,
        looks=looks,
    )


def _parts(path: Chain, held: npt.NDArray[np.intp], plane: int, head: float) -> bool:
    """Whether a path goes on beside where it was before a plane, or is too short to tell.

    One velocity is fitted to the planes before and from it on, and the step between the two.
    """
    sides = held[held < plane][-MEMORY:], held[held >= plane][:MEMORY]
    if min(len(side) for side in sides) < _LEAST_SIDE:
        return True
    near = np.concatenate(sides)
    terms = np.column_stack([np.ones(len(near)), near - plane, near >= plane])
    places = np.column_stack([path.y[near], path.x[near]])
    step = np.linalg.lstsq(terms, places, rcond=None)[0][2]
    return bool(np.hypot(*step) > _PARTED * head)
