"""Check labels against images: find cells whose sharpness curve suggests another focus.

In an archive, sharpness changes with depth in roughly the same way for all cells: in bright field
it is least at the focus, in relief contrast it is largest. The reference is the curve of most
cells; a cell whose own curve differs from it more than usual, and fits it much better after a shift
of some planes, is suspect.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.archive import Archive

_ENOUGH_CELLS: Final = 8
_ENOUGH_PLANES: Final = 5
_LEAST_SHIFT: Final = 2
_MUCH_BETTER: Final = 0.7
_UNUSUAL: Final = 1.5
"""Least misfit of a suspect, relative to the median of all cells: curves of most cells fit a little
better somewhere else."""


def label_suspects(archive: Archive, sharpness: NDArray[np.float32]) -> list[tuple[int, float]]:
    """Find cells whose labels seem wrong by two or more planes.

    Needs eight cells with a patch in each of seven or more classes, and a common curve.

    Parameters
    ----------
    archive
        Open archive.
    sharpness
        (M, 2) of `fgaf.dataset.quality.patch_statistics.PatchStatistics`.

    Returns
    -------
    list of (int, float)
        Index of the cell, and estimated true depth minus label in µm.
    """
    cells, curves = _curves(archive, sharpness)
    if len(cells) < _ENOUGH_CELLS or archive.n_classes < _ENOUGH_PLANES + _LEAST_SHIFT:
        return []
    common = np.median(curves, axis=0)
    shifts = [s for s in range(-len(common), len(common)) if len(common) - abs(s) >= _ENOUGH_PLANES]
    misfit = np.stack([_misfit(curves, common, shift) for shift in shifts], axis=1)
    here = misfit[:, shifts.index(0)]
    if common.std(axis=0).mean() < np.median(here):
        return []
    best = misfit.argmin(axis=1)
    moved = np.array(shifts)[best]
    doubtful = (
        (np.abs(moved) >= _LEAST_SHIFT)
        & (misfit.min(axis=1) < _MUCH_BETTER * here)
        & (here > _UNUSUAL * np.median(here))
    )
    step = archive.header.step_um
    return [(int(cells[i]), float(moved[i] * step)) for i in np.flatnonzero(doubtful)]


def _curves(
    archive: Archive, sharpness: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Cells with one patch in every class, and their curves about their median, (N, C, 2)."""
    n = archive.n_classes
    ascending = np.append(np.diff(archive.depth_class) == 1, True)
    ascending[np.flatnonzero(np.diff(archive.cell))] = True
    whole = np.bincount(archive.cell, minlength=archive.n_cells) == n
    whole[archive.cell[~ascending]] = False
    curves = sharpness[whole[archive.cell]].astype(np.float64).reshape(-1, n, 2)
    return np.flatnonzero(whole), curves - np.median(curves, axis=1, keepdims=True)


def _misfit(
    curves: NDArray[np.float64], common: NDArray[np.float64], shift: int
) -> NDArray[np.float64]:
    """RMS difference of a curve from the common one, shifted by `shift` planes, without offset."""
    n = len(common)
    low, high = max(0, -shift), min(n, n - shift)
    rest = curves[:, low:high] - common[low + shift : high + shift]
    rest = rest - np.median(rest, axis=1, keepdims=True)
    return np.asarray(np.sqrt((rest**2).mean(axis=(1, 2))))
