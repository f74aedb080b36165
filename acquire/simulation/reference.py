"""The reference model: every source point is propagated through every slice, in double precision.

It is slow and simple, and neglects only back-scattered light. The tests and the benchmark compare
`waves` with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.waves import Slices

Array = npt.NDArray[Any]


def multislice(
    microscope: Microscope,
    slices: Slices,
    centre_px: tuple[float, float],
    depth_um: float,
    side: int = 192,
    order: int = 4,
    oversampling: int = 2,
) -> Array:
    """Image an object by the multi-slice method.

    Parameters
    ----------
    microscope, slices, depth_um
        As for `waves.WaveImager.image`; the pixels must be fine enough for the optics.
    centre_px
        Position of its centre in the window, (y, x) in camera pixels.
    side
        Camera pixels along the square window, which is periodic.
    order
        Sampling order of the source.
    oversampling
        Samples of the wave per camera pixel.

    Returns
    -------
    (side, side) intensity relative to the empty background.
    """
    settings = microscope.settings
    n, pitch = side * oversampling, settings.pixel_size_um / oversampling
    frequency = np.fft.fftfreq(n, pitch)
    fy, fx = frequency[:, None], frequency[None, :]
    phases = _resample(slices, centre_px, settings.pixel_size_um, frequency)
    height = slices.step_um / settings.reduction
    index = settings.specimen_index / settings.wavelength_um
    fall = (slices.top_um - slices.bottom_um) / settings.reduction
    middle = (slices.top_um + slices.bottom_um) / 2
    total = np.zeros((n, n))
    brightness = 0.0
    points, weights = microscope.source(order)
    for (sy, sx), weight in zip(points, weights, strict=True):
        gy, gx = fy + sy, fx + sx
        tilted = np.emath.sqrt(index**2 - gy**2 - gx**2) - np.sqrt(index**2 - sy**2 - sx**2)
        step = np.exp(2j * np.pi * height * tilted)
        back = np.where(gy**2 + gx**2 < index**2, np.exp(-1j * np.pi * fall * tilted), 0)
        wave = np.ones((n, n), complex)
        for number, phase in enumerate(phases):
            if number:
                wave = np.fft.ifft2(np.fft.fft2(wave) * step)
            wave = wave * np.exp(1j * phase)
        defocus = microscope.axial(gy, gx) - microscope.axial(sy, sx)
        seen = np.fft.fft2(wave) * back * microscope.transfer(fy, fx, (sy, sx))
        seen = np.fft.ifft2(seen * np.exp(2j * np.pi * (middle - depth_um) * defocus))
        total += weight * np.abs(seen) ** 2
        brightness += weight * abs(microscope.background((sy, sx))) ** 2
    transfer = np.sinc(frequency * settings.pixel_size_um)
    camera = np.fft.ifft2(np.fft.fft2(total) * np.outer(transfer, transfer)).real / brightness
    return camera[::oversampling, ::oversampling]


def _resample(
    slices: Slices, centre_px: tuple[float, float], pixel_um: float, frequency: Array
) -> Array:
    """Resample the slices' phase to the window's samples, band-limited."""
    n = len(frequency)
    matrix = []
    for first, count, centre in zip(
        (slices.y_um, slices.x_um), slices.phase.shape[1:], centre_px, strict=True
    ):
        where = centre * pixel_um + first + slices.pitch_um * np.arange(count)
        matrix.append(np.exp(-2j * np.pi * np.outer(frequency, where)) * slices.pitch_um)
    spectra = matrix[0] @ slices.phase @ matrix[1].T
    unit = frequency[1] - frequency[0]
    phases: Array = np.fft.ifft2(spectra, norm="forward") * unit**2
    return (phases if np.iscomplexobj(slices.phase) else phases.real).reshape(-1, n, n)
