"""The sensor: from relative intensity to grey levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.camera.processing import compress, develop
from fgaf.acquire.simulation.settings import SimulationSettings

Array = npt.NDArray[Any]


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
    codes = np.rint(develop(electrons, settings))
    np.clip(codes, 0, highest, out=codes)
    pixels = codes.astype(np.uint8 if settings.bit_depth == 8 else np.uint16)
    return pixels if settings.jpeg_quality is None else compress(pixels, settings.jpeg_quality)
