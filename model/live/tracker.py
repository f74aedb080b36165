"""The cells in view; each keeps its number as long as it can be followed.

Every known cell is searched for in a window around its predicted position: by a network that
segments heads, where there is one and it finds any, else by the finder. New cells are searched for
by the finder in one strip of the frame at a time, so that no frame takes long and the whole frame
is searched after a few frames. A spot that only sometimes looks like a head, such as debris, is
dropped when its mean score falls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from fgaf.base.bounds import IntervalS, Repeats, Share, require_bounded
from fgaf.curate.detection.detect import kind_of
from fgaf.curate.detection.network import REACH, STRIDE, HeadNetwork
from fgaf.curate.detection.scale import HEAD_UM, Scale
from fgaf.model.live.head_windows import HeadWindows
from fgaf.model.live.height import Height
from fgaf.model.live.marks import Marks, Watch
from fgaf.model.live.motion import Motion

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[Any]

_WINDOW: Final = 40
"""Side of the window around a known cell, in pixels of the working grid."""
_STRIP: Final = 128
"""Height of a strip, in pixels of the working grid, without the overlap with its neighbours: high
enough for the overlap to matter little, low enough for its search to take no longer than the rest
of a frame."""
_SHARED: Final = REACH // 2
SEARCH_S: Final = 2 / 41
"""Interval between searches of a strip: frames of 1200 rows are searched in a quarter of a
second."""
_GATE: Final = 3.5
"""A head farther than this many standard errors from the predicted position is another cell."""
_APART_UM: Final = 2.2
"""Minimum distance of two heads."""
_UNLIKELY: Final = 1e6
_HELD: Final = 4.0
"""Of two cells that may be at a head, the held one is, unless the other is likelier by more than
this, natural logarithm."""
_RECENT: Final = 0.1
"""Weight of the newest score in a cell's mean score, once there are more than ten."""
_PAUSE: Final = 5
"""Frames without segmentation for a cell after one in which it got no region: the finder alone
costs less than both."""


@dataclass(frozen=True)
class TrackSettings:
    """When a spot counts as a cell.

    Attributes
    ----------
    least_score
        Minimum score of a spot in the search for new cells, 0 to 1.
    least_score_known
        Minimum score of a spot where a known cell is expected.
    least_worth
        A cell is dropped when its mean score over its last frames is lower.
    confirmations
        Frames in which a new cell must be found before it gets a number, without a gap of more than
        two frames.
    lost_s
        A known cell is lost when it was not found for this long, in seconds.
    """

    least_score: Share = 0.4
    least_score_known: Share = 0.15
    least_worth: Share = 0.35
    confirmations: Repeats = 3
    lost_s: IntervalS = 0.6

    def __post_init__(self) -> None:
        require_bounded(self)


@dataclass
class Track:
    """One cell being followed.

    Attributes
    ----------
    number
        Its identity, from 1; 0 before it is confirmed.
    motion
        Its position and velocity.
    seen
        Whether it was found in the current frame.
    segmented
        Whether its place in the current frame is that of a segmented head.
    y, x
        Position where it was found in the current frame, else where it is expected; pixels.
    score
        Score of its spot, 0 to 1.
    worth
        Its mean score over the last frames in which it was found.
    finds
        Number of frames in which it was found.
    pause
        Frames in which no head is segmented for it, since there was none.
    missed
        Frames since it was last found.
    found_ns, born_ns
        When it was last found, and first.
    height
        Its height over time; None before its depth was read.
    watch
        What was seen at its place, to tell it from a mark on the sensor; None before it was seen at
        a known position of the drive.
    """

    motion: Motion
    y: float
    x: float
    score: float
    worth: float
    found_ns: int
    born_ns: int
    number: int = 0
    seen: bool = True
    segmented: bool = False
    finds: int = 1
    pause: int = 0
    missed: int = 0
    height: Height | None = field(default=None, repr=False)
    watch: Watch | None = field(default=None, repr=False)


class Tracker:
    """Follows all cells of a stream of frames.

    Parameters
    ----------
    shape
        Rows and columns (Y, X) of the frames.
    pixel_size_um
        Pixel in the specimen, in µm.
    head_um
        Length of a head, in µm; what is searched for depends on it as in
        `fgaf.curate.detection.detect.detect`.
    finder
        Finds heads.
    settings
        When a spot counts as a cell.
    windows
        Segments the heads of known cells; None to leave these to the finder too.

    Attributes
    ----------
    named
        Number of cells that have got a number so far.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pixel_size_um: float,
        head_um: float,
        finder: HeadNetwork,
        settings: TrackSettings | None = None,
        windows: HeadWindows | None = None,
    ) -> None:
        self._shape, self._finder, self._windows = shape, finder, windows
        self._settings = settings or TrackSettings()
        self._scale = Scale(pixel_size_um, head_um)
        self._kind = kind_of(self._scale)
        self._head_pixel_um = pixel_size_um
        self._apart_px = _APART_UM * head_um / HEAD_UM[0] / pixel_size_um
        rows = self._scale.shape_of(shape)[0]
        count = max(1, round(rows / _STRIP))
        edges = [STRIDE * round(rows * k / count / STRIDE) for k in range(count + 1)]
        self._strips = [
            (max(0, low - _SHARED), min(rows, high + _SHARED), low, high)
            for low, high in pairwise(edges)
        ]
        self._marks = Marks(self._scale)
        self._turn = 0
        self._searched_ns: int | None = None
        self.named = 0
        self._tracks: list[Track] = []

    @property
    def known(self) -> list[Track]:
        """The confirmed cells, found or awaited, in the order of their numbers."""
        return sorted((t for t in self._tracks if t.number), key=lambda t: t.number)

    @property
    def unconfirmed(self) -> int:
        """Number of spots that were not found often enough yet to be a cell."""
        return sum(not track.number for track in self._tracks)

    def follow(
        self,
        pixels: Image,
        time_ns: int,
        drive_um: float | None = None,
        shift_px: tuple[float, float] = (0.0, 0.0),
        held: int | None = None,
        carried: bool = False,
    ) -> list[Track]:
        """Follow the cells into the next frame.

        Spots that stay the same while the drive moves are marks on the sensor, and are dropped.
        Velocities are those in the specimen, also when the stage moves it.

        Parameters
        ----------
        pixels
            (Y, X) uint8 or uint16.
        time_ns
            Middle of its exposure.
        drive_um
            Position of the drive in it; None where unknown.
        shift_px
            Shift of the image by the stage since the last frame, y and x.
        held
            Number of a cell that the stage keeps in its place: that it stays is no sign of a mark,
            and low scores, as in perfect focus, are none of debris. Of the cells that may have left
            a head it comes first.
        carried
            Whether a flow carries that cell: its velocity may change at once, so that it may be at
            many heads, and does not come first.

        Returns
        -------
        The confirmed cells, as `known`.
        """
        for track in self._tracks:
            track.motion.predict(time_ns, carried and track.number == held, not track.missed)
            track.motion.shift(*shift_px)
        self._find(pixels, time_ns, None if carried else held)
        if drive_um is not None:
            self._drop_marks(pixels, drive_um, held)
        self._end(time_ns, held)
        return self.known

    def search(self, pixels: Image, time_ns: int) -> Floats:
        """Look for heads in the next strip of a frame; may run while the tracks are in use.

        Some frames are not searched when they come faster than `SEARCH_S`.

        Parameters
        ----------
        pixels
            (Y, X) the frame.
        time_ns
            Its time, nanoseconds.

        Returns
        -------
        (K, 3): y, x in pixels, score; best first.
        """
        if self._searched_ns is not None and time_ns - self._searched_ns < 0.9e9 * SEARCH_S:
            return np.zeros((0, 3))
        self._searched_ns = time_ns
        low, high, first, last = self._strips[self._turn % len(self._strips)]
        self._turn += 1
        zoom = self._scale.zoom
        top = round(low * zoom)
        contrast = self._scale.contrast(pixels[top : round(high * zoom)])
        (heads,) = self._finder.heads(contrast[None], self._settings.least_score, self._kind)
        placed = self._placed(heads, top, 0)
        return placed[(placed[:, 0] >= first * zoom) & (placed[:, 0] < last * zoom)]

    def begin(self, heads: Floats, time_ns: int) -> None:
        """Start tracks for heads that a search of the last frame found where there is no track yet.

        Parameters
        ----------
        heads
            (K, 3): y, x in pixels, score, from `search`.
        time_ns
            Time of the last frame, nanoseconds.
        """
        for y, x, score in heads:
            near = any(
                math.hypot(y - t.y, x - t.x) < self._apart_px
                or math.hypot(y - t.motion.y, x - t.motion.x) < self._apart_px
                for t in self._tracks
            )
            if not near and not self._marks.at(float(y), float(x)):
                y, x, score = float(y), float(x), float(score)
                motion = Motion.begin(y, x, time_ns, self._head_pixel_um)
                self._tracks.append(Track(motion, y, x, score, score, time_ns, time_ns))

    def _find(self, pixels: Image, time_ns: int, held: int | None) -> None:
        """Find the cells: those with a number by segmentation, the others by the finder."""
        for track in self._tracks:
            track.y, track.x = track.motion.y, track.motion.x
            track.seen = track.segmented = False
            track.missed += 1
        if self._windows is not None:
            due = [track for track in self.known if not track.pause]
            heads = self._windows.heads(pixels, [(track.y, track.x) for track in due])
            self._assign(due, self._merged(heads), time_ns, held)
            for track in self.known:
                track.pause = max(0, track.pause - 1)
            for track in due:
                track.segmented = track.seen
                track.pause = 0 if track.seen else _PAUSE
        others = [track for track in self._tracks if not track.segmented]
        taken = [(track.y, track.x) for track in self._tracks if track.segmented]
        heads = self._merged(self._awaited(others, pixels), taken)
        self._assign(others, heads, time_ns, held)

    def _awaited(self, tracks: list[Track], pixels: Image) -> Floats:
        """What the finder finds in windows around cells: (K, 3) y, x in pixels, score."""
        if not tracks:
            return np.zeros((0, 3))
        side = min(round(_WINDOW * self._scale.zoom), *self._shape)
        corners = [
            (
                _within(track.motion.y - side / 2, self._shape[0] - side),
                _within(track.motion.x - side / 2, self._shape[1] - side),
            )
            for track in tracks
        ]
        windows = self._scale.contrast(
            np.stack([pixels[y : y + side, x : x + side] for y, x in corners])
        )
        known = self._finder.heads(windows, self._settings.least_score_known, self._kind)
        found = []
        for (top, left), heads in zip(corners, known, strict=True):
            places = self._placed(heads, top, left)
            # A head at the edge of a window is seen better in another window, or dropped.
            rim = round(STRIDE * self._scale.zoom)
            inner = [
                _inside(places[:, axis], start, side, rim, size)
                for axis, start, size in ((0, top, self._shape[0]), (1, left, self._shape[1]))
            ]
            found.append(places[inner[0] & inner[1]])
        return np.concatenate(found)

    def _placed(self, heads: npt.NDArray[np.float32], top: int, left: int) -> Floats:
        placed = heads[:, :3].astype(np.float64)
        placed[:, :2] = self._scale.to_image(placed[:, :2]) + np.array([top, left])
        return placed

    def _merged(self, heads: Floats, taken: Sequence[tuple[float, float]] = ()) -> Floats:
        """Heads without duplicates and without those at the places `taken`, best first."""
        heads = heads[np.argsort(-heads[:, 2], kind="stable")]
        places, kept = list(taken), []
        for number, (y, x, _) in enumerate(heads):
            if all(
                math.hypot(y - own_y, x - own_x) >= self._apart_px / 2 for own_y, own_x in places
            ):
                places.append((y, x))
                kept.append(number)
        return heads[kept]

    def _assign(self, tracks: list[Track], heads: Floats, time_ns: int, held: int | None) -> None:
        """Assign a head to every cell; the held cell comes first, cells without a number last."""
        cost = np.full((len(tracks), len(heads)), _UNLIKELY)
        for row, track in enumerate(tracks):
            motion = track.motion
            away = np.hypot(heads[:, 0] - motion.y, heads[:, 1] - motion.x) / motion.error_px
            near = away < _GATE
            rank = 0.0 if track.number else 1.0
            if track.number and track.number == held:
                rank = -_HELD
            # a cell that may be anywhere is at a place with less probability
            rank += 2 * math.log(motion.error_px)
            cost[row, near] = away[near] ** 2 / 2 - np.log(heads[near, 2]) + rank
        rows, columns = linear_sum_assignment(cost)
        for row, column in zip(rows, columns, strict=True):
            if cost[row, column] >= _UNLIKELY:
                continue
            track = tracks[row]
            track.seen = True
            track.y, track.x, track.score = (float(v) for v in heads[column])
            track.motion.correct(track.y, track.x)
            track.worth += (track.score - track.worth) * max(_RECENT, 1 / (track.finds + 1))
            track.finds += 1
            track.missed = 0
            track.found_ns = time_ns
            if not track.number and track.finds >= self._settings.confirmations:
                self.named += 1
                track.number = self.named

    def drop(self, track: Track) -> None:
        """Drop a spot that turned out to be a mark on the sensor.

        Parameters
        ----------
        track
            The spot.
        """
        self._marks.places.append((track.y, track.x))
        self._tracks.remove(track)

    def _drop_marks(self, pixels: Image, drive_um: float, held: int | None) -> None:
        """Drop what is fixed on the sensor."""

        def is_mark(track: Track) -> bool:
            if not track.seen or track.number == held:
                return False
            if track.watch is None or self._marks.moved(track.watch, track.y, track.x):
                track.watch = Watch(track.y, track.x)
            return self._marks.look(track.watch, pixels, drive_um)

        self._tracks = [track for track in self._tracks if not is_mark(track)]

    def _end(self, time_ns: int, held: int | None) -> None:
        def stays(track: Track) -> bool:
            if track.worth < self._settings.least_worth and (held is None or track.number != held):
                return False
            if not track.number:
                return track.missed <= 2
            if (time_ns - track.found_ns) / 1e9 > self._settings.lost_s:
                return False
            return 0 <= track.y < self._shape[0] and 0 <= track.x < self._shape[1]

        self._tracks = [track for track in self._tracks if stays(track)]


def _within(start: float, most: int) -> int:
    return int(min(max(round(start), 0), most))


def _inside(places: Floats, start: int, side: int, rim: int, size: int) -> npt.NDArray[np.bool_]:
    """Whether positions lie in a window, without its rim unless the rim is the frame's border."""
    low = start if start == 0 else start + rim
    high = start + side if start + side >= size // rim * rim else start + side - rim
    inside: npt.NDArray[np.bool_] = (places >= low) & (places < high)
    return inside
