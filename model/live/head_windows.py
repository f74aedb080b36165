"""Places of known cells from the segmentation of windows around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fgaf.base.errors import FgafError
from fgaf.curate.detection.resample import resampled
from fgaf.dataset.storage.optics import Optics
from fgaf.model.inference.card import ModelCard, require_same
from fgaf.model.inference.heads import HeadModel, Shares

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[Any]

_IN_PLANE: Final = ndimage.generate_binary_structure(3, 1) & [[[0]], [[1]], [[0]]]
"""Pixels of one window connect by their sides, windows do not."""
_WIDE: Final = 2.0
"""Side of a window in head lengths, nearly: whole heads up to half a length from the predicted
place are inside, and a wider window is no more accurate, but takes longer."""
_COUNTS: Final = (2, 4, 6, 8, 10, 12, 16)
"""Windows in a batch: each number is compiled for, and a batch is filled up to the next."""
_STEP: Final = 32
"""The side is a multiple of this, because the network halves it five times."""


class HeadWindows:
    """Segments the heads in windows of one frame at a time, up to 16 windows in one batch.

    A window is about two head lengths wide. It is resampled to the pixels of training where the
    frame's differ.

    Parameters
    ----------
    model
        Segments heads.
    shape
        Rows and columns (Y, X) of the frames.
    pixel_size_um
        Pixel of the frames in the specimen, µm.
    head_um
        Length of a head, µm.

    Raises
    ------
    FgafError
        A frame is smaller than a window.
    """

    def __init__(
        self, model: HeadModel, shape: tuple[int, int], pixel_size_um: float, head_um: float
    ) -> None:
        own_um = model.card.optics.pixel_size_um or pixel_size_um
        self._model, self._shape = model, shape
        self._side = _STEP * max(1, round(_WIDE * head_um / own_um / _STEP))
        self._span = max(1, round(self._side * own_um / pixel_size_um))
        """Side of a window in pixels of the frame."""
        if min(shape) < self._span:
            raise FgafError(
                f"the camera's frames of {shape[0]} x {shape[1]} px are smaller than the windows "
                f"of {self._span} px in which heads are segmented; enlarge its region, or leave "
                "out --heads"
            )

    def heads(self, pixels: Image, places: Sequence[tuple[float, float]]) -> Floats:
        """Find all heads in windows of a frame.

        The centre of a head is the mean of its pixels, weighted by their probability. A head that
        a window cuts is left out of it.

        Parameters
        ----------
        pixels
            (Y, X) uint8 or uint16, the frame.
        places
            Centre y, x of each window, pixels; windows near the border are moved inside.

        Returns
        -------
        (K, 3): y, x in pixels, and the mean probability of the head's pixels. A head in several
        windows appears in each.
        """
        if not places:
            return np.zeros((0, 3))
        span = self._span
        most = np.array(self._shape) - span
        corners = np.clip(np.rint(np.array(places) - (span - 1) / 2).astype(int), 0, most)
        windows = np.stack([pixels[y : y + span, x : x + span] for y, x in corners])
        return self._pieces(self._shares(self._brought(windows)), corners)

    def prepare(self) -> None:
        """Get the network ready, so that the first frames take no longer than others."""
        for count in _COUNTS:
            self._model.prepare((count, self._side, self._side))

    def _shares(self, windows: Image) -> Shares:
        """Probabilities of windows, in batches of the numbers that the network is ready for."""
        parts = []
        for start in range(0, len(windows), _COUNTS[-1]):
            some = windows[start : start + _COUNTS[-1]]
            count = next(n for n in _COUNTS if n >= len(some))
            batch = np.resize(some, (count, *some.shape[1:]))
            parts.append(self._model.shares(batch, "the live image")[: len(some)])
        return np.concatenate(parts)

    def _brought(self, windows: Image) -> Image:
        """Windows in the pixels of training."""
        if self._span == self._side:
            return windows
        small = windows.astype(np.float32)
        for axis in (1, 2):
            small = resampled(small, axis, self._side, self._span)
        top = np.iinfo(windows.dtype).max
        return np.clip(np.rint(small), 0, top).astype(windows.dtype)

    def _pieces(self, shares: Shares, corners: npt.NDArray[np.int_]) -> Floats:
        """The connected pieces of all windows, in pixels of the frame."""
        on = shares >= self._model.card.threshold
        labels, count = ndimage.label(on, _IN_PLANE)
        window, y, x = np.nonzero(on)
        piece = labels[on] - 1
        weight = shares[on].astype(np.float64)
        area = np.bincount(piece, minlength=count)
        mass = np.bincount(piece, weight, count)
        of = np.zeros(count, int)
        of[piece] = window
        last, most = self._side - 1, np.array(self._shape) - self._span
        cut = np.zeros(count, bool)
        centre = np.empty((count, 2))
        for axis, place in enumerate((y, x)):
            start = corners[window, axis]
            ends = ((place == 0) & (start > 0)) | ((place == last) & (start < most[axis]))
            cut[piece[ends]] = True
            mean = np.bincount(piece, weight * place, count) / mass
            centre[:, axis] = (mean + 0.5) * self._span / self._side - 0.5 + corners[of, axis]
        kept = ~cut & (area >= self._model.card.least_px)
        return np.column_stack([centre, mass / np.maximum(area, 1)])[kept]


def require_optics(
    card: ModelCard,
    optics: Optics,
    rig_name: str,
    *,
    force: bool = False,
    warn: Callable[[str], None] = lambda _: None,
) -> None:
    """Refuse a rig whose optics differ from those of training, or only warn; pixels may differ.

    Parameters
    ----------
    card
        Card of the model that segments heads.
    optics
        Optics of the rig.
    rig_name
        Its name, for the error.
    force, warn
        As for `fgaf.model.inference.card.require_same`.

    Raises
    ------
    FgafError
        They differ; the message says in what.
    """
    if optics.pixel_size_um is not None and card.optics.pixel_size_um is not None:
        optics = optics.model_copy(update={"pixel_size_um": card.optics.pixel_size_um})
    source = f"for --heads, the rig {rig_name}".rstrip()
    require_same(card, optics, source=source, force=force, warn=warn)
