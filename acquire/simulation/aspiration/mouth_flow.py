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
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.hydraulics import UM3_PER_NL
from fgaf.acquire.simulation.aspiration.mouth import Mouth

Array = npt.NDArray[Any]

_FADE = 3.0
_RING = 0.683  # six sinks on it and one in the centre have the second moment of Sampson's profile
_STEP_UM = 1e-3
_FEW = 256


class _Sinks(NamedTuple):
    """Places of N points seen from K sinks and their images under the dish, (N, K) each.

    `y`, `x`, `up` lead from a sink, `rise` is the height over its image; then lengths and squares.
    `z` is the height (N, 1).
    """

    y: Array
    x: Array
    up: Array
    rise: Array
    square: Array
    length: Array
    image_square: Array
    image_length: Array
    z: Array

    @classmethod
    def seen(cls, flow: MouthFlow, points: Array) -> _Sinks:
        """Points (N, 3) from the sinks of a flow."""
        away, sinks, high = points - flow.mouth.centre, flow.sinks_um, flow.high_um
        y, x, up = (away[:, k, None] - sinks[:, k] for k in range(3))
        rise, flat = up + 2 * high, y * y + x * x
        square, image_square = np.maximum(flat + up * up, 1e-12), flat + rise * rise
        return cls(
            y,
            x,
            up,
            rise,
            square,
            np.sqrt(square),
            image_square,
            np.sqrt(image_square),
            points[:, 2:],
        )


class MouthFlow:
    """Velocities of the liquid around and in a mouth, for any flow into it.

    Parameters
    ----------
    mouth
        The mouth; it must be above the dish.

    Attributes
    ----------
    sinks_um
        (7, 3) places of the sinks relative to the centre of the mouth.
    high_um
        (7,) their heights over the dish.
    """

    def __init__(self, mouth: Mouth) -> None:
        self.mouth = mouth
        self.sinks_um = _RING * mouth.inner_um * _disc(mouth.axis)
        self.high_um = mouth.centre[2] + self.sinks_um[:, 2]
        self._ahead = self.sinks_um @ mouth.axis
        self._each = np.full(len(self.sinks_um), 1 / (4 * math.pi * len(self.sinks_um)))
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
            return self._sink(_Sinks.seen(self, points))
        if near.all() or len(points) < _FEW:
            return self._joined(points, ahead, aside, radius, far)
        result = self._sink(_Sinks.seen(self, points))
        part = (each[near] for each in (points, ahead, aside, radius, far))
        result[near] = self._joined(*part)
        return result

    def _sink(self, sinks: _Sinks) -> Array:
        """Blake's sinks, (N, 3)."""
        direct = 1 / (sinks.square * sinks.length)
        i3 = sinks.image_square * sinks.image_length
        mirror = (6 * sinks.z * sinks.rise / sinks.image_square - 1) / i3
        both = direct + mirror
        up = direct * sinks.up + mirror * sinks.rise + 2 * self.high_um / i3
        return np.stack(
            [(both * sinks.y) @ -self._each, (both * sinks.x) @ -self._each, up @ -self._each],
            axis=1,
        )

    def _joined(
        self, points: Array, ahead: Array, aside: Array, radius: Array, far: Array
    ) -> Array:
        """Velocity where both solutions have a part: the curl of the weighted potentials."""
        a, axis, outer = self.mouth.inner_um, self.mouth.axis, self.mouth.outer_um
        fade, fade_slope = _smooth((self._reach - far) / (self._reach - outer))
        lift, lift_slope = _smooth(points[:, 2] / self._clear)
        weight = fade * lift
        sinks = _Sinks.seen(self, points)
        velocity = (1 - weight)[:, None] * self._sink(sinks)

        square = far * far - a * a
        root = np.hypot(square, 2 * a * ahead)
        lam2 = np.maximum(square + root, 0.0) / (2 * a * a)
        zeta2 = np.minimum(np.maximum(root - square, 0.0) / (2 * a * a), 1.0)
        lam, zeta = np.sqrt(lam2), np.sqrt(zeta2)
        front = ahead >= 0
        scale = front * weight * zeta2 / np.maximum(lam2 + zeta2, 1e-12)
        scale *= -3 / (2 * math.pi * a * a)
        velocity += (scale * zeta)[:, None] * axis
        velocity += (scale * lam / (a * (1 + lam2)))[:, None] * aside

        # grad w x (A_near - A_far). Each potential is f (e x r), so that its product is
        # f (e (grad w . r) - r (grad w . e))
        if not (fade_slope.any() or lift_slope.any()):
            return velocity
        away = points - self.mouth.centre
        change = (
            away * (lift * fade_slope / ((outer - self._reach) * np.maximum(far, 1e-9)))[:, None]
        )
        change[:, 2] += fade * lift_slope / self._clear
        along = change @ axis
        whole = (1 + zeta + zeta2) / ((1 + zeta) * a * a * (1 + lam2))
        near = np.where(front, whole, 1 / np.maximum(radius * radius, 1e-12)) / (-2 * math.pi)
        toward = (change * away).sum(axis=1)
        toward_sinks = toward[:, None] - change @ self.sinks_um.T
        direct = 1 / (sinks.length * np.maximum(sinks.length + ahead[:, None] - self._ahead, 1e-9))
        slope = sinks.rise / sinks.image_length
        image = (1 + 2 * slope + 2 * slope * slope) / ((1 + slope) * sinks.image_square)
        image -= 2 * self.high_um / (sinks.image_square * sinks.image_length)
        velocity += (near * toward + (direct * toward_sinks) @ self._each)[:, None] * axis
        velocity -= away * (near * along)[:, None]
        drawn = direct * along[:, None] + image * change[:, 2:]
        velocity[:, 0] -= (drawn * sinks.y) @ self._each
        velocity[:, 1] -= (drawn * sinks.x) @ self._each
        up = image * (toward_sinks + 2 * self.high_um * change[:, 2:])
        up -= direct * along[:, None] * sinks.up + image * change[:, 2:] * sinks.rise
        velocity[:, 2] += up @ self._each
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
