"""Contrast methods: where the light of the condenser comes from, and what the pupil does to it."""

from __future__ import annotations

from typing import Any, Protocol

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

# The ring in the pupil of phase contrast is wider than the image of the condenser's annulus by this
# on either side, and its edge is soft; in units of the pupil's radius.
RING_MARGIN, RING_SOFTNESS = 0.04, 0.008


class Method(Protocol):
    """What a contrast method adds to a microscope; frequencies are in 1/µm in the specimen."""

    @property
    def radius(self) -> float:
        """Largest frequency of the illumination."""

    @property
    def rings_um(self) -> float:
        """How far the light of a point in focus spreads."""

    def source(self, order: int) -> tuple[Array, Array]:
        """Points that sample the condenser's aperture: frequencies (S, 2), weights (S,), sum 1."""

    def plate(self, fy: Array, fx: Array) -> Array:
        """Transmittance of what stands in the objective's pupil.

        Parameters
        ----------
        fy, fx
            Frequencies at which light passes the pupil.
        """

    def analyser(self, fy: Array, fx: Array) -> Array:
        """Weight of the light that the specimen deflects.

        Parameters
        ----------
        fy, fx
            Frequencies by which it is deflected; 0 is the light that it does not deflect.
        """


class BrightField:
    """A disc in the condenser, and a clear pupil."""

    def __init__(self, settings: MicroscopeSettings) -> None:
        self.radius = settings.condenser_na / settings.wavelength_um
        self.rings_um = 2.5 * settings.wavelength_um / settings.numerical_aperture

    def source(self, order: int) -> tuple[Array, Array]:
        """Rings of the disc: Gauss-Legendre in the square of the radius, evenly in angle."""
        radius = self.radius
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

    def plate(self, fy: Array, fx: Array) -> Array:
        """Clear glass."""
        return np.ones(np.broadcast_shapes(np.shape(fy), np.shape(fx)))

    def analyser(self, fy: Array, fx: Array) -> Array:
        """None."""
        return np.ones(np.broadcast_shapes(np.shape(fy), np.shape(fx)))


class Relief(BrightField):
    """A slit off axis, and a modulator of three transmittances."""

    def __init__(self, settings: MicroscopeSettings) -> None:
        self._cutoff = settings.cutoff
        self.radius = float(
            settings.cutoff * np.hypot(SLIT_CENTRE + SLIT_WIDTH / 2, SLIT_LENGTH / 2)
        )
        self.rings_um = 3.5 * settings.wavelength_um / settings.numerical_aperture

    def source(self, order: int) -> tuple[Array, Array]:
        """Points along and across the slit."""
        along, along_weight = np.polynomial.legendre.leggauss(5 * order + 1)
        across, across_weight = np.polynomial.legendre.leggauss(order)
        y, x = np.meshgrid(
            along * SLIT_LENGTH / 2, SLIT_CENTRE + across * SLIT_WIDTH / 2, indexing="ij"
        )
        weights = np.outer(along_weight, across_weight).ravel() / 4
        return self._cutoff * np.stack([y.ravel(), x.ravel()], axis=1), weights

    def plate(self, fy: Array, fx: Array) -> Array:  # noqa: ARG002
        """Clear, grey and dark glass from left to right."""
        beyond_clear, beyond_grey = (
            1 / (1 + np.exp((edge - fx / self._cutoff) / SOFTNESS)) for edge in (GREY_FROM, GREY_TO)
        )
        plate: Array = 1 - (1 - GREY) * beyond_clear - (GREY - DARK) * beyond_clear * beyond_grey
        return plate


class Phase(BrightField):
    """An annulus in the condenser, and on its image in the pupil a ring that shifts by 90°.

    The ring advances light (positive: dense things are dark) or delays it, and dims it (F. Zernike,
    Physica 9, 1942).
    """

    def __init__(self, settings: MicroscopeSettings) -> None:
        self._cutoff = settings.cutoff
        inner, outer = settings.ring
        self._edges = inner - RING_MARGIN, outer + RING_MARGIN
        self._inner, self.radius = inner * settings.cutoff, outer * settings.cutoff
        shift = 1j if settings.contrast == "phase-negative" else -1j
        self._ring = shift * settings.ring_transmittance**0.5
        width = settings.cutoff * (self._edges[1] - self._edges[0])
        self.rings_um = 2.5 * settings.wavelength_um / settings.numerical_aperture + 1.0 / width

    def source(self, order: int) -> tuple[Array, Array]:
        """Points around the annulus, in two rings."""
        nodes, node_weights = np.polynomial.legendre.leggauss(2)
        n, points, weights = 4 * order + 4, [], []
        for ring, (node, weight) in enumerate(zip(nodes, node_weights, strict=True)):
            share = (node + 1) / 2
            r = np.sqrt(self._inner**2 + share * (self.radius**2 - self._inner**2))
            angle = 2 * np.pi * (np.arange(n) + 0.5 * (ring % 2)) / n
            points.append(np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1))
            weights.append(np.full(n, weight / 2 / n))
        return np.concatenate(points), np.concatenate(weights)

    def plate(self, fy: Array, fx: Array) -> Array:
        """The ring."""
        rho = np.hypot(fy, fx) / self._cutoff
        beyond_inner, beyond_outer = (
            1 / (1 + np.exp((edge - rho) / RING_SOFTNESS)) for edge in self._edges
        )
        plate: Array = 1 + (self._ring - 1) * beyond_inner * (1 - beyond_outer)
        return plate


class Shear(BrightField):
    """Differential interference contrast: two waves, one displaced, that interfere with a bias.

    The prisms of condenser and objective cancel for light that the specimen does not deflect, so
    all points of the source have the same bias, and brightness follows the difference of phase
    between two places (R. Allen, G. David and G. Nomarski, Z. wiss. Mikrosk. 69, 1969).
    """

    def __init__(self, settings: MicroscopeSettings) -> None:
        super().__init__(settings)
        angle = np.radians(settings.shear_deg)
        self._half_bias = float(np.radians(settings.bias_deg) / 2)
        self._shear = np.pi * settings.shear_um * np.array([np.sin(angle), np.cos(angle)])
        self.rings_um += settings.shear_um

    def analyser(self, fy: Array, fx: Array) -> Array:
        """Interference of the two waves."""
        weight: Array = np.sin(self._half_bias + self._shear[0] * fy + self._shear[1] * fx)
        return weight


_METHODS: dict[str, type[BrightField]] = {
    "brightfield": BrightField,
    "relief": Relief,
    "phase": Phase,
    "phase-negative": Phase,
    "dic": Shear,
}


def contrast_method(settings: MicroscopeSettings) -> Method:
    """The method that some settings name."""
    return _METHODS[settings.contrast](settings)
