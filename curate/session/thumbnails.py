"""Small pictures of many cells, cut when they are wanted, in a thread of their own."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fgaf.curate.detection.crop import corner_of
from fgaf.curate.session.catalogue import Picture
from fgaf.curate.session.closeup import Closeups, limits_of, lit
from fgaf.curate.session.state import StackRef

_log = logging.getLogger(__name__)

Grey = npt.NDArray[np.uint8]
_MOST_PX: Final = 128
"""Largest side of a small picture; a larger patch is thinned."""
_KEPT: Final = 4096
_DIM: Final = 8
"""A patch without a pixel above this part of the camera's range may be black."""
_WAITING: Final = 400
"""Pictures that wait at most: those asked for earlier are no longer in view."""


class Cut(Protocol):
    """Cuts the patch of a picture out of its file; called by one thread only."""

    def __call__(self, picture: Any) -> npt.NDArray[Any]:
        """Cut it: (S, S)."""

    def close(self) -> None:
        """Close the files."""


class Thumbnails:
    """Pictures by what they show; those that are missing are made in a thread, the latest first.

    It is a thread of Python, not of Qt, as in `fgaf.curate.napari.search`.

    Parameters
    ----------
    cut
        Cuts a patch.
    kept
        How many pictures are kept.
    """

    def __init__(self, cut: Cut, kept: int = _KEPT) -> None:
        self._cut = cut
        self._kept = kept
        self._made: OrderedDict[Hashable, Grey | str] = OrderedDict()
        self._wanted: deque[Hashable] = deque(maxlen=_WAITING)
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, "thumbnails")
        self._working: Future[None] | None = None
        self._closed = False
        self._news = 0

    def get(self, picture: Hashable) -> Grey | str | None:
        """A picture; None while it is made, and a text that says why there is none.

        Parameters
        ----------
        picture
            What `cut` takes.
        """
        with self._lock:
            if picture in self._made:
                self._made.move_to_end(picture)
                return self._made[picture]
            if not self._closed and picture not in self._wanted:
                self._wanted.append(picture)
                if self._working is None or self._working.done():
                    self._working = self._thread.submit(self._work)
        return None

    def news(self) -> int:
        """How many pictures were made since this was last asked."""
        with self._lock:
            news, self._news = self._news, 0
        return news

    @property
    def busy(self) -> bool:
        """Whether a picture is being made, or waits."""
        with self._lock:
            return bool(self._wanted) or (self._working is not None and not self._working.done())

    def retry(self) -> None:
        """Forget which pictures could not be made, as after a file came back."""
        with self._lock:
            missing = [key for key, made in self._made.items() if isinstance(made, str)]
            for key in missing:
                del self._made[key]

    def close(self) -> None:
        """End the thread and close the files; may be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._wanted.clear()
        self._thread.shutdown()
        self._cut.close()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._working = None
                    return
                picture = self._wanted[-1]
            made = self._make(picture)
            with self._lock:
                self._made[picture] = made
                self._news += 1
                if picture in self._wanted:
                    self._wanted.remove(picture)
                while len(self._made) > self._kept:
                    self._made.popitem(last=False)

    def _make(self, picture: Hashable) -> Grey | str:
        try:
            return grey(self._cut(picture))
        except Exception as error:
            _log.info("no picture of %s", picture, exc_info=True)
            return str(error)


class RawCut:
    """Cuts patches out of raw stacks.

    Parameters
    ----------
    closeups
        Opens the stacks; used by nobody else.
    """

    def __init__(self, closeups: Closeups) -> None:
        self._closeups = closeups
        self.stacks: Mapping[str, StackRef] = {}

    def __call__(self, picture: Picture) -> npt.NDArray[Any]:
        """Cut it; black beyond the frame.

        Parameters
        ----------
        picture
            What to cut. Its other planes are read only if the first is dim; of all, the first
            counts in which the cell is seen.
        """
        stack = self._closeups.stack(self.stacks[picture.source])
        patch = self._patch(stack.frames, picture.plane, picture.y, picture.x)
        if picture.others and int(patch.max()) * _DIM < 2**stack.header.bit_depth:
            others = (self._patch(stack.frames, *place) for place in picture.others)
            patches = np.stack([patch, *others])
            patch = patches[lit(patches, limits_of(patches))[0]]
        return patch

    def _patch(self, frames: Any, plane: int, y: float, x: float) -> npt.NDArray[Any]:
        side = self._closeups.patch_px
        patch = np.zeros((side, side), frames.dtype)
        top, left = corner_of(y, side), corner_of(x, side)
        bottom, right = min(top + side, frames.shape[1]), min(left + side, frames.shape[2])
        if bottom > max(top, 0) and right > max(left, 0):
            part = frames[plane, max(top, 0) : bottom, max(left, 0) : right]
            down, across = max(-top, 0), max(-left, 0)
            patch[down : down + part.shape[0], across : across + part.shape[1]] = part
        return patch

    def close(self) -> None:
        """Close the stacks."""
        self._closeups.close()


def grey(patch: npt.NDArray[Any]) -> Grey:
    """A patch in 256 greys, from its darkest to its brightest pixels, and not too large.

    Parameters
    ----------
    patch
        (S, S) pixels; 0 beyond the frame.
    """
    step = -(-patch.shape[0] // _MOST_PX)
    small = patch[::step, ::step]
    lit = small[small > 0]
    low, high = (float(v) for v in (np.percentile(lit, (0.5, 99.5)) if lit.size else (0, 1)))
    scaled = (small.astype(np.float32) - low) * (255 / max(float(high - low), 1.0))
    return np.ascontiguousarray(np.clip(scaled, 0, 255).astype(np.uint8))
