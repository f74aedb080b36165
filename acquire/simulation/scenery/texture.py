"""Grain of the ground: the rough surface of a dish or of a dried film."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.settings import SimulationSettings

Array = npt.NDArray[Any]

_FWHM = 2.3548
_BLUR = 0.35
_LEAST_BLUR_PX = 0.3


class Texture:
    """A random pattern on the glass of a set size and strength, which blurs out of its focus.

    In relief contrast it is the slope of the pattern along x that shows.

    Parameters
    ----------
    settings
        Size and strength, and the seed.
    microscope
        Gives the slope of the rays.
    z_um
        The drive's z at which the glass is in focus.
    """

    def __init__(self, settings: SimulationSettings, microscope: Microscope, z_um: float) -> None:
        from scipy.ndimage import gaussian_filter

        rng = np.random.default_rng([settings.seed, 11])
        white = rng.standard_normal(settings.shape, dtype=np.float32)
        self._pixel_um = settings.pixel_size_um
        self._slope, self._z_um = microscope.marginal_slope, z_um
        sigma = settings.grain_um / _FWHM / self._pixel_um
        order = (0, 1) if settings.contrast == "relief" else (0, 0)
        pattern = gaussian_filter(white, sigma, order=order, mode="wrap", truncate=3)
        self._pattern: Array = pattern * np.float32(settings.grain / pattern.std())

    def multiply(self, image: Array, focus_um: float) -> None:
        """Apply the grain to a relative intensity (Y, X), in place.

        Parameters
        ----------
        image
            (Y, X) relative intensity; it is changed.
        focus_um
            Drive position, µm.
        """
        from scipy.ndimage import gaussian_filter

        pattern = self._pattern
        blur = _BLUR * self._slope * abs(focus_um - self._z_um) / self._pixel_um
        if blur > _LEAST_BLUR_PX:
            pattern = gaussian_filter(pattern, blur, mode="wrap", truncate=2)
        image *= np.maximum(1 + pattern, 0)
