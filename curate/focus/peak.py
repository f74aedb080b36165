"""The focus of cells whose contrast is highest in focus: in relief contrast, or as they shine.

Relief contrast sees one sideband only along its shear: there, power depends only weakly on focus,
and not symmetrically. The axis of the shear, which is found from the power of coarse detail, is
left out. Across it a head has hardly any contrast in focus, and what there is draws the focus to
one side; so the other directions count together, each by its contrast.

Around the focus of a band its contrast falls as ``1 / (1 + (d / w)^2)`` with the defocus d. Two
properties of the optics are the same for all cells of a stack, which choose them together: the
width w, and the shift of the focus with the square of the spatial frequency, by spherical
aberration.

A head that rolls as it swims changes the contrast of all bands from plane to plane. Such a common
change costs little, and all planes around the highest one have a say, not that one alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fgaf.curate.detection.parabola import peak_offset
from fgaf.curate.detection.scale import Floats
from fgaf.curate.focus.curves import SECTORS, Curves

_SHEARED: Final = 1.5
"""An image counts as relief when coarse power along the shear over that across it is larger."""
_SHEAR_WIDTH: Final = 0.4
"""Directions within this angle of the shear's axis are left out, radians."""
_FINE: Final = slice(1, 5)
_PEAK_UM: Final = 1.6
"""Distance from the highest plane of planes for the focus of a single band."""
_UNSHIFTED: Final = 0.22
"""Square of the spatial frequency whose focus no spherical aberration shifts, in units of the
cut-off's; measured on simulated heads."""
_WIDTHS_UM: Final = np.geomspace(0.8, 10.0, 14)
_SHIFTS_UM: Final = np.linspace(-0.6, 0.6, 13)
_USUAL_SHIFT_UM: Final = 0.3
"""Standard deviation of the shift from stack to stack."""
_REACH_UM: Final = 0.8
"""Distance of the possible foci from the maximum of a parabola."""
_COARSE_UM, _FINE_UM = 0.1, 0.05
"""Distances of the possible foci, while the optics are unknown and then."""
_NEAR_UM: Final = 1.2
"""Standard deviation of the weights of planes around it."""
_FAINT: Final = 0.1
"""Contrast, relative to a band's largest, below which differences hardly matter."""
_SCATTER, _ROLL = 0.17, 0.05
"""Scatter of the logarithm of the contrast of one band, and of all together, from plane to
plane."""
_VOTERS: Final = 12
_MOST: Final = 10.0
"""Largest cost of a cell, so that one that is not alone does not decide."""
_DOUBT: Final = 0.4
"""Factor on the evidence for the optics, since cells of one stack err together."""


@dataclass(frozen=True)
class Fall:
    """How contrast falls around the focus, in one stack.

    Attributes
    ----------
    width_um
        Defocus at which the contrast has fallen to a half.
    weights
        The probability of each possible shift of the focus with the square of the frequency.
    """

    width_um: float
    weights: Floats

    @property
    def shift_um(self) -> float:
        """Mean shift of the focus with the square of the spatial frequency, µm."""
        return float(self.weights @ _SHIFTS_UM)


@dataclass(frozen=True)
class Peak:
    """The focus of one cell.

    Attributes
    ----------
    focus_um
        Drive position, µm.
    spread_um
        Standard deviation of the foci of the bands, µm.
    rise
        Share of the largest power by which that at the ends of the stack is lower.
    at_end
        Whether the contrast is highest in the first or last plane.
    """

    focus_um: float
    spread_um: float
    rise: float
    at_end: bool


def shear_of(cells: Sequence[Curves]) -> float | None:
    """Direction in which coarse detail of cells is strongest, radians; None where there is none."""
    total = np.zeros(SECTORS)
    for curves in cells:
        coarse = np.maximum(curves.power[curves.known][:, :2].mean(axis=(0, 1)), 0)
        total += coarse / max(float(coarse.sum()), 1e-12)
    if total.max() < _SHEARED * max(float(np.median(total)), 1e-12):
        return None
    angle = (np.arange(SECTORS) + 0.5) * np.pi / SECTORS
    return float(np.angle((total * np.exp(2j * angle)).sum()) / 2 % np.pi)


def fall_of(cells: Sequence[Curves], shear: float | None) -> Fall:
    """Width and shifts that explain some cells of one stack best.

    Parameters
    ----------
    cells
        Curves of the cells, each with planes inside the frame.
    shear
        Direction of the shear, radians; None for each cell's own.
    """
    cost = np.tile(0.5 * (_SHIFTS_UM / _USUAL_SHIFT_UM) ** 2, (len(_WIDTHS_UM), 1))
    for curves in cells[:: -(-len(cells) // _VOTERS)] if cells else ():
        z, contrast = _contrast(curves, shear)
        squares = _squares(curves)
        costs = np.array(
            [_costs(z, contrast, squares, width, _COARSE_UM)[1].min(axis=1) for width in _WIDTHS_UM]
        )
        cost += _DOUBT * np.minimum(costs - costs.min(), _MOST)
    width, best = np.unravel_index(int(cost.argmin()), cost.shape)
    weights = np.exp(cost[width, best] - cost[width])
    return Fall(float(_WIDTHS_UM[width]), weights / weights.sum())


def peak_of(curves: Curves, shear: float | None, fall: Fall) -> Peak:
    """Find the focus of a cell.

    Parameters
    ----------
    curves
        Of the cell, with planes inside the frame.
    shear
        Direction of the shear, radians; None for the cell's own.
    fall
        Of its stack.
    """
    z, contrast = _contrast(curves, shear)
    squares = _squares(curves)
    foci, costs = _costs(z, contrast, squares, fall.width_um, _FINE_UM)
    focus = float(fall.weights @ [_lowest(foci, profile) for profile in costs])
    places = _places(z, contrast) - fall.shift_um * squares
    at, smooth = _summit(contrast)
    return Peak(
        focus_um=float(np.clip(focus, z[0], z[-1])),
        spread_um=float(np.std(places)),
        rise=float(1 - max(smooth[0], smooth[-1]) ** 2 / smooth[at] ** 2),
        at_end=at in (0, len(z) - 1),
    )


def highest(z: Floats, height: Floats, start: float) -> float:
    """Maximum of the parabola through points; the start where it has none among them.

    Parameters
    ----------
    z, height
        (P,) the points.
    start
        Place of the highest one.
    """
    if len(z) < 3:
        return float(start)
    curve = np.polynomial.Polynomial.fit(z, height, 2).convert()
    if len(curve.coef) < 3 or curve.coef[2] >= 0:
        return float(start)
    return float(np.clip(-curve.coef[1] / (2 * curve.coef[2]), z[0], z[-1]))


def around(z: Floats, at: int) -> npt.NDArray[np.bool_]:
    """Planes that are near enough to one for a parabola.

    Parameters
    ----------
    z
        (P,) positions, µm.
    at
        Number of the one.

    Returns
    -------
    (P,) bool.
    """
    return np.asarray(np.abs(z - z[at]) < max(_PEAK_UM, 2.1 * float(np.median(np.diff(z)))))


def _contrast(curves: Curves, shear: float | None) -> tuple[Floats, Floats]:
    """Contrast of the bands of fine detail in the known planes.

    Returns
    -------
    (P,) z in µm and (P, B) contrast away from the shear, relative to its largest.
    """
    power = np.maximum(curves.power[curves.known][:, _FINE], 0)
    shear = shear_of([curves]) if shear is None else shear
    if shear is not None:
        angle = (np.arange(SECTORS) + 0.5) * np.pi / SECTORS
        away = np.abs((angle - shear + np.pi / 2) % np.pi - np.pi / 2)
        power = power[..., away > _SHEAR_WIDTH]
    contrast = np.sqrt(power).mean(axis=2)
    return curves.z_um[curves.known], contrast / np.maximum(contrast.max(axis=0), 1e-12)


def _squares(curves: Curves) -> Floats:
    """Squares of the frequencies of the bands, from that without a shift."""
    return np.asarray(curves.frequency[_FINE] ** 2 - _UNSHIFTED)


def _summit(contrast: Floats) -> tuple[int, Floats]:
    """Plane of the highest contrast, and the contrast of the planes, smoothed."""
    height = np.pad(contrast.mean(axis=1), 1, mode="edge")
    smooth = np.convolve(height, [0.25, 0.5, 0.25], mode="valid")
    return int(np.argmax(smooth)), smooth


def _places(z: Floats, contrast: Floats) -> Floats:
    """Focus of each band, µm."""
    at, _ = _summit(contrast)
    near = around(z, at)
    return np.array([highest(z[near], band[near], z[at]) for band in contrast.T])


def _costs(
    z: Floats, contrast: Floats, squares: Floats, width_um: float, pitch_um: float
) -> tuple[Floats, Floats]:
    """Cost of possible foci F for every shift S: (F,) µm and (S, F)."""
    at, _ = _summit(contrast)
    near, step = around(z, at), float(np.median(np.diff(z)))
    middle = highest(z[near], contrast.mean(axis=1)[near], z[at])
    reach = max(_REACH_UM, 1.6 * step)
    foci = middle + np.arange(-reach, reach + pitch_um / 2, pitch_um)
    distance = (z - middle) / max(_NEAR_UM, 1.6 * step)
    weight = 1 / _SCATTER**2 * np.exp(-0.5 * distance**2)
    shifted = foci[:, None] + _SHIFTS_UM[:, None, None] * squares
    defocus = z[:, None] - shifted[:, :, None, :]
    fallen = np.log(1 / (1 + (defocus / width_um) ** 2) + _FAINT)
    left = np.log(contrast + _FAINT) - fallen
    left -= np.einsum("p,sfpb->sfb", weight / weight.sum(), left)[:, :, None]
    common = left.sum(axis=3) * weight
    cost = np.einsum("sfpb,p->sf", left**2, weight)
    return foci, cost - (common**2 / (left.shape[3] * weight + 1 / _ROLL**2)).sum(axis=2)


def _lowest(foci: Floats, profile: Floats) -> float:
    """Place of the least cost, between the foci."""
    at = int(profile.argmin())
    if not 0 < at < len(foci) - 1:
        return float(foci[at])
    before, least, after = -profile[at - 1 : at + 2, None]
    return float(foci[at] + _FINE_UM * peak_offset(before, least, after)[0])
