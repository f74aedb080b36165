"""Partially coherent images of thick phase objects, in one scattering order: the fast model.

A thing is cut into slices of transmission ``t_l = exp(i phase_l)``. What slice l adds to the
wave is ``(t_l - 1) t_(l-1) ... t_0``: the sum over the slices is the exact transmission of the
whole when the thing is thin, and every term is diffracted from its own depth. Only the light
between slices is not diffracted (`reference` does that too, and the tests state the difference).

The terms do not depend on the source point. So each slice needs one small Fourier transform per
image, and each source point one inverse transform of the few frequencies its shifted pupil lets
through. The wave is computed on a grid just fine enough for its intensity, whose transform is
then laid onto the camera's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.cache import kept
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.patch_grid import Window, Windows, unit_phasor

Array = npt.NDArray[Any]

_FADE_PX = 6


@dataclass(frozen=True, eq=False)
class Slices:
    """A thing's phase, slice by slice in the order the light meets them (falling z).

    Attributes
    ----------
    phase
        (L, H, W) float32, radians.
    y_um, x_um
        Place of the sample [0, 0] relative to the thing's centre.
    pitch_um
        Distance between samples: the microscope's `raster_um`.
    top_um, step_um
        Drive position of the first slice relative to the thing's focus, and the drive distance
        from each slice down to the next.
    """

    phase: Array
    y_um: float
    x_um: float
    pitch_um: float
    top_um: float
    step_um: float

    @property
    def bottom_um(self) -> float:
        """Drive position of the last slice relative to the thing's focus."""
        return self.top_um - (len(self.phase) - 1) * self.step_um

    def scattered(self) -> Array:
        """What each slice adds to the wave behind the whole thing, (L, H, W) complex64."""
        through = unit_phasor(np.cumsum(self.phase, axis=0, dtype=np.float32))
        through[1:] -= through[:-1].copy()
        through[0] -= 1
        return np.asarray(through)


@dataclass(frozen=True)
class Patch:
    """A piece of image: intensity relative to the empty background, and where it lies."""

    top: int
    left: int
    intensity: Array


class WaveImager:
    """Images of phase objects through a microscope, on the camera's pixels.

    Parameters
    ----------
    microscope
        Its settings give the size of the camera's pixels; where these are too coarse for the
        finest detail the optics let through, the image is computed finer and sampled.
    """

    def __init__(self, microscope: Microscope) -> None:
        self.microscope = microscope
        self.windows = Windows(microscope)
        self.pixel_um = self.windows.pixel_um
        self.finer = self.windows.finer
        self.pitch_um = self.windows.pitch_um
        self._kept = kept(self._transform, 256)

    def image(
        self,
        slices: Slices,
        y_px: float,
        x_px: float,
        depth_um: float,
        smear_um: tuple[float, float] = (0.0, 0.0),
        order: int | None = None,
        keep: bool = False,
    ) -> Patch:
        """Image one thing; far out of focus it fades and is ground.

        Parameters
        ----------
        slices
            What stands there.
        y_px, x_px
            Its centre, in camera pixels.
        depth_um
            The drive's z minus the thing's focus.
        smear_um
            (y, x) way of the thing during the exposure, about its centre.
        order
            Fineness of the source; by default as the distance out of focus asks.
        keep
            Remember the slices' transforms: for things that stay where they are.
        """
        if abs(slices.pitch_um / self.microscope.settings.raster_um - 1) > 1e-6:
            raise ValueError("the slices are not sampled on this microscope's raster")
        near = min(max(depth_um, slices.bottom_um), slices.top_um)
        seen = np.float32(self.microscope.fade(depth_um - near))
        if not seen:
            return Patch(round(y_px), round(x_px), np.ones((1, 1), np.float32))
        far = max(abs(slices.top_um - depth_um), abs(slices.bottom_um - depth_um))
        spread = self.microscope.spread_um(far) + _FADE_PX / 2 * self.pixel_um
        if order is None:
            order = self.microscope.order_for(far)
        height, width = slices.phase.shape[1:]
        y_low, x_low = slices.y_um - spread, slices.x_um - spread
        shape = (
            self.windows.side(2 * spread + height * slices.pitch_um),
            self.windows.side(2 * spread + width * slices.pitch_um),
        )
        top = round(y_px + y_low / self.pixel_um)
        left = round(x_px + x_low / self.pixel_um)
        window = self.windows.get(shape, order)
        transform = self._kept if keep else self._transform
        terms = transform(
            slices, window, (y_px - top) * self.pixel_um, (x_px - left) * self.pixel_um
        )
        wave = self._wave(window, terms, slices.top_um - depth_um, slices.step_um)
        intensity = np.einsum(
            "s,syx->yx", window.weights, np.square(wave.real) + np.square(wave.imag)
        )
        image = self._to_camera(window, intensity, smear_um)
        if seen < 1:
            image = 1 + seen * (image - 1)
        return Patch(top, left, image)

    def _transform(self, slices: Slices, window: Window, y_um: float, x_um: float) -> Array:
        """Fourier transform of each slice's term at the frequencies the optics can pass.

        The thing's samples are padded to the window, one axis after the other so that only
        what is not empty and what will be used is transformed; where the thing stands between
        the samples is a ramp of phase. Returns (L, frequencies) complex64.
        """
        from scipy.fft import fft

        terms = slices.scattered()
        for axis, first in ((2, x_um + slices.x_um), (1, y_um + slices.y_um)):
            side, reach = window.shape[axis - 1], window.reach[axis - 1]
            k = np.arange(-reach, reach + 1)
            terms = fft(terms, n=side * 3 // 2, axis=axis, workers=1).take(k, axis, mode="wrap")
            angle = (-2 * np.pi * first / (side * self.pitch_um)) * k
            ramp = unit_phasor(angle.astype(np.float32)) * np.float32(slices.pitch_um)
            terms *= ramp[:, None] if axis == 1 else ramp
        flat: Array = terms.reshape(len(terms), -1)
        return flat

    @staticmethod
    def _wave(window: Window, terms: Array, top_um: float, step_um: float) -> Array:
        """Wave in the camera's plane for each source point, (S, y, x) complex64."""
        from scipy.fft import ifft2

        down = unit_phasor(-step_um * window.axial)
        total = terms[-1][window.box_index]
        for term in terms[-2::-1]:
            total *= down
            total += term[window.box_index]
        total *= unit_phasor(top_um * window.axial)
        total *= window.pupil
        points = len(window.weights)
        spectrum = np.zeros((points, *window.wave_shape), np.complex64)
        spectrum.ravel()[window.wave_index] = total
        spectrum[:, 0, 0] += window.unscattered
        wave: Array = ifft2(spectrum, norm="forward", overwrite_x=True, workers=1)
        return wave

    def _to_camera(self, window: Window, intensity: Array, smear_um: tuple[float, float]) -> Array:
        """Lay an intensity onto the camera's pixels, each of which averages over its area."""
        from scipy.fft import irfft2, rfft2

        spectrum = rfft2(intensity, norm="forward", workers=1)
        rows, columns = window.wave_shape[0] // 2, min(window.wave_shape[1], window.shape[1]) // 2
        padded = np.zeros((window.shape[0], window.shape[1] // 2 + 1), np.complex64)
        padded[:rows, :columns] = spectrum[:rows, :columns]
        padded[-rows:, :columns] = spectrum[-rows:, :columns]
        for axis, n in enumerate(window.shape):
            f = (np.fft.fftfreq if axis == 0 else np.fft.rfftfreq)(n, self.pitch_um)
            transfer = (np.sinc(f * self.pixel_um)).astype(np.float32)
            padded *= transfer[:, None] if axis == 0 else transfer[None, :]
        if any(smear_um):
            fy = np.fft.fftfreq(window.shape[0], self.pitch_um)[:, None]
            fx = np.fft.rfftfreq(window.shape[1], self.pitch_um)[None, :]
            padded *= np.sinc(fy * smear_um[0] + fx * smear_um[1]).astype(np.float32)
        image: Array = irfft2(padded, s=window.shape, norm="forward", workers=1)
        image = image[:: self.finer, :: self.finer] - np.float32(1)
        image *= _fade(image.shape[0])[:, None]
        image *= _fade(image.shape[1])[None, :]
        return image + np.float32(1)


@lru_cache(maxsize=64)
def _fade(side: int) -> Array:
    """Weight along a window: 1 but for its last pixels, where the image fades into the empty.

    The rings go on for ever, the window does not.
    """
    rise = (np.arange(_FADE_PX) + 0.5) / _FADE_PX
    weight = np.ones(side, np.float32)
    weight[:_FADE_PX] = np.square(np.sin(np.pi / 2 * rise))
    weight[-_FADE_PX:] = weight[:_FADE_PX][::-1]
    return weight
