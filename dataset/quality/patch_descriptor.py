"""Descriptor of a patch that does not depend on its orientation, to find similar patches.

Equal exposures have similar descriptors after any change of brightness and contrast, mirroring,
rotation by 90° and a shift of a few pixels. Similar patches are then compared pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SIDE: Final = 32
_WAVES: Final = 6
_FLOOR: Final = 0.02
_REACH: Final = 8


def describe_patch(patches: NDArray[Any]) -> NDArray[np.float32]:
    """Compute the descriptors: the power at low spatial frequencies, in all directions.

    Parameters
    ----------
    patches
        (N, S, S) grey values.

    Returns
    -------
    (N, F) float32
        Logarithms, relative to the patch's total contrast.
    """
    small = _shrunk(patches)
    side = small.shape[1]
    window = np.hanning(side + 2)[1:-1].astype(np.float32)
    window = np.outer(window, window)
    mean = (small * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    strength = np.abs(np.fft.fft2((small - mean) * window)).astype(np.float32)
    n = min(_WAVES, side // 2)
    waves = strength[:, :n, :n] + strength[:, :n, -np.arange(n) % side]
    waves = waves + waves.transpose(0, 2, 1)
    row, column = np.triu_indices(n)
    known = waves[:, row, column][:, 1:]
    norm = np.linalg.norm(known, axis=1, keepdims=True).clip(1e-6)
    return np.asarray(np.log(known / norm + _FLOOR))


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Correlate two patches at the best rotation, mirroring and shift of up to 8 pixels.

    Smooth shading (a parabola), common to all patches under one lamp, is subtracted first.

    Parameters
    ----------
    a, b
        (S, S) grey values.

    Returns
    -------
    float
        Pearson's r of the pixels that overlap, 1 for the same exposure.
    """
    from scipy.fft import irfft2, rfft2

    a, b = _unshaded(a), _unshaded(b)
    side = len(a)
    reach = min(_REACH, side // 8)
    width = side - 2 * reach
    core = a[reach : reach + width, reach : reach + width]
    core = core - core.mean()
    views = np.stack(list(_views(b)))
    fits = irfft2(rfft2(views) * np.conj(rfft2(core, (side, side))), (side, side))
    fits = fits[:, : 2 * reach + 1, : 2 * reach + 1]
    best = 0.0
    for view, fit in zip(views, fits, strict=True):
        y, x = np.unravel_index(fit.argmax(), fit.shape)
        spread = width * view[y : y + width, x : x + width].std() * np.sqrt((core**2).sum())
        best = max(best, float(fit[y, x] / spread) if spread > 0 else 0.0)
    return best


def _shrunk(patches: NDArray[Any]) -> NDArray[np.float32]:
    n, side = patches.shape[:2]
    block = max(1, side // _SIDE)
    small = side // block
    first = (side - small * block) // 2
    cut = patches[:, first : first + small * block, first : first + small * block]
    total = np.zeros((n, small, small), np.float32)
    for i in range(block):
        for j in range(block):
            total += cut[:, i::block, j::block]
    return total


def _unshaded(patch: NDArray[Any]) -> NDArray[np.float32]:
    basis = _shading(len(patch))
    pixels = patch.astype(np.float32).ravel()
    return np.asarray((pixels - basis @ (basis.T @ pixels)).reshape(patch.shape))


@lru_cache(maxsize=4)
def _shading(side: int) -> NDArray[np.float32]:
    """Orthonormal parabolas of a square, (S * S, 6)."""
    at = np.linspace(-1, 1, side)
    y, x = np.meshgrid(at, at, indexing="ij")
    basis, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y]).reshape(6, -1).T)
    return np.asarray(basis.astype(np.float32))


def _views(patch: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Give the eight symmetries of the square."""
    for turns in range(4):
        turned = np.rot90(patch, turns)
        yield turned
        yield turned[:, ::-1]
