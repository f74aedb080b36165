"""Features of one patch: contrast, power by spatial frequency, brightness around the centre."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.model.bench.methods.focus_measures import MEASURES
from fgaf.model.bench.methods.method import Floats

_EDGES: Final = np.array([0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.22, 0.3, 0.5])
"""Edges of the bands of spatial frequency, cycles per pixel."""
_RINGS: Final = 12
_WINDOWS_PX: Final = (2.0, 4.0, 7.0)
_BLOCKS: Final = (1, 2, 4)
_TINY: Final = 1e-9


def band_powers(images: NDArray[Any]) -> Floats:
    """Logarithm of the power in bands of spatial frequency, under a Hann window.

    Parameters
    ----------
    images
        (N, S, S) patches; each is divided by its own mean.

    Returns
    -------
    (N, B)
    """
    contrast = _contrast(images)
    side = contrast.shape[-1]
    window = np.hanning(side + 2)[1:-1].astype(np.float32)
    spectrum = np.fft.rfft2(contrast * window[:, None] * window)
    power = (spectrum.real**2 + spectrum.imag**2).reshape(len(contrast), -1) / side**2
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)).ravel()
    belongs = np.digitize(radius, _EDGES)[:, None] == np.arange(1, _EDGES.size)
    count = belongs.sum(axis=0)
    seen = count > 0
    mean = power @ (belongs[:, seen] / count[seen]).astype(np.float32)
    return np.asarray(np.log(mean.astype(np.float64) + _TINY))


def radial_profiles(images: NDArray[Any], rings: int = _RINGS) -> tuple[Floats, Floats]:
    """Brightness on rings around the centre; independent of the cell's orientation.

    Parameters
    ----------
    images
        (N, S, S)
    rings
        Number of rings, of equal width, from the centre to the border.

    Returns
    -------
    means, spreads
        (N, R) mean contrast on each ring, and its standard deviation there.
    """
    contrast = _contrast(images)
    side = contrast.shape[-1]
    middle = side // 2
    at = np.arange(side) - middle
    ring = np.floor(np.hypot(at[:, None], at) / (middle / rings)).astype(int).ravel()
    belongs = (ring[:, None] == np.arange(rings)).astype(np.float32)
    belongs /= belongs.sum(axis=0)
    flat = contrast.reshape(len(contrast), -1)
    means = (flat @ belongs).astype(np.float64)
    squares = (flat**2 @ belongs).astype(np.float64)
    return means, np.sqrt(np.maximum(squares - means**2, 0.0))


def signs(images: NDArray[Any]) -> Floats:
    """Features that distinguish the two sides of focus: dark or bright, at several sizes.

    Returns
    -------
    (N, 6) contrast of the centre under Gaussian windows of 2, 4 and 7 pixels, and the skewness of
    the grey levels in the central quarter, averaged over blocks of 1, 2 and 4 pixels.
    """
    contrast = _contrast(images)
    side = contrast.shape[-1]
    at = np.arange(side) - side // 2
    flat = contrast.reshape(len(contrast), -1)
    columns = []
    for sigma in _WINDOWS_PX:
        window = np.exp(-0.5 * (at[:, None] ** 2 + at**2) / sigma**2).astype(np.float32)
        columns.append(flat @ (window / window.sum()).ravel())
    half = max(side // 4 // _BLOCKS[-1], 1) * _BLOCKS[-1]
    near = contrast[:, side // 2 - half : side // 2 + half, side // 2 - half : side // 2 + half]
    for block in _BLOCKS:
        n = 2 * half // block
        coarse = near.reshape(len(near), n, block, n, block).mean(axis=(2, 4)).reshape(-1, n * n)
        coarse = coarse - coarse.mean(axis=1, keepdims=True)
        columns.append((coarse**3).mean(axis=1) / (coarse.std(axis=1) + _TINY) ** 3)
    return np.stack(columns, axis=1).astype(np.float64)


def describe_patches(images: NDArray[Any]) -> Floats:
    """All of these together with every focus measure and grey-level statistics.

    Parameters
    ----------
    images
        (N, S, S) patches, any pixel type.

    Returns
    -------
    (N, F)
    """
    contrast = _contrast(images).reshape(len(images), -1)
    means, spreads = radial_profiles(images)
    sharpness = np.stack([measure(images) for measure in MEASURES.values()], axis=1)
    levels = np.percentile(contrast, [1, 10, 25, 50, 75, 90, 99], axis=1).T
    return np.concatenate(
        [
            np.log(np.abs(sharpness) + _TINY),
            levels,
            np.log(contrast.std(axis=1, keepdims=True) + _TINY),
            band_powers(images),
            means,
            spreads,
            signs(images),
        ],
        axis=1,
    ).astype(np.float64)


def _contrast(images: NDArray[Any]) -> NDArray[np.float32]:
    pixels = np.asarray(images).astype(np.float32)
    mean = pixels.mean(axis=(-2, -1), keepdims=True)
    return np.asarray(pixels / np.maximum(mean, 1e-6) - 1, dtype=np.float32)
