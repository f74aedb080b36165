"""Flow of the liquid into the mouth of a micropipette over a dish.

Stokes flow without inertia: the Reynolds number is 0.1 or less. Velocities are the curl of a vector
potential that is put together from two exact solutions, so that they are free of divergence
everywhere and the flux is exact:

- Far away, sinks spread over the mouth, each with the images that make the liquid stick to the dish
  (J. R. Blake, Proc. Camb. Philos. Soc. 70, 1971). With r from a sink at the height h, R from its
  image, Z = z + h: u = -(Q/4 pi) [r/r^3 - R/R^3 + 6 z Z R/R^5 + 2 h zhat/R^3].
- At the mouth, Sampson's flow through a hole in a wall (Philos. Trans. R. Soc. A 182, 1891; Happel
  and Brenner, Low Reynolds Number Hydrodynamics, 4-29), in oblate coordinates: its stream function
  is (Q/2 pi)(1 - zeta^3), its profile in the mouth (3Q/2 pi a^2) sqrt(1 - rho^2/a^2).

The potentials are joined by a weight that is 1 within the outer radius of the mouth, 0 from three
times that on, and 0 on the dish, where liquid is exactly at rest. In the bore the profile of the
mouth becomes Poiseuille's within one radius. Liquid is at rest in the glass.

Neglected: the glass does not hold liquid back at its sides, farther from the mouth than the weight
reaches, where one part in 50 of the flux comes from; and a moving pipette does not stir.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.hydraulics import UM3_PER_NL
from fgaf.acquire.simulation.aspiration.mouth import Mouth

Array = npt.NDArray[Any]

_FADE = 3.0
_RING = 0.683  # six sinks on it and one in the centre have the second moment of Sampson's profile
_STEP_UM = 1e-3
_UP = np.array([0.0, 0.0, 1.0])


class MouthFlow:
    """Velocities of the liquid around and in a mouth, for any flow into it.

    Parameters
    ----------
    mouth
        The mouth; it must be above the dish.
    """

    def __init__(self, mouth: Mouth) -> None:
        self.mouth = mouth
        self._sinks = _RING * mouth.inner_um * _disc(mouth.axis)
        self._high = mouth.centre[2] + self._sinks[:, 2]
        self._clear = max(mouth.centre[2] - mouth.inner_um, 0.1 * mouth.inner_um)
        self._reach = _FADE * mouth.outer_um

    def velocity(self, points_um: Array, flow_nl_s: float) -> Array:
        """Velocity of the liquid.

        Parameters
        ----------
        points_um
            (..., 3) places (y, x, z), z over the dish; points below the dish are taken on it.
        flow_nl_s
            Flow into the mouth; negative blows out.

        Returns
        -------
        (..., 3) µm/s, (y, x, z).
        """
        points = np.array(points_um, float).reshape(-1, 3)
        np.maximum(points[:, 2], 0.0, out=points[:, 2])
        mouth = self.mouth
        ahead, aside, radius = mouth.along(points)
        outer = mouth.outer_um - mouth.slope * np.minimum(ahead, 0.0)
        within = (ahead < 0) & (radius < outer)
        if not within.any():
            unit = self._outside(points, ahead, aside, radius)
        else:
            unit = np.empty_like(points)
            unit[within] = self._inside(ahead[within], aside[within], radius[within])
            free = ~within
            unit[free] = self._outside(points[free], ahead[free], aside[free], radius[free])
        unit *= flow_nl_s * UM3_PER_NL
        result: Array = unit.reshape(np.shape(points_um))
        return result

    def gradient(self, points_um: Array, flow_nl_s: float) -> Array:
        """Gradient of the velocity, by central differences over 2 nm.

        Parameters
        ----------
        points_um
            (..., 3) places.
        flow_nl_s
            Flow into the mouth.

        Returns
        -------
        (..., 3, 3) in 1/s: [i, j] is the change of component i along axis j.
        """
        steps = _STEP_UM * np.concatenate([np.eye(3), -np.eye(3)])
        around = self.velocity(np.asarray(points_um)[..., None, :] + steps, flow_nl_s)
        change = (around[..., :3, :] - around[..., 3:, :]) / (2 * _STEP_UM)
        result: Array = np.swapaxes(change, -1, -2)
        return result

    def _outside(self, points: Array, ahead: Array, aside: Array, radius: Array) -> Array:
        """Velocity of a unit flow outside the pipette, (N, 3)."""
        far = np.hypot(ahead, radius)
        near = far < self._reach
        if not near.any():
            return self._sink(points)
        if near.all():
            return self._joined(points, ahead, aside, radius, far)
        result = self._sink(points)
        part = (each[near] for each in (points, ahead, aside, radius, far))
        result[near] = self._joined(*part)
        return result

    def _sink(self, points: Array) -> Array:
        """Blake's sinks, (N, 3)."""
        r = (points - self.mouth.centre)[:, None, :] - self._sinks
        image = r.copy()
        image[..., 2] += 2 * self._high
        r2 = np.einsum("nki,nki->nk", r, r)
        i2 = np.einsum("nki,nki->nk", image, image)
        i3 = i2 * np.sqrt(i2)
        with np.errstate(divide="ignore", invalid="ignore"):
            direct = np.nan_to_num(1 / (r2 * np.sqrt(r2)), posinf=0.0)
        mirror = (6 * points[:, 2:] * image[..., 2] / i2 - 1) / i3
        total = np.einsum("nk,nki->ni", direct, r) + np.einsum("nk,nki->ni", mirror, image)
        total[:, 2] += (2 * self._high / i3).sum(axis=1)
        result: Array = total * (-1 / (4 * math.pi * len(self._high)))
        return result

    def _joined(
        self, points: Array, ahead: Array, aside: Array, radius: Array, far: Array
    ) -> Array:
        """Velocity where both solutions have a part: the curl of the weighted potentials."""
        a, axis = self.mouth.inner_um, self.mouth.axis
        away = points - self.mouth.centre
        outer = self.mouth.outer_um
        fade, fade_slope = _smooth((self._reach - far) / (self._reach - outer))
        lift, lift_slope = _smooth(points[:, 2] / self._clear)
        weight = fade * lift
        change = (
            away * (-lift * fade_slope / ((self._reach - outer) * np.maximum(far, 1e-9)))[:, None]
        )
        change[:, 2] += fade * lift_slope / self._clear
        velocity = np.zeros_like(points)
        some = weight < 1
        velocity[some] = (1 - weight[some])[:, None] * self._sink(points[some])

        square = far**2 - a**2
        root = np.hypot(square, 2 * a * ahead)
        lam2 = np.maximum(square + root, 0.0) / (2 * a**2)
        zeta2 = np.clip((root - square) / (2 * a**2), 0.0, 1.0)
        lam, zeta = np.sqrt(lam2), np.sqrt(zeta2)
        front = ahead >= 0
        scale = np.where(front, -3 / (2 * math.pi * a**2), 0.0) / np.maximum(lam2 + zeta2, 1e-12)
        velocity += (weight * scale * zeta2 * zeta)[:, None] * axis
        velocity += (weight * scale * zeta2 * lam / (a * (1 + lam2)))[:, None] * aside

        # grad w x (A_near - A_far); each potential is f (e x r), so that the product is
        # f (e (grad w . r) - r (grad w . e))
        turns = np.nonzero(np.einsum("ni,ni->n", change, change))[0]
        if not len(turns):
            return velocity
        change, away = change[turns], away[turns]
        with np.errstate(divide="ignore"):
            behind = 1 / radius[turns] ** 2
        whole = (1 + zeta + zeta2) / ((1 + zeta) * a**2 * (1 + lam2))
        near = np.where(front[turns], whole[turns], behind) / (-2 * math.pi)
        added = near[:, None] * _twist(change, axis, away)
        share = 1 / (4 * math.pi * len(self._high))
        r = away[:, None, :] - self._sinks
        image = r.copy()
        image[..., 2] += 2 * self._high
        length, mirrored = np.linalg.norm(r, axis=-1), np.linalg.norm(image, axis=-1)
        slope = change[:, None, :]
        direct = share / (length * (length + r @ axis))
        added += (direct[..., None] * _twist(slope, axis, r)).sum(axis=1)
        rise = image[..., 2] / mirrored
        potential = (1 + 2 * rise + 2 * rise**2) / ((1 + rise) * mirrored**2)
        potential -= 2 * self._high / mirrored**3
        added += ((share * potential)[..., None] * _twist(slope, _UP, image)).sum(axis=1)
        velocity[turns] += added
        return velocity

    def _inside(self, ahead: Array, aside: Array, radius: Array) -> Array:
        """Velocity of a unit flow in the bore, 0 in the glass."""
        mouth = self.mouth
        depth = -ahead
        a = mouth.inner_um + mouth.slope * depth
        x = np.square(radius / a)
        liquid = x < 1
        x = np.minimum(x, 1.0)
        q = np.sqrt(1 - x)
        part, part_slope = _smooth(depth / mouth.inner_um)
        profile = 1.5 * q + part * (2 - 2 * x - 1.5 * q)
        sampson = (1 + q + q**2) / (1 + q)
        spread = part_slope / mouth.inner_um * (2 - x - sampson) - 2 * profile * mouth.slope / a
        inward = np.where(liquid, profile / (math.pi * a**2), 0.0)
        across = np.where(liquid, spread / (-2 * math.pi * a**2), 0.0)
        result: Array = across[:, None] * aside - inward[:, None] * mouth.axis
        return result


def _twist(change: Array, axis: Array, away: Array) -> Array:
    """The product of a gradient with (axis x away)."""
    toward = np.einsum("...i,...i", change, away)[..., None]
    twisted: Array = toward * axis - away * (change @ axis)[..., None]
    return twisted


def _smooth(x: Array) -> tuple[Array, Array]:
    """A step from 0 to 1 with two continuous derivatives, and its slope."""
    t = np.clip(x, 0.0, 1.0)
    return t**3 * (10 + t * (6 * t - 15)), 30 * np.square(t * (1 - t))


def _disc(axis: Array) -> Array:
    """The centre and six points on the unit circle across an axis, (7, 3)."""
    side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    angles = np.arange(6) * math.pi / 3
    ring = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * other
    return np.concatenate([np.zeros((1, 3)), ring])
