"""The lamp: brightness of the empty field."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.settings import SimulationSettings

Array = npt.NDArray[Any]

_CLOUD_UM = 0.9


def illumination(settings: SimulationSettings) -> Array:
    """Uneven brightness of the empty field with mean 1, (Y, X) float32.

    An off-centre lamp, vignetting and a few broad blotches, at most `settings.unevenness` from the
    mean, with the mottle of the glass; the same for every exposure of a seed.
    """
    rng = np.random.default_rng([settings.seed, 1])
    y = np.linspace(-1, 1, settings.shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, settings.shape[1], dtype=np.float32)[None, :]
    cy, cx = rng.uniform(-0.4, 0.4, 2).astype(np.float32)
    field = -((y - cy) ** 2) - (x - cx) ** 2
    for _ in range(4):
        fy, fx = rng.uniform(0.3, 1.2, 2).astype(np.float32)
        py, px = rng.uniform(0, 2 * np.pi, 2).astype(np.float32)
        field = field + np.float32(0.15) * np.cos(np.pi * fy * y + py) * np.cos(np.pi * fx * x + px)
    field -= field.mean()
    uneven = 1 + field * np.float32(settings.unevenness / np.abs(field).max())
    clouds: Array = uneven * mottle(rng, settings.shape, settings)
    if settings.vignetting or settings.tilt:
        clouds *= _falloff(settings, y, x)
    return clouds


def _falloff(settings: SimulationSettings, y: Array, x: Array) -> Array:
    """Loss towards the corners and slope across the field, with mean 1.

    `y` and `x` run from -1 to 1 over the frame.
    """
    angle = np.random.default_rng([settings.seed, 10]).uniform(0, 2 * np.pi)
    slope = (y * np.sin(angle) + x * np.cos(angle)) / (abs(np.sin(angle)) + abs(np.cos(angle)))
    height, width = settings.shape
    square = ((y * height) ** 2 + (x * width) ** 2) / (height**2 + width**2)
    shade = (1 - settings.vignetting * square) * (1 + settings.tilt * slope)
    result: Array = (shade / shade.mean()).astype(np.float32)
    return result


def mottle(rng: np.random.Generator, shape: tuple[int, int], settings: SimulationSettings) -> Array:
    """Effect of out-of-focus dust and films on part of the field, (Y, X) float32 around 1.

    Clouds of about a head's size.

    Parameters
    ----------
    rng
        Draws the clouds.
    shape
        Rows and columns (Y, X).
    settings
        Pixel size and strength.
    """
    from scipy.ndimage import gaussian_filter

    white = rng.standard_normal(shape, dtype=np.float32)
    width = _CLOUD_UM / settings.pixel_size_um
    clouds = gaussian_filter(white, width, mode="wrap", truncate=3)
    gain = settings.mottle * 2 * np.sqrt(np.pi) * width
    result: Array = 1 + np.float32(gain) * clouds
    return result
