"""How a patch looks, whichever way it is turned: a few numbers to find look-alikes by.

Equal exposures look alike after any change of brightness and contrast, any mirroring or quarter
turn and a shift of a few pixels. Two that look alike are then compared pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SIDE: Final = 32
_WAVES: Final = 6
_FLOOR: Final = 0.02
_REACH: Final = 8


def look_of(patches: NDArray[Any]) -> NDArray[np.float32]:
    """Measure the look of patches: the strength of their coarse waves, whatever the direction.

    Parameters
    ----------
    patches
        (N, S, S) grey values.

    Returns
    -------
    (N, F) float32
        Logarithms, relative to the patch's whole contrast.
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
    """Correlate two patches where they fit best: turned, mirrored or shifted by up to 8 pixels.

    Smooth shading (a parabola) is taken out of both before, as all patches of a lamp share it.

    Parameters
    ----------
    a, b
        (S, S) grey values.

    Returns
    -------
    float
        Pearson's r of the pixels that overlap, 1 for the same exposure.
    """
    a, b = _unshaded(a), _unshaded(b)
    side = len(a)
    reach = min(_REACH, side // 8)
    width = side - 2 * reach
    core = a[reach : reach + width, reach : reach + width]
    core = core - core.mean()
    spectrum = np.conj(np.fft.rfft2(core, (side, side)))
    power = float((core**2).sum())
    best = 0.0
    for view in _views(b):
        fit = np.fft.irfft2(np.fft.rfft2(view) * spectrum, (side, side))
        fit = fit[: 2 * reach + 1, : 2 * reach + 1]
        spread = _boxes(view**2, width) - _boxes(view, width) ** 2 / width**2
        scale = np.sqrt(power * spread.clip(0))
        r = np.divide(fit, scale, out=np.zeros_like(fit), where=scale > 1e-9)
        best = max(best, float(r.max()))
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


def _unshaded(patch: NDArray[Any]) -> NDArray[np.float64]:
    at = np.linspace(-1, 1, len(patch))
    y, x = np.meshgrid(at, at, indexing="ij")
    shading = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y]).reshape(6, -1)
    basis, _ = np.linalg.qr(shading.T)
    pixels = patch.astype(np.float64).ravel()
    return np.asarray((pixels - basis @ (basis.T @ pixels)).reshape(patch.shape))


def _views(patch: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Give the eight symmetries of the square."""
    for turns in range(4):
        turned = np.rot90(patch, turns)
        yield turned
        yield turned[:, ::-1]


def _boxes(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Sum of every square of `width` pixels: (S, S) to (S - width + 1, S - width + 1)."""
    total = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    return np.asarray(
        total[width:, width:]
        - total[:-width, width:]
        - total[width:, :-width]
        + total[:-width, :-width]
    )
