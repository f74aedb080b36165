"""What consumer cameras do with an image: denoising, gamma, sharpening, JPEG."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.settings import SimulationSettings

Array = npt.NDArray[Any]

_LEAST_VARIANCE = 1e-12


def develop(codes: Array, settings: SimulationSettings) -> Array:
    """Process the signal of one exposure before it is rounded: denoise, then gamma, then sharpen.

    Parameters
    ----------
    codes
        (Y, X) float32 signal in codes of the camera, 0 to the highest.
    settings
        Of the camera.
    """
    if settings.denoise != "none":
        codes = _DENOISE[settings.denoise](codes, settings)
    highest = np.float32(2**settings.bit_depth - 1)
    if settings.gamma != 1:
        codes = highest * np.clip(codes / highest, 0, 1) ** np.float32(settings.gamma)
    if settings.sharpen:
        smooth = _gaussian(codes, settings.sharpen_px)
        codes = codes + np.float32(settings.sharpen) * (codes - smooth)
    return codes


def compress(pixels: Array, quality: int) -> Array:
    """Write and read an 8-bit image as JPEG.

    Parameters
    ----------
    pixels
        (Y, X) uint8.
    quality
        Of the Independent JPEG Group's scale, 1 to 100.
    """
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _gaussian(codes: Array, sigma_px: float) -> Array:
    from scipy.ndimage import gaussian_filter

    smooth: Array = gaussian_filter(codes, sigma_px, truncate=3)
    return smooth


def _median(codes: Array, settings: SimulationSettings) -> Array:
    from scipy.ndimage import median_filter

    smooth: Array = median_filter(codes, 2 * max(1, round(settings.denoise_px)) + 1)
    return smooth


def _adaptive(codes: Array, settings: SimulationSettings) -> Array:
    """Smooth where the local variance is that of the noise, and keep edges (Wiener's filter)."""
    from scipy.ndimage import uniform_filter

    side = 2 * max(1, round(2 * settings.denoise_px)) + 1
    mean = uniform_filter(codes, side)
    variance = np.maximum(uniform_filter(codes * codes, side) - mean * mean, _LEAST_VARIANCE)
    gain = np.float32((2**settings.bit_depth - 1) / settings.full_well)
    noise = gain * mean + np.float32(settings.read_noise**2) * gain**2
    kept: Array = mean + np.clip(1 - 1.5 * noise / variance, 0, 1) * (codes - mean)
    return kept


_DENOISE: dict[str, Callable[[Array, SimulationSettings], Array]] = {
    "gaussian": lambda codes, settings: _gaussian(codes, settings.denoise_px),
    "median": _median,
    "adaptive": _adaptive,
}
