"""Images of weak beads: the flagellum as a sum of precomputed point images."""

from __future__ import annotations

from math import sinh
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.cache import kept
from fgaf.acquire.simulation.patch_grid import Window, Windows, unit_phasor

Array = npt.NDArray[Any]

DEPTH_STEP_UM = 0.1
PLACES = 4
"""Point images are cached per 0.1 µm of depth and per quarter of a pixel."""

QUICK_PLACES = 2
QUICK_STEP_UM, QUICK_SCALE_UM = 0.2, 2.0
QUICK_FADE_UM, QUICK_HORIZON_UM = 6.0, 9.0
"""With `quick` optics: half pixels, and steps of depth of 0.2 µm that grow beyond 2 µm; a bead
fades where the marginal ray has spread by 6 to 9 µm."""

BEAD_SIGMA_UM = 0.11
"""Width of a bead: the flagellum is 0.4 µm thick."""


class FlagellumImager:
    """Adds up the point images of weak beads (first Born approximation).

    A bead of integrated phase q adds ``q h(x - x_0, depth)`` to the relative intensity; h is
    averaged over the source. A bead that absorbs has a complex q, whose imaginary part has a point
    image of its own. In this order the beads do not interfere with each other, so a whole
    flagellum is one sum; this holds for the tens of milliradians of each bead.
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.pixel_um = windows.pixel_um
        self._quick = windows.microscope.settings.quick
        self._places = QUICK_PLACES if self._quick else PLACES
        self._step_um = QUICK_STEP_UM if self._quick else DEPTH_STEP_UM
        self._point = kept(self._make_point, 8192)
        self._spectrum = kept(self._make_spectrum, 512)

    def add(
        self,
        image: Array,
        y_px: Array,
        x_px: Array,
        depth_um: Array,
        strength: Array,
    ) -> None:
        """Add beads to an image of relative departures from the background, in place.

        Parameters
        ----------
        image
            (Y, X) float32.
        y_px, x_px
            (N,) positions in the image; beads outside contribute if their image reaches in.
        depth_um
            (N,) the drive's z minus the focus of each bead.
        strength
            (N,) phase integrated over the bead's area, rad µm²; if complex, its imaginary part is
            the loss of amplitude.
        """
        rows, columns = image.shape
        strength = strength * self._fade(depth_um)
        seen = strength != 0
        y_px, x_px, depth_um, strength = (a[seen] for a in (y_px, x_px, depth_um, strength))
        farthest = self.windows.microscope.spread_um(float(np.abs(depth_um).max(initial=0)))
        reach = farthest / self.pixel_um + 1
        near = (np.abs(y_px - rows / 2) < rows / 2 + reach) & (
            np.abs(x_px - columns / 2) < columns / 2 + reach
        )
        y_px, x_px, depth_um, strength = (a[near] for a in (y_px, x_px, depth_um, strength))
        fine_y = np.rint(y_px * self._places).astype(int)
        fine_x = np.rint(x_px * self._places).astype(int)
        levels = self._levels(depth_um)
        tops, sub_y = np.divmod(fine_y, self._places)
        lefts, sub_x = np.divmod(fine_x, self._places)
        absorbing = np.iscomplexobj(strength)
        single = strength.astype(np.complex64 if absorbing else np.float32)
        for top, left, sy, sx, level, q in zip(
            tops.tolist(), lefts.tolist(), sub_y.tolist(), sub_x.tolist(), levels.tolist(),
            single, strict=True,
        ):  # fmt: skip
            point = self._point(level, sy, sx)
            r = len(point) // 2
            y0, y1 = max(top - r, 0), min(top + r + 1, rows)
            x0, x1 = max(left - r, 0), min(left + r + 1, columns)
            if y0 < y1 and x0 < x1:
                part = slice(y0 - top + r, y1 - top + r), slice(x0 - left + r, x1 - left + r)
                image[y0:y1, x0:x1] += q.real * point[part]
                if absorbing:
                    lossy = self._point(level, sy, sx, True)
                    image[y0:y1, x0:x1] += q.imag * lossy[part]

    def _fade(self, depth_um: Array) -> Array:
        """Weight of beads at depths."""
        scope = self.windows.microscope
        weight: Array = scope.fade(depth_um)
        if self._quick:
            spread = np.abs(depth_um) * scope.marginal_slope
            weight = weight * np.clip(
                (QUICK_HORIZON_UM - spread) / (QUICK_HORIZON_UM - QUICK_FADE_UM), 0, 1
            )
        return weight

    def _levels(self, depth_um: Array) -> Array:
        """Numbers of the cached depths next to those given."""
        if self._quick:
            depth_um = QUICK_SCALE_UM * np.arcsinh(depth_um / QUICK_SCALE_UM)
        levels: Array = np.rint(depth_um / self._step_um).astype(int)
        return levels

    def _depth(self, level: int) -> float:
        """Depth of a number, µm."""
        depth = level * self._step_um
        return QUICK_SCALE_UM * sinh(depth / QUICK_SCALE_UM) if self._quick else depth

    def _make_point(self, level: int, sub_y: int, sub_x: int, absorbing: bool = False) -> Array:
        """Image of a bead of 1 rad µm² (or neper µm²), shifted by quarters of a pixel.

        An odd square, float32.
        """
        from scipy.fft import irfft2

        radius, spectrum = self._spectrum(level, absorbing)
        side, finer = len(spectrum), self.windows.finer
        k = np.rint(np.fft.fftfreq(side, 1 / side)).astype(np.float32)
        turn = np.float32(-2 * np.pi / side * finer / self._places)
        ramp_y, ramp_x = unit_phasor(turn * sub_y * k), unit_phasor(turn * sub_x * k)
        shifted = spectrum * ramp_y[:, None] * ramp_x[: side // 2 + 1]
        image = irfft2(shifted, norm="forward", workers=1)
        around = np.arange(-radius, radius + 1) * finer % side
        return np.ascontiguousarray(image[np.ix_(around, around)])

    def _make_spectrum(self, level: int, absorbing: bool) -> tuple[int, Array]:
        """Radius of a point image in pixels and its half spectrum about the sample [0, 0]."""
        depth = self._depth(level)
        scope = self.windows.microscope
        spread = scope.spread_um(depth)
        side = self.windows.side(2 * spread + 2 * self.pixel_um)
        window = self.windows.get((side, side), scope.order_for(depth))
        reach = window.reach[0]
        k = np.arange(-reach, reach + 1)
        f = k * window.unit[0]
        blur = np.exp(-2 * (np.pi * BEAD_SIGMA_UM * f) ** 2) * np.sinc(f * self.pixel_um)
        box = transfer(window, depth, absorbing) * window.unit[0] ** 2 * blur[:, None] * blur
        spectrum = np.zeros((side, side // 2 + 1), np.complex64)
        spectrum[np.ix_(k, k[reach:])] = box[:, reach:]
        return int(spread / self.pixel_um), spectrum


def transfer(window: Window, depth_um: float, absorbing: bool = False) -> Array:
    """Intensity spectrum of a weak object per unit spectrum of its phase or loss of amplitude.

    The spectrum is relative to the background. For one axial source point and without aberration
    that of a phase is ``2 sin(2 pi depth (kz - n / wavelength))`` inside the pupil, in the paraxial
    limit ``-2 sin(pi wavelength depth f^2 / n)``; for others, the mean over the source. For a loss
    it is the cosine, times -2.

    Parameters
    ----------
    window
        Gives the frequencies: those of its box.
    depth_um
        The drive's z minus the object's focus.
    absorbing
        Whether the spectrum is that of a loss.

    Returns
    -------
    (2 reach_y + 1, 2 reach_x + 1) complex.
    """
    weight = window.weights * np.conj(window.unscattered) / (window.unit[0] * window.unit[1])
    passed = unit_phasor(-depth_um * window.axial) * window.pupil * weight[window.point]
    size = (2 * window.reach[0] + 1, 2 * window.reach[1] + 1)
    total = np.empty(size[0] * size[1], complex)
    total.real = np.bincount(window.box_index, passed.real, total.size)
    total.imag = np.bincount(window.box_index, passed.imag, total.size)
    total = total.reshape(size)
    twin = np.conj(total[::-1, ::-1])
    result: Array = -(total + twin) if absorbing else 1j * (total - twin)
    return result
