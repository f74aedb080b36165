"""The lamp and the camera: from relative intensity to grey levels."""

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
    return clouds


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


def expose(
    relative: Array, exposure_s: float, settings: SimulationSettings, rng: np.random.Generator
) -> Array:
    """Grey levels of one exposure.

    Shot noise is drawn from a normal distribution of the same variance, which is equivalent to
    Poisson noise at thousands of electrons per pixel.

    Parameters
    ----------
    relative
        (Y, X) intensity, 1 where it gives `settings.photons` electrons at the reference
        exposure.
    exposure_s
        Exposure time.
    settings
        Of the camera.
    rng
        Source of the noise.

    Returns
    -------
    (Y, X) uint8 for 8 bits, else uint16; `settings.full_well` electrons and more give the
    highest code.
    """
    highest = 2**settings.bit_depth - 1
    electrons = relative * np.float32(settings.photons * exposure_s / settings.reference_exposure_s)
    np.maximum(electrons, 0, out=electrons)
    noise = rng.standard_normal(electrons.shape, dtype=np.float32)
    noise *= np.sqrt(electrons + np.float32(settings.read_noise**2))
    electrons += noise
    electrons *= np.float32(highest / settings.full_well)
    np.rint(electrons, out=electrons)
    np.clip(electrons, 0, highest, out=electrons)
    return electrons.astype(np.uint8 if settings.bit_depth == 8 else np.uint16)
