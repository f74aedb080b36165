"""The image of a long thin body of glass across its axis, at any distance from focus."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.cache import kept
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.patch_grid import unit_phasor
from fgaf.acquire.simulation.waves import Slices

Array = npt.NDArray[Any]

FARTHEST_UM = 120.0
"""Distance from focus, drive µm, beyond which a body looks as it does there."""

_NEAR_UM, _NEAR_ORDER, _FAR_ORDER = 12.0, 6, 10
_BETWEEN = 0.5
_SAMPLES = 4096


class GlassLine:
    """Intensity across a body that is the same all along its axis, relative to the background.

    Light that it refracts out of the pupil is missing, so that far from focus a broad shadow is
    left. The images of the source points are summed as in `waves`, in one dimension.

    Parameters
    ----------
    slices
        Its phase, one sample wide along the axis.
    microscope
        That images it.
    across
        Unit vector (y, x) across the axis.
    """

    def __init__(self, slices: Slices, microscope: Microscope, across: tuple[float, float]) -> None:
        self._slices, self._microscope, self._across = slices, microscope, across
        self._frequency = np.fft.fftfreq(_SAMPLES, slices.pitch_um)
        (self._passed,) = np.nonzero(
            np.abs(self._frequency) <= microscope.settings.cutoff + microscope.source_radius
        )
        self.profile = kept(self._make_profile, 512)

    @property
    def pitch_um(self) -> float:
        """Distance of the samples of a profile."""
        return self._slices.pitch_um

    @property
    def first_um(self) -> float:
        """Distance of the first sample from the axis; the axis lies in the middle."""
        return -_SAMPLES // 2 * self.pitch_um

    @cached_property
    def _near(self) -> tuple[Array, Array, Array, Array]:
        return self._deflected(_NEAR_ORDER)

    @cached_property
    def _far(self) -> tuple[Array, Array, Array, Array]:
        return self._deflected(_FAR_ORDER)

    def _deflected(self, order: int) -> tuple[Array, Array, Array, Array]:
        """For each source point what passes the pupil: axial (S, F), light (S, F), ground, weight.

        The light is that of all slices, brought to the focus of the body.
        """
        slices, scope = self._slices, self._microscope
        f = self._frequency[self._passed]
        fy, fx = f * self._across[0], f * self._across[1]
        terms = np.fft.fft(slices.scattered()[:, :, 0], _SAMPLES, axis=1)[:, self._passed]
        terms = terms * np.exp(-2j * np.pi * f * slices.y_um)
        sources, weights = scope.source(order)
        axial = np.stack(
            [scope.axial(fy + sy, fx + sx) - scope.axial(sy, sx) for sy, sx in sources]
        )
        axial = (2 * np.pi * axial).astype(np.float32)
        passes = np.stack([scope.transfer(fy, fx, (sy, sx)) for sy, sx in sources])
        down = unit_phasor(-np.float32(slices.step_um) * axial)
        light = np.broadcast_to(terms[-1].astype(np.complex64), axial.shape).copy()
        for term in terms[-2::-1]:
            light *= down
            light += term.astype(np.complex64)
        light *= unit_phasor(np.float32(slices.top_um) * axial) * passes.astype(np.complex64)
        ground = np.array([scope.background((sy, sx)) for sy, sx in sources])
        return axial, light, ground, weights / np.sum(weights * np.abs(ground) ** 2)

    def _make_profile(self, depth_um: float) -> Array:
        """Intensity, (4096,) float32, with the drive so far above the focus of the body."""
        from scipy.fft import ifft

        far = abs(depth_um) > _NEAR_UM
        axial, light, ground, weights = self._far if far else self._near
        spectrum = np.zeros((len(weights), _SAMPLES), np.complex64)
        spectrum[:, self._passed] = light * unit_phasor(-np.float32(depth_um) * axial)
        spectrum[:, 0] += ground * _SAMPLES
        wave = ifft(spectrum, axis=1, overwrite_x=True, workers=1)
        intensity = weights.astype(np.float32) @ (np.square(wave.real) + np.square(wave.imag))
        settings = self._microscope.settings
        blur = np.sinc(self._frequency * settings.pixel_size_um)
        if far:  # between the images of neighbouring source points, which lie apart by twice this
            sigma = abs(depth_um) * settings.wavelength_um * self._microscope.source_radius
            sigma *= _BETWEEN / _FAR_ORDER
            blur *= np.exp(-2 * np.square(np.pi * sigma * self._frequency))
        seen = np.fft.ifft(np.fft.fft(intensity) * blur).real
        return np.fft.fftshift(seen).astype(np.float32)
