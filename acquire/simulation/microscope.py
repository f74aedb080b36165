"""Condenser and objective: source points, pupil, and the phase of defocus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.settings import MicroscopeSettings

Array = npt.NDArray[Any]

# The modulator of relief contrast, in units of the pupil's radius and of amplitude. The slit is
# imaged into the grey stripe; what a gradient of phase deflects falls on dark or on clear glass.
GREY_FROM, GREY_TO = 0.42, 0.68
GREY, DARK = 0.15**0.5, 0.01**0.5
SOFTNESS = 0.06
SLIT_CENTRE, SLIT_WIDTH, SLIT_LENGTH = 0.55, 0.2, 1.3

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

    def source(self, order: int) -> tuple[Array, Array]:
        """Points that sample the condenser's aperture.

        Parameters
        ----------
        order
            Rings of the disc (Gauss-Legendre in the square of the radius, evenly spread in
            angle), or a measure of the points along the slit.

        Returns
        -------
        frequencies (S, 2), weights (S,) that sum to 1
        """
        if self.settings.contrast == "relief":
            return self._slit(order)
        radius = self.settings.condenser_na / self.settings.wavelength_um
        if radius == 0:
            return np.zeros((1, 2)), np.ones(1)
        nodes, node_weights = np.polynomial.legendre.leggauss(order)
        points, weights = [], []
        for ring, (node, weight) in enumerate(zip(nodes, node_weights, strict=True)):
            r = radius * np.sqrt((node + 1) / 2)
            n = max(4, 2 * round((2.2 * order + 1.5) * r / radius / 2 + 0.8))
            angle = 2 * np.pi * (np.arange(n) + 0.5 * (ring % 2)) / n
            points.append(np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1))
            weights.append(np.full(n, weight / 2 / n))
        return np.concatenate(points), np.concatenate(weights)

    def _slit(self, order: int) -> tuple[Array, Array]:
        along, along_weight = np.polynomial.legendre.leggauss(5 * order + 1)
        across, across_weight = np.polynomial.legendre.leggauss(order)
        y, x = np.meshgrid(
            along * SLIT_LENGTH / 2, SLIT_CENTRE + across * SLIT_WIDTH / 2, indexing="ij"
        )
        weights = np.outer(along_weight, across_weight).ravel() / 4
        return self.settings.cutoff * np.stack([y.ravel(), x.ravel()], axis=1), weights

    @cached_property
    def source_radius(self) -> float:
        """Largest frequency of the illumination."""
        if self.settings.contrast == "relief":
            return float(
                self.settings.cutoff * np.hypot(SLIT_CENTRE + SLIT_WIDTH / 2, SLIT_LENGTH / 2)
            )
        return self.settings.condenser_na / self.settings.wavelength_um

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
        if s.contrast == "relief":
            beyond_clear, beyond_grey = (
                1 / (1 + np.exp((edge - fx / s.cutoff) / SOFTNESS)) for edge in (GREY_FROM, GREY_TO)
            )
            amplitude = amplitude * (
                1 - (1 - GREY) * beyond_clear - (GREY - DARK) * beyond_clear * beyond_grey
            )
        result: Array = amplitude * np.exp(2j * np.pi * s.spherical_waves * spherical)
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

        The marginal ray, plus a margin for the rings around its image; the one-sided pupil of
        relief contrast has a longer shadow.
        """
        s = self.settings
        rings = 3.5 if s.contrast == "relief" else 2.5
        return float(
            self.marginal_slope * abs(distance_um) + rings * s.wavelength_um / s.numerical_aperture
        )

    def order_for(self, distance_um: float) -> int:
        """Source sampling for an object `distance_um` out of focus.

        Each source point makes its own image, shifted by the distance times its slope, so the
        source needs finer sampling further out of focus.
        """
        distance = abs(distance_um)
        return 2 if distance < 2.5 else 3 if distance < 6 else 5
