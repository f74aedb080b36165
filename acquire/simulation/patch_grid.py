"""Windows: the image area around one object, and what does not depend on the object."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.cache import kept
from fgaf.acquire.simulation.microscope import Microscope

Array = npt.NDArray[Any]

_SIDES = (32, 48, 64, 80, 96, 128, 160, 192, 224, 256, 320, 384, 512)


def unit_phasor(angle: Array) -> Array:
    """``exp(i angle)`` of float32 angles as complex64, several times faster than `numpy.exp`."""
    result = np.empty(angle.shape, np.complex64)
    np.cos(angle, out=result.real)
    np.sin(angle, out=result.imag)
    return result


@dataclass(frozen=True, eq=False)
class Window:
    """Frequencies of a window that the optics pass, for every source point.

    Attributes
    ----------
    shape
        Samples (y, x).
    unit
        Distance of its frequencies (y, x), in 1/µm.
    reach
        Largest frequency (y, x) that passes the pupil for any source point, in units: the
        box of frequencies is (2 reach + 1) long.
    wave_shape
        Samples of the coarser grid that still holds the intensity.
    box_index, wave_index
        (F,) place of each passed frequency in the flat box, and in the flat spectra of the
        waves (S, *wave_shape).
    point
        (F,) source point of each.
    axial
        (F,) 2 pi times the axial frequency minus that of the unscattered light, rad/µm.
    pupil
        (F,) transmittance times the area of one frequency.
    unscattered
        (S,) transmittance of the unscattered light.
    weights
        (S,) of the source points, such that the empty background is 1.
    """

    shape: tuple[int, int]
    unit: tuple[float, float]
    reach: tuple[int, int]
    wave_shape: tuple[int, int]
    box_index: Array
    wave_index: Array
    point: Array
    axial: Array
    pupil: Array
    unscattered: Array
    weights: Array


class Windows:
    """Makes and caches windows.

    Where the camera's pixels are too coarse for the finest detail the optics let through,
    windows are sampled `finer` times finer.
    """

    def __init__(self, microscope: Microscope) -> None:
        self.microscope = microscope
        self.pixel_um = microscope.settings.pixel_size_um
        self.finer = microscope.settings.finer
        self.pitch_um = self.pixel_um / self.finer
        self.get = kept(self._make, 128)

    def side(self, length_um: float) -> int:
        """Samples of a window of at least `length_um`: a size with a fast transform."""
        pixels = length_um / self.pixel_um
        for side in _SIDES:
            if side >= pixels:
                return int(side * self.finer)
        return int(128 * ceil(pixels / 128) * self.finer)

    def _make(self, shape: tuple[int, int], order: int) -> Window:
        from scipy.fft import next_fast_len

        scope = self.microscope
        cutoff = scope.settings.cutoff
        unit = [1 / (side * self.pitch_um) for side in shape]
        reach = [int((cutoff + scope.source_radius) / u) for u in unit]
        waves = [
            min(2 * next_fast_len(int(2 * cutoff / u) + 1), side)
            for u, side in zip(unit, shape, strict=True)
        ]
        ky = np.arange(-reach[0], reach[0] + 1)
        kx = np.arange(-reach[1], reach[1] + 1)
        fy, fx = np.meshgrid(ky * unit[0], kx * unit[1], indexing="ij")
        place = (ky % waves[0])[:, None] * waves[1] + (kx % waves[1])[None, :]
        sources, weights = scope.source(order)
        background = np.array([scope.background((sy, sx)) for sy, sx in sources])
        box_index, wave_index, point, axial, pupil = [], [], [], [], []
        for number, (sy, sx) in enumerate(sources):
            (inside,) = np.nonzero((np.hypot(fy + sy, fx + sx) <= cutoff).ravel())
            by, bx = fy.ravel()[inside], fx.ravel()[inside]
            box_index.append(inside)
            wave_index.append(place.ravel()[inside] + number * waves[0] * waves[1])
            point.append(np.full(len(inside), number))
            axial.append(scope.axial(by + sy, bx + sx) - scope.axial(sy, sx))
            pupil.append(scope.transfer(by, bx, (sy, sx)))
        return Window(
            shape=shape,
            unit=(unit[0], unit[1]),
            reach=(reach[0], reach[1]),
            wave_shape=(waves[0], waves[1]),
            box_index=np.concatenate(box_index),
            wave_index=np.concatenate(wave_index),
            point=np.concatenate(point),
            axial=(2 * np.pi * np.concatenate(axial)).astype(np.float32),
            pupil=(unit[0] * unit[1] * np.concatenate(pupil)).astype(np.complex64),
            unscattered=background.astype(np.complex64),
            weights=(weights / np.sum(weights * np.abs(background) ** 2)).astype(np.float32),
        )
