"""Close view of one cell: its patch in every plane, and its focus curve."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.curate.detection.crop import corner_of
from fgaf.curate.detection.scale import Floats
from fgaf.curate.focus.curves import measure
from fgaf.curate.session.state import CellState, StackRef
from fgaf.dataset.raw import RawStack

_KEPT: Final = 64
_OPEN_STACKS: Final = 4
_DIM: Final = 0.2
"""Share of the display range above which something is seen."""
_COARSE: Final = 3
"""Bands of spatial frequency used for the curve, the coarsest first."""


@dataclass(frozen=True)
class Closeup:
    """Data of a cell for the window.

    Attributes
    ----------
    patches
        (P, S, S) pixels; black beyond the frame.
    limits
        Display range of grey values, the same for all planes.
    z_um
        (P,) drive positions.
    contrast
        (P,) contrast of the head's coarser detail, with maximum 1; NaN near the border.
    """

    patches: npt.NDArray[Any]
    limits: tuple[float, float]
    z_um: Floats
    contrast: Floats

    def lit(self) -> npt.NDArray[np.intp]:
        """Planes in which the cell is seen: not beyond the frame, and not black.

        All planes if there is none.
        """
        return lit(self.patches, self.limits)


def lit(patches: npt.NDArray[Any], limits: tuple[float, float]) -> npt.NDArray[np.intp]:
    """Indices of the patches of a cell in which it is seen; all if there is none.

    Parameters
    ----------
    patches
        (P, S, S), black beyond the frame.
    limits
        Grey levels of black and white.
    """
    low, high = limits
    edge = patches.shape[1] // 4
    middles = patches[:, edge : -edge or None, edge : -edge or None]
    brightest = np.percentile(middles, 99, axis=(1, 2))
    seen = np.flatnonzero(brightest > low + _DIM * (high - low))
    return seen if len(seen) else np.arange(len(patches))


def limits_of(patches: npt.NDArray[Any]) -> tuple[float, float]:
    """Grey levels to show as black and white, from the darkest and the brightest pixels.

    Parameters
    ----------
    patches
        (P, S, S), 0 beyond the frame, which does not count.
    """
    low, high = np.percentile(patches[patches > 0] if patches.any() else patches, (0.5, 99.5))
    return float(low), max(float(high), float(low) + 1)


class Closeups:
    """Makes closeups from the raw stacks, and caches the latest.

    Parameters
    ----------
    patch_px
        Side of a patch.
    head_um
        Length of a head, µm.
    """

    def __init__(self, patch_px: int, head_um: float) -> None:
        self.patch_px = patch_px
        self.head_um = head_um
        self._made: OrderedDict[tuple[str, bytes], Closeup] = OrderedDict()
        self._curves: dict[str, Floats] = {}
        self._stacks: OrderedDict[str, tuple[RawStack, ExitStack]] = OrderedDict()

    def stack(self, ref: StackRef) -> RawStack:
        """The raw stack; the last few used stay open.

        Raises
        ------
        FormatError
            The file is gone or damaged.
        """
        if ref.fingerprint not in self._stacks:
            lifetime = ExitStack()
            stack = lifetime.enter_context(RawStack.open(Path(ref.path)))
            self._stacks[ref.fingerprint] = (stack, lifetime)
            if len(self._stacks) > _OPEN_STACKS:
                self._stacks.popitem(last=False)[1][1].close()
        self._stacks.move_to_end(ref.fingerprint)
        return self._stacks[ref.fingerprint][0]

    def of(self, cell: CellState, ref: StackRef, quick: bool = False) -> Closeup:
        """The closeup of a cell; from the cache if the cell has not moved.

        Parameters
        ----------
        cell, ref
            The cell, and its raw stack.
        quick
            Whether a missing curve may be left out, or replaced by the one before a move.

        Raises
        ------
        FormatError
            The raw file is gone or damaged.
        """
        key = _key(cell)
        if key not in self._made:
            made = self._make(cell, ref, quick)
            if quick:
                return made
            self._made[key] = made
            self._curves[cell.id] = made.contrast
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]

    def has(self, cell: CellState) -> bool:
        """Whether the closeup of a cell is in the cache."""
        return _key(cell) in self._made

    def close(self) -> None:
        """Close the raw stacks."""
        for _, lifetime in self._stacks.values():
            lifetime.close()
        self._stacks.clear()

    def _make(self, cell: CellState, ref: StackRef, quick: bool) -> Closeup:
        stack = self.stack(ref)
        pixel = ref.pixel_size_um or stack.header.optics.pixel_size_um or 1.0
        margin = max(self.patch_px, round(3.4 * self.head_um / pixel)) // 2 + 2
        rows, columns = stack.shape[1:]
        top, left = (max(0, int(way.min()) - margin) for way in (cell.y, cell.x))
        bottom = min(rows, int(cell.y.max()) + margin + 1)
        right = min(columns, int(cell.x.max()) + margin + 1)
        block = stack.frames[:, top:bottom, left:right]
        y, x = cell.y - top, cell.x - left
        patches = np.stack(
            [_patch(frame, y[p], x[p], self.patch_px) for p, frame in enumerate(block)]
        )
        if quick:
            contrast = self._curves.get(cell.id, np.full(len(patches), np.nan))
        else:
            contrast = self._contrast(block, y, x, stack, pixel)
        return Closeup(patches, limits_of(patches), stack.z_um, contrast)

    def _contrast(
        self, block: npt.NDArray[Any], y: Floats, x: Floats, stack: RawStack, pixel: float
    ) -> Floats:
        optics = stack.header.optics
        aperture = optics.numerical_aperture
        curves = measure(
            block,
            y,
            x,
            stack.z_um,
            pixel,
            cutoff_per_um=None if aperture is None else aperture / (optics.wavelength_um or 0.55),
            head_um=self.head_um,
        )
        contrast = np.maximum(curves.bands[:, :_COARSE], 0).mean(axis=1)
        known = np.isfinite(contrast)
        return np.asarray(contrast / max(float(contrast[known].max(initial=0.0)), 1e-12))


def _key(cell: CellState) -> tuple[str, bytes]:
    return cell.id, cell.y.tobytes() + cell.x.tobytes()


def _patch(frame: npt.NDArray[Any], y: float, x: float, side: int) -> npt.NDArray[Any]:
    """Cut a patch, black where it leaves the frame."""
    patch = np.zeros((side, side), frame.dtype)
    top, left = corner_of(float(y), side), corner_of(float(x), side)
    rows = slice(max(top, 0), min(top + side, frame.shape[0]))
    columns = slice(max(left, 0), min(left + side, frame.shape[1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        patch[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = (
            frame[rows, columns]
        )
    return patch
