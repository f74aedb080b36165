"""Condenser and objective: source points, pupil, and the phase of defocus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.contrast import Method, contrast_method
from fgaf.acquire.simulation.settings import MicroscopeSettings

Array = npt.NDArray[Any]

# Defocus per spherical aberration that leaves the focus of a sperm head where it is without
# either, in both contrasts. Its light crosses the inner pupil, so this is less than the 1 that
# would balance the whole pupil.
_BALANCE = 0.75

FADE_UM, HORIZON_UM = 12.0, 20.0
"""Drive µm out of focus at which the image of an object begins to fade, and beyond which it is
background.

At that distance the few source points no longer represent the whole condenser, and the window for
the blur, and its memory, grow with the square of the distance.
"""


@dataclass(frozen=True)
class Microscope:
    """Illumination and pupil: the source points, and the transmittance of the objective.

    Frequencies are in 1/µm in the specimen, (y, x); distances in drive µm.
    """

    settings: MicroscopeSettings

    @cached_property
    def method(self) -> Method:
        """The contrast method."""
        return contrast_method(self.settings)

    def source(self, order: int) -> tuple[Array, Array]:
        """Points that sample the condenser's aperture.

        Parameters
        ----------
        order
            A measure of their number: rings of a disc, rows of a slit.

        Returns
        -------
        frequencies (S, 2), weights (S,) that sum to 1
        """
        return self.method.source(order)

    @cached_property
    def source_radius(self) -> float:
        """Largest frequency of the illumination."""
        return self.method.radius

    def pupil(self, fy: Array, fx: Array) -> Array:
        """Complex transmittance of the objective in focus; 0 beyond NA / wavelength.

        Parameters
        ----------
        fy, fx
            Spatial frequencies, 1/µm, of shapes that broadcast.
        """
        s = self.settings
        rho2 = (fy**2 + fx**2) / s.cutoff**2
        spherical = 6 * np.sqrt(5.0) * (rho2**2 - _BALANCE * rho2)
        amplitude = np.where(rho2 <= 1, 1.0, 0.0)
        amplitude = amplitude * self.method.plate(fy, fx)
        result: Array = amplitude * np.exp(2j * np.pi * s.spherical_waves * spherical)
        return result

    def transfer(self, fy: Array, fx: Array, source: tuple[float, float]) -> Array:
        """Weight in the image of light that the specimen deflects.

        Parameters
        ----------
        fy, fx
            Frequencies by which it is deflected, 1/µm, of shapes that broadcast; 0 is the light
            that is not deflected.
        source
            Frequencies (y, x) at which it arrives.
        """
        result: Array = self.pupil(fy + source[0], fx + source[1]) * self.method.analyser(fy, fx)
        return result

    def background(self, source: tuple[float, float]) -> complex:
        """Weight of light that the specimen does not deflect.

        Parameters
        ----------
        source
            Frequencies (y, x) at which it arrives.
        """
        return complex(self.transfer(np.zeros(()), np.zeros(()), source))

    def line_intensity(
        self, wave: Array, pitch_um: float, direction: tuple[float, float], depth_um: float
    ) -> Array:
        """Image of a specimen that changes along one direction only, relative to the background.

        Parameters
        ----------
        wave
            (N,) complex wave behind the specimen along the direction, periodic.
        pitch_um
            Distance of its samples in the specimen.
        direction
            Unit vector (y, x).
        depth_um
            Drive position less that of the focus.

        Returns
        -------
        (N,) relative intensity.
        """
        spectrum = np.fft.fft(wave)
        f = np.fft.fftfreq(len(wave), pitch_um)
        fy, fx = f * direction[0], f * direction[1]
        intensity, brightness = np.zeros(len(wave)), 0.0
        for (sy, sx), weight in zip(*self.source(6), strict=True):
            axial = self.axial(sy + fy, sx + fx) - self.axial(sy, sx)
            passed = self.transfer(fy, fx, (sy, sx)) * np.exp(-2j * np.pi * depth_um * axial)
            intensity += weight * np.abs(np.fft.ifft(spectrum * passed)) ** 2
            brightness += weight * abs(self.background((sy, sx))) ** 2
        result: Array = intensity / brightness
        return result

    def axial(self, fy: Array, fx: Array) -> Array:
        """Axial frequency on the objective's side, in 1/µm; 0 where the wave does not travel.

        Parameters
        ----------
        fy, fx
            Spatial frequencies, 1/µm, of shapes that broadcast.
        """
        s = self.settings
        square = (s.medium_index / s.wavelength_um) ** 2 - fy**2 - fx**2
        result: Array = np.sqrt(np.maximum(square, 0.0))
        return result

    def fade(self, distance_um: Array | float) -> Array:
        """Weight of an object's contrast `distance_um` out of focus: 1 near, 0 for background."""
        beyond = (np.abs(distance_um) - FADE_UM) / (HORIZON_UM - FADE_UM)
        result: Array = np.clip(1 - beyond, 0.0, 1.0)
        return result

    @cached_property
    def marginal_slope(self) -> float:
        """Lateral µm per drive µm of the marginal ray."""
        s = self.settings
        return float(s.numerical_aperture / np.sqrt(s.medium_index**2 - s.numerical_aperture**2))

    def spread_um(self, distance_um: float) -> float:
        """Lateral extent of the light from a point at `distance_um` of drive.

        The marginal ray, plus a margin for the rings around its image.
        """
        return float(self.marginal_slope * abs(distance_um) + self.method.rings_um)

    def order_for(self, distance_um: float) -> int:
        """Source sampling for an object `distance_um` out of focus.

        Each source point makes its own image, shifted by the distance times its slope, so the
        source needs finer sampling further out of focus.
        """
        distance = abs(distance_um)
        return 2 if distance < 2.5 else 3 if distance < 6 else 5
