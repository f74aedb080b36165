"""The fast model: partially coherent images of thick objects, in one scattering order.

An object is cut into slices of transmission ``t_l = exp(i phase_l)``, where the imaginary part of
a complex phase is the loss of amplitude. The contribution of slice l
to the wave is ``(t_l - 1) t_(l-1) ... t_0``: for a thin object the sum over the slices is the exact
transmission, and every term is diffracted from its own depth. Only the light between slices is not
diffracted (`reference` does that too, and the tests state the difference).

The terms do not depend on the source point. So each slice needs one small Fourier transform per
image, and each source point one inverse transform of the few frequencies its shifted pupil lets
through. The wave is computed on a grid just fine enough for its intensity, whose transform is then
resampled to the camera's pixels.
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
    """Phase of an object in slices, in the order of the light path (decreasing z).

    Attributes
    ----------
    phase
        (L, H, W), radians: float32, or complex64 whose imaginary part is the amplitude that is
        absorbed or scattered out of the aperture, in nepers.
    y_um, x_um
        Position of the sample [0, 0] relative to the object's centre.
    pitch_um
        Distance between samples: the microscope's `raster_um`.
    top_um, step_um
        Drive position of the first slice relative to the object's focus, and the drive distance
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
        """Drive position of the last slice relative to the object's focus."""
        return self.top_um - (len(self.phase) - 1) * self.step_um

    def scattered(self) -> Array:
        """Contribution of each slice to the wave behind the object, (L, H, W) complex64."""
        through = unit_phasor(np.cumsum(self.phase.real, axis=0, dtype=np.float32))
        if np.iscomplexobj(self.phase):
            through *= np.exp(-np.cumsum(self.phase.imag, axis=0, dtype=np.float32))
        through[1:] -= through[:-1].copy()
        through[0] -= 1
        return np.asarray(through)


@dataclass(frozen=True)
class Patch:
    """Part of an image: intensity relative to the empty background, and its position."""

    top: int
    left: int
    intensity: Array


class WaveImager:
    """Images of objects through a microscope, on the camera's pixels.

    Parameters
    ----------
    microscope
        Its settings give the size of the camera's pixels; if these are too coarse for the finest
        detail that the optics pass, the image is computed finer and sampled.
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
        room_um: float = 0.0,
        order: int | None = None,
        keep: bool = False,
    ) -> Patch:
        """Image one object; far out of focus it fades into the background.

        Parameters
        ----------
        slices
            The object.
        y_px, x_px
            Its centre, in camera pixels.
        depth_um
            The drive's z minus the object's focus.
        smear_um
            (y, x) path of the object during the exposure, around its centre.
        room_um
            Further room on each side of the window, for a long path.
        order
            Sampling order of the source; by default chosen from the distance out of focus.
        keep
            Cache the slices' transforms, for objects that do not move.
        """
        if abs(slices.pitch_um / self.microscope.settings.raster_um - 1) > 1e-6:
            raise ValueError("the slices are not sampled on this microscope's raster")
        near = min(max(depth_um, slices.bottom_um), slices.top_um)
        seen = np.float32(self.microscope.fade(depth_um - near))
        if not seen:
            return Patch(round(y_px), round(x_px), np.ones((1, 1), np.float32))
        far = max(abs(slices.top_um - depth_um), abs(slices.bottom_um - depth_um))
        spread = self.microscope.spread_um(far) + _FADE_PX / 2 * self.pixel_um + room_um
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

        The object's samples are padded to the window, one axis at a time, so that only non-empty
        and needed parts are transformed; the sub-sample position of the object is a phase ramp.
        Returns (L, frequencies) complex64.
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
        """Resample an intensity to the camera's pixels, each of which averages over its area."""
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
    """Weight along a window: 1 except for its last pixels, where the image fades to the background.

    The rings are infinite, the window is not.
    """
    rise = (np.arange(_FADE_PX) + 0.5) / _FADE_PX
    weight = np.ones(side, np.float32)
    weight[:_FADE_PX] = np.square(np.sin(np.pi / 2 * rise))
    weight[-_FADE_PX:] = weight[:_FADE_PX][::-1]
    return weight
