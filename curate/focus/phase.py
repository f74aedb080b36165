"""The focus of cells in bright field, from the symmetry of their contrast through focus.

A cell that only delays light has no contrast in focus; one that also absorbs is dark there, and its
least contrast lies elsewhere: 0.1 to 1 µm away, more for coarse detail. What stays in focus is the
symmetry: the contrast of the phase is odd in defocus and that of the absorption even. So the powers
of all bands are compared with those that `transfer` predicts for every focus and every ratio of
absorption to phase, with two free factors per band: of the part of the contrast that has this
ratio, and of the rest, which has none. The focus is where the bands together leave least
unexplained.

In relief contrast, and for objects that shine, the rest alone explains the powers nearly as well.

Condenser and spherical aberration are unknown. They are the same for all cells of a stack, which
choose them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from fgaf.curate.detection.parabola import peak_offset
from fgaf.curate.focus.curves import Curves
from fgaf.curate.focus.transfer import ABERRATIONS, transfer_of

Floats = npt.NDArray[np.float64]
_Singles = npt.NDArray[np.float32]

_ANGLES: Final = np.radians(
    [-90, -65, -50, -40, -32, -25, -20, -16, -12, -8, -4, 0, 4, 8, 12, 16, 20, 25, 32, 40, 50, 65]
)
"""Arcs of the ratio of absorption to phase; the negative ones are for a drive that runs the other
way."""
_COARSE: Final = slice(1, None, 2)
_COARSE_UM, _FINE_UM = 0.2, 0.05
"""Distances of the possible foci, while the optics are unknown and then."""
_BEYOND_UM: Final = 0.5
_ANGLE_COST: Final = 3.0
"""Cost of an angle, per radian: without evidence of absorption there is none."""
_ABERRATION_COST: Final = 0.2
"""Cost of 0.04 waves of aberration per cell."""
_DARK: Final = 0.1
"""Power, relative to a band's largest, that has half the weight of a power of 0."""
_LEAST: Final = 0.02
"""Unexplained share of a band's power that is not worth less."""
_BAND_WEIGHTS: Final = np.array([0.7, 1.0, 1.0, 1.0, 1.0])
"""The coarsest band is sensitive to absorption and to neighbours."""
_VOTERS: Final = 12
_DOUBT: Final = 0.3
"""Factor on the evidence for the optics, since cells of one stack err together."""
_SAME_UM: Final = 0.6
_SHARPNESS: Final = 1.5
"""Factor on the evidence for the focus: the bands of a cell err together."""


@dataclass(frozen=True)
class Optics:
    """Condenser and spherical aberration of a stack, by their numbers in the table.

    Attributes
    ----------
    condenser
        Number of the condenser's aperture.
    aberrations
        Numbers of the likely aberrations.
    weights
        The probability of each.
    """

    condenser: int
    aberrations: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Fit:
    """The focus of one cell.

    Attributes
    ----------
    focus_um
        Drive position, µm.
    uncertainty_um
        Standard deviation over all foci that explain the curves about as well, µm.
    unexplained
        Share of the power that is not explained, 0 to 1: the geometric mean over the bands.
    angle
        Arc of the ratio of absorption to phase, radians: 0 for a cell that only delays.
    evidence
        Logarithm of the factor by which more is unexplained without phase and absorption.
    """

    focus_um: float
    uncertainty_um: float
    unexplained: float
    angle: float
    evidence: float


def optics_of(cells: Sequence[Curves]) -> Optics:
    """Condenser and aberration that explain some cells of one stack best."""
    voters = cells[:: -(-len(cells) // _VOTERS)]
    cost = np.sum([_costs_of_optics(curves) for curves in voters], axis=0)
    cost += len(voters) * _ABERRATION_COST * (ABERRATIONS / 0.04) ** 2
    condenser, best = np.unravel_index(int(cost.argmin()), cost.shape)
    weight = np.exp(-_DOUBT * (cost[condenser] - cost[condenser, best]))
    likely = np.flatnonzero(weight > 0.05 * weight.sum())
    shares = weight[likely] / weight[likely].sum()
    return Optics(int(condenser), tuple(likely.tolist()), tuple(shares.tolist()))


def fit(curves: Curves, optics: Optics) -> Fit:
    """Find the focus of a cell.

    Parameters
    ----------
    curves
        Of the cell, with at least one plane inside the frame.
    optics
        Of its stack.
    """
    z = curves.z_um
    foci = np.arange(z[0] - _BEYOND_UM, z[-1] + _BEYOND_UM, _FINE_UM)
    found = [
        _costs(curves, _squares(curves, (optics.condenser, aberration), foci), slice(None))
        for aberration in optics.aberrations
    ]
    profiles = np.stack([costs.min(axis=1) for costs, _ in found])
    weights = np.array(optics.weights)
    main = int(weights.argmax())
    first = foci[profiles[main].argmin()]
    places = np.array([_lowest(foci, profile) for profile in profiles])
    places = np.where(np.abs(places - first) < _SAME_UM, places, first)
    focus = float((weights * places).sum())
    likely = np.exp(-_SHARPNESS * (profiles[main] - profiles[main].min()))
    spread = np.sqrt((likely * (foci - first) ** 2).sum() / likely.sum())
    costs, without = found[main]
    row, column = np.unravel_index(int(costs.argmin()), costs.shape)
    angle = float(_ANGLES[column])
    least = float(costs[row, column]) - _ANGLE_COST * abs(angle)
    return Fit(
        focus_um=focus,
        uncertainty_um=float(np.hypot(spread, np.sqrt((weights * (places - focus) ** 2).sum()))),
        unexplained=float(np.exp(least / _BAND_WEIGHTS.sum()) - _LEAST),
        angle=angle,
        evidence=(float(without.min()) - least) / float(_BAND_WEIGHTS.sum()),
    )


def _lowest(foci: Floats, profile: Floats) -> float:
    """Place of the least cost, between the foci."""
    at = int(profile.argmin())
    if not 0 < at < len(foci) - 1:
        return float(foci[at])
    before, least, after = -profile[at - 1 : at + 2, None].astype(np.float64)
    return float(foci[at] + _FINE_UM * peak_offset(before, least, after)[0])


def _squares(curves: Curves, optics: tuple[int, int] | None, foci_um: Floats) -> _Singles:
    """`Transfer.at` for the bands and planes of a cell."""
    frequency, z_um, foci = (
        tuple(values.tolist()) for values in (curves.frequency, curves.z_um, foci_um)
    )
    return _kept_squares(frequency, curves.cutoff_per_um, z_um, optics, foci)


@lru_cache(maxsize=len(ABERRATIONS) + 1)
def _kept_squares(
    frequency: tuple[float, ...],
    cutoff_per_um: float,
    z_um: tuple[float, ...],
    optics: tuple[int, int] | None,
    foci_um: tuple[float, ...],
) -> _Singles:
    """The same array for all cells of a stack, which have the same planes; not to be changed."""
    reach = int(np.ceil(z_um[-1] - z_um[0] + 2 * _BEYOND_UM))
    table = transfer_of(frequency, cutoff_per_um, reach)
    squares = table.at(optics, np.array(z_um), np.array(foci_um))
    squares.flags.writeable = False
    return squares


def _costs_of_optics(curves: Curves) -> Floats:
    """Cost of every condenser and aberration, at the best focus and angle: (C, A)."""
    z = curves.z_um
    foci = np.arange(z[0] + _COARSE_UM, z[-1], _COARSE_UM)
    costs, _ = _costs(curves, _squares(curves, None, foci), _COARSE)
    return np.asarray(costs.min(axis=(-2, -1)), np.float64)


def _costs(curves: Curves, squares: _Singles, angles: slice) -> tuple[_Singles, _Singles]:
    """Cost of every focus F and angle, (..., F, angles), and without either part, (..., F).

    Parameters
    ----------
    curves
        Of the cell.
    squares
        (..., B, F, P, 3) of `Transfer.at`.
    angles
        Those of `_ANGLES`.
    """
    bands = curves.bands
    known = curves.known[:, None]
    power = np.where(known, np.maximum(bands, 0), 0)
    weight = known / (1 + power / _DARK)
    shares = _unexplained(squares, power.T.astype(np.float32), weight.T.astype(np.float32), angles)
    cost, without = (
        np.moveaxis(np.log(share + np.float32(_LEAST)), -3, -1) @ _BAND_WEIGHTS for share in shares
    )
    return cost + _ANGLE_COST * np.abs(_ANGLES[angles]), without[..., 0]


def _unexplained(
    squares: _Singles, power: _Singles, weight: _Singles, angles: slice
) -> tuple[_Singles, _Singles]:
    """Share of the power that the best factors of a band leave.

    Parameters
    ----------
    squares
        (..., B, F, P, 3) of `Transfer.at`.
    power, weight
        (B, P) of each band and plane.
    angles
        Those of `_ANGLES`.

    Returns
    -------
    With both factors, (..., B, F, angles), and with that of the rest alone, (..., B, F, 1).
    """
    sin, cos = np.sin(_ANGLES[angles]), np.cos(_ANGLES[angles])
    coherent = np.stack([sin**2, cos**2, sin * cos], axis=1).astype(np.float32)
    rest = np.array([1, 1, 0], np.float32)
    weighted = np.swapaxes(squares * weight[:, None, :, None], -1, -2)
    products = (weighted @ squares).reshape(*squares.shape[:-2], 9)
    seen = (weighted @ power[:, None, :, None])[..., 0]
    c_c = products @ (coherent[:, :, None] * coherent[:, None, :]).reshape(-1, 9).T
    c_r = products @ (coherent[:, :, None] * rest).reshape(-1, 9).T
    r_r = (products @ np.outer(rest, rest).ravel())[..., None]
    c_p, r_p = seen @ coherent.T, (seen @ rest)[..., None]
    both = np.maximum(c_c * r_r - c_r**2, 1e-6 * c_c * r_r + 1e-20)
    first, second = (r_r * c_p - c_r * r_p) / both, (c_c * r_p - c_r * c_p) / both
    only_c = np.maximum(c_p, 0) ** 2 / np.maximum(c_c, 1e-12)
    only_r = np.maximum(r_p, 0) ** 2 / np.maximum(r_r, 1e-12)
    explained = np.where(
        (first >= 0) & (second >= 0), first * c_p + second * r_p, np.maximum(only_c, only_r)
    )
    total = np.maximum((weight * power**2).sum(axis=1), 1e-12)[:, None, None]
    return np.clip(1 - explained / total, 0, 1), np.clip(1 - only_r / total, 0, 1)
