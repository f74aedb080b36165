"""Curves of a cell over its planes: power of the image in bands of spatial frequency.

The image around the head is windowed and transformed; its power is averaged in bands of frequency
and sectors of direction, and the camera's noise, seen beyond the optics' limit, is subtracted.

The focus of a cell is that of the centre of its head. Where a cell is tilted, each part of it has
its own focus, and the midpiece, on one side only, would draw the focus towards its own: by 0.75 µm
per radian. So the window lies where the centre of the power in it is the centre of the head; the
coarsest band, which sees neighbours too, has no part in this.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.curate.detection.scale import HEAD_UM, Floats

SECTORS: Final = 12
REACH: Final = 1.6
"""Half the side of the crop that is transformed, in head lengths."""
_WINDOW: Final = 0.45
"""Standard deviation of the window around the head, in head lengths."""
_FARTHEST: Final = 0.5
"""Greatest distance of the window from the centre of the head, in head lengths."""
_ROUNDS: Final = 8
_EDGES: Final = np.array([0.25, 0.42, 0.6, 0.76, 0.93, 1.2])
"""Edges of the bands, in units of the coherent cut-off NA / wavelength."""
_USUAL_CUTOFF: Final = 0.65 / 0.55
"""NA / wavelength of a 40x/0.65 objective in green light, 1/µm; used where unknown."""


@dataclass(frozen=True)
class Curves:
    """Curves of one cell over its planes.

    Attributes
    ----------
    z_um
        (P,) drive positions, µm, ascending.
    power
        (P, B, A) mean power in each band of spatial frequency and each sector of direction,
        relative to the band's largest; NaN where the crop leaves the frame.
    frequency
        (B,) mean frequency of each band, in units of the coherent cut-off.
    cutoff_per_um
        The coherent cut-off NA / wavelength, 1/µm.
    """

    z_um: Floats
    power: Floats
    frequency: Floats
    cutoff_per_um: float

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(P,) whether the crop lies inside the frame."""
        return np.asarray(np.isfinite(self.power).all(axis=(1, 2)))

    @property
    def bands(self) -> Floats:
        """(P, B) power over all directions, relative to the largest of each band."""
        power = self.power.mean(axis=2)
        return np.asarray(power / power[self.known].max(axis=0, initial=1e-12))


def measure(
    frames: npt.NDArray[Any],
    y: Floats,
    x: Floats,
    z_um: Floats,
    pixel_size_um: float,
    *,
    cutoff_per_um: float | None = None,
    head_um: float = HEAD_UM[0],
) -> Curves:
    """Measure the curves of one cell.

    Parameters
    ----------
    frames
        (P, Y, X) planes.
    y, x
        (P,) centre of the head in every plane, pixels.
    z_um
        (P,) drive positions, µm.
    pixel_size_um
        Pixel in the specimen, µm.
    cutoff_per_um
        NA / wavelength; None where unknown.
    head_um
        Length of the head, µm.
    """
    head = max(head_um / pixel_size_um, 4.0)
    reach = round(REACH * head)
    side = 2 * reach
    cutoff = _USUAL_CUTOFF if cutoff_per_um is None else cutoff_per_um
    top = min(_EDGES[-1] * cutoff, 0.9 * 0.5 / pixel_size_um)
    edges = _EDGES / _EDGES[-1] * top
    lines = np.fft.fftfreq(side, pixel_size_um)
    radius = np.hypot(lines[:, None], lines[None, :])
    direction = np.arctan2(lines[:, None], lines[None, :]) % np.pi
    sector = np.minimum((direction / np.pi * SECTORS).astype(int), SECTORS - 1)
    belongs = [
        [(radius >= low) & (radius < high) & (sector == s) for s in range(SECTORS)]
        for low, high in pairwise(edges)
    ]
    beyond = radius > 2.1 * cutoff

    result = np.full((len(frames), len(belongs), SECTORS), np.nan)
    corners = np.rint(np.column_stack([y, x])).astype(int) - reach
    room = np.array([frame.shape for frame in frames]) - side
    known = np.flatnonzero(((corners >= 0) & (corners <= room)).all(axis=1))
    crops = {
        int(p): frames[p][top : top + side, left : left + side].astype(np.float64)
        for p, (top, left) in zip(known, corners[known], strict=True)
    }
    detail = (radius >= edges[1]) & (radius < edges[-1])
    beside = _beside(crops.values(), detail, head)
    at = np.arange(side) - reach
    for p, crop in crops.items():
        dy, dx = np.array([y[p], x[p]]) - corners[p] - reach + beside
        window = _window(at[:, None] - dy, at[None, :] - dx, head)
        crop -= (crop * window).sum() / window.sum()
        power = np.abs(np.fft.fft2(crop * window)) ** 2
        noise = float(np.median(power[beyond])) / np.log(2) if beyond.any() else 0.0
        result[p] = [[_mean(power, s) - noise for s in sectors] for sectors in belongs]
    frequency = np.sqrt((edges[:-1] ** 2 + edges[1:] ** 2) / 2) / cutoff
    return Curves(np.asarray(z_um, np.float64), result, frequency, cutoff)


def _beside(crops: Iterable[Floats], detail: npt.NDArray[np.bool_], head: float) -> Floats:
    """Place of the window relative to the centre of the crops, (y, x), pixels.

    There the centre of the power of `detail`, a mask of spatial frequencies, is that of the crops.
    """
    power = np.zeros(detail.shape)
    for crop in crops:
        power += np.abs(np.fft.ifft2(np.fft.fft2(crop) * detail)) ** 2
    power = np.maximum(power - np.median(power), 0)
    at = np.arange(len(power)) - len(power) / 2
    place = np.zeros(2)
    for _ in range(_ROUNDS):
        weight = power * _window(at[:, None] - place[0], at[None, :] - place[1], head) ** 2
        lines = np.stack([weight.sum(axis=1), weight.sum(axis=0)])
        place -= (lines @ at) / max(float(weight.sum()), 1e-12)
        place /= max(1.0, float(np.hypot(*place)) / (_FARTHEST * head))
    return place


def _window(dy: Floats, dx: Floats, head: float) -> Floats:
    """Weights at distances from the middle of the window, pixels."""
    return np.asarray(np.exp(-0.5 * (dy**2 + dx**2) / (_WINDOW * head) ** 2))


def _mean(power: Floats, inside: npt.NDArray[np.bool_]) -> float:
    return float(power[inside].mean()) if inside.any() else 0.0
