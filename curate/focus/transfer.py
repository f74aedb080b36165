"""How bright field images the detail of a thin cell at any defocus.

Detail of spatial frequency k that delays light by a phase p, and takes the share a of its
amplitude, has in the image the contrast ``-2 (p Im T + a Re T)``. T is the transfer of one
sideband, averaged over the points s of the condenser::

    T(k, d) = mean of P(s + k) / P(s) exp(2 pi i d (w(s) - w(s + k)))

P is the pupil with its spherical aberration, w the axial frequency, and d the defocus (N. Streibl,
J. Opt. Soc. Am. A 2, 121, 1985). Without aberration Im T is odd in d and Re T is even: the contrast
of a phase vanishes in focus, that of an absorption is highest there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONDENSERS: Final = (0.2, 0.35, 0.5, 0.65, 0.8)
"""Apertures of the condenser in the table, as shares of the objective's."""
ABERRATIONS: Final = np.linspace(-0.08, 0.08, 9)
"""Spherical aberrations in the table, waves r.m.s."""
_BALANCE: Final = 0.75
"""Defocus per aberration that leaves the focus of a head where it is without either: less than the
1 of a full pupil, because the light of a head crosses the inner pupil."""
_WAVELENGTH_UM: Final = 0.55
_RINGS, _SPOKES = 3, 6
"""Points of half the condenser, which is symmetric about the direction of k."""
_SHARES: Final = (0.25, 0.75)
"""Frequencies of a band, as shares of its width."""
_PITCH_UM: Final = 0.1


@dataclass(frozen=True)
class Transfer:
    """Squares of the transfer for every condenser, aberration, band and defocus.

    Attributes
    ----------
    defocus_um
        (D,) defocus, drive µm, ascending in equal steps.
    squares
        (C, A, B, D, 3) means over a band of ``(Re T)^2``, ``(Im T)^2`` and ``2 Re T Im T``.
    """

    defocus_um: Floats
    squares: npt.NDArray[np.float32]

    def at(
        self, optics: tuple[int, int] | None, z_um: Floats, focus_um: Floats
    ) -> npt.NDArray[np.float32]:
        """Squares for planes and possible foci: (..., B, F, P, 3).

        Parameters
        ----------
        optics
            Numbers of condenser and aberration; None for all, which are then the first axes.
        z_um
            (P,) drive positions, µm.
        focus_um
            (F,) possible foci, µm.
        """
        squares = self.squares if optics is None else self.squares[optics]
        place = (z_um[None, :] - focus_um[:, None] - self.defocus_um[0]) / _PITCH_UM
        low = np.clip(place.astype(int), 0, len(self.defocus_um) - 2)
        share = np.clip(place - low, 0, 1).astype(np.float32)[..., None]
        between: npt.NDArray[np.float32] = (
            squares[..., low, :] * (1 - share) + squares[..., low + 1, :] * share
        )
        return between


@lru_cache(maxsize=8)
def transfer_of(frequency: tuple[float, ...], cutoff_per_um: float, reach_um: int) -> Transfer:
    """Compute the table of some bands.

    Parameters
    ----------
    frequency
        (B,) mean frequency of the bands, in units of the cut-off.
    cutoff_per_um
        The coherent cut-off NA / wavelength, 1/µm.
    reach_um
        Largest defocus, drive µm.
    """
    count = round(reach_um / _PITCH_UM)
    defocus = np.arange(-count, count + 1, dtype=np.float64) * _PITCH_UM
    squares = np.zeros(
        (len(CONDENSERS), len(ABERRATIONS), len(frequency), len(defocus), 3), np.float32
    )
    edges = np.interp(np.arange(len(frequency) + 1) - 0.5, np.arange(len(frequency)), frequency)
    radius = np.sqrt((np.arange(_RINGS) + 0.5) / _RINGS)[:, None]
    angle = (np.arange(_SPOKES) + 0.5) / _SPOKES * np.pi
    for c, condenser in enumerate(CONDENSERS):
        across = (condenser * radius * np.sin(angle)).ravel()
        along = (condenser * radius * np.cos(angle)).ravel()
        before = across**2 + along**2
        for b in range(len(frequency)):
            for share in _SHARES:
                after = across**2 + (along + edges[b] + share * (edges[b + 1] - edges[b])) ** 2
                passed = after < 1
                axial = _axial(after, cutoff_per_um) - _axial(before, cutoff_per_um)
                aberration = _spherical(after) - _spherical(before)
                waves = np.exp(-2j * np.pi * np.outer(defocus, axial[passed]))
                shifts = np.exp(2j * np.pi * np.outer(aberration[passed], ABERRATIONS))
                transfer = (waves @ shifts).T / len(after)
                re, im = transfer.real, transfer.imag
                squares[c, :, b] += np.stack([re**2, im**2, 2 * re * im], axis=-1) / len(_SHARES)
    return Transfer(defocus, squares)


def _axial(square: Floats, cutoff_per_um: float) -> Floats:
    """Axial frequency in air, 1/µm, from the square of the frequency in units of the cut-off."""
    return np.sqrt(np.maximum(1 / _WAVELENGTH_UM**2 - square * cutoff_per_um**2, 0.0))


def _spherical(square: Floats) -> Floats:
    """Spherical aberration of 1 wave r.m.s., with its defocus, at the square of a pupil radius."""
    return np.asarray(6 * np.sqrt(5.0) * (square**2 - _BALANCE * square))
