"""Grain of the ground: the rough surface of a dish or of a dried film."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.view import FIRST_VIEW, View

Array = npt.NDArray[Any]

_FWHM = 2.3548
_BLUR = 0.35
_LEAST_BLUR_PX = 0.3
_LEAST_PART_PX = 1e-6


class Texture:
    """A random pattern on the glass of a set size and strength, which blurs out of its focus.

    It repeats after the height and the width of a frame. In relief contrast it is the slope of the
    pattern along x that shows.

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

    def multiply(self, image: Array, focus_um: float, view: View = FIRST_VIEW) -> None:
        """Apply the grain to a relative intensity (Y, X), in place.

        Parameters
        ----------
        image
            (Y, X) relative intensity; it is changed.
        focus_um
            Drive position, µm.
        view
            The part of the glass that is seen; by default that of the first field.
        """
        from scipy.ndimage import gaussian_filter

        pattern = self._seen(view)
        blur = _BLUR * self._slope * abs(focus_um - self._z_um) / self._pixel_um
        if blur > _LEAST_BLUR_PX:
            pattern = gaussian_filter(pattern, blur, mode="wrap", truncate=2)
        image *= np.maximum(1 + pattern, 0)

    def _seen(self, view: View) -> Array:
        """The pattern from the view's corner on; only parts of a pixel and drifts need more."""
        from scipy.fft import irfft2, rfft2

        corner = np.array(view.corner_um) / self._pixel_um
        whole = np.rint(corner)
        part = corner - whole
        pattern: Array = np.roll(self._pattern, (-whole).astype(np.int64), (0, 1))
        if not view.moves and np.abs(part).max() < _LEAST_PART_PX:
            return pattern
        rows, columns = pattern.shape
        fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
        drift_y, drift_x = np.array(view.drift_um) / self._pixel_um
        spectrum = rfft2(pattern, workers=1)
        spectrum *= np.exp(2j * np.pi * (fy * part[0])) * np.exp(2j * np.pi * (fx * part[1]))
        spectrum *= np.sinc(fy * drift_y + fx * drift_x)
        moved: Array = irfft2(spectrum, s=pattern.shape, workers=1).astype(np.float32)
        return moved
