"""Edges of droplets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.cache import kept
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.view import FIRST_VIEW, Place, View, along

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Rim:
    """Where the edge of a droplet lies.

    Attributes
    ----------
    y_um, x_um
        A point of the rim.
    angle
        Direction into the droplet there, from +x towards +y.
    radius_um
        Of the arc.
    slope
        Phase of the wedge, rad/µm at the rim.
    step
        Relative change of brightness outside.
    """

    y_um: float
    x_um: float
    angle: float
    radius_um: float
    slope: float
    step: float = 0.0

    def inward(self, y_um: Array, x_um: Array) -> Array:
        """Distance into the droplet.

        Parameters
        ----------
        y_um, x_um
            Places, of shapes that broadcast.
        """
        normal = np.array([np.sin(self.angle), np.cos(self.angle)])
        centre = np.array([self.y_um, self.x_um]) + normal * self.radius_um
        away = np.hypot(y_um - np.float32(centre[0]), x_um - np.float32(centre[1]))
        result: Array = self.radius_um - away
        return result


def draw_rim(rng: np.random.Generator, size_um: tuple[float, float]) -> Rim:
    """The rim of a large droplet along the left or the right side of a field.

    Parameters
    ----------
    rng
        Draws side, place and steepness.
    size_um
        Height and width of the field, µm.
    """
    height, width = size_um
    angle = float(rng.choice((0.0, np.pi)) + rng.uniform(-0.35, 0.35))
    slope = float(rng.uniform(2.5, 4.5))
    normal = np.array([np.sin(angle), np.cos(angle)])
    middle = np.array([height, width]) / 2
    rim = middle - normal * (width / 2 - float(rng.uniform(10, 25)))
    return Rim(float(rim[0]), float(rim[1]), angle, float(rng.uniform(1000, 2500)), slope)


def draw_rim_near(
    rng: np.random.Generator, y_um: float, x_um: float, gap_um: tuple[float, float]
) -> Rim:
    """The rim of a droplet of 60 µm or more beside a place, on either side of it.

    Parameters
    ----------
    rng
        Draws direction, distance, size, steepness and step.
    y_um, x_um
        The place.
    gap_um
        Range of its distance from the rim.
    """
    angle = float(rng.uniform(0, 2 * np.pi))
    into = float(rng.uniform(*gap_um)) * float(rng.choice((-1, 1), p=(0.3, 0.7)))
    return Rim(
        y_um - into * float(np.sin(angle)),
        x_um - into * float(np.cos(angle)),
        angle,
        float(np.exp(rng.uniform(np.log(30), np.log(2000)))),
        float(np.exp(rng.uniform(np.log(0.1), np.log(4)))),
        float(rng.choice((-1, 1), p=(0.7, 0.3)) * rng.uniform(0, 0.4)),
    )


class DropletEdge:
    """The rim of a droplet: a wedge of phase along a wide arc across the field.

    The arc is so wide that its image is that of a straight edge, computed in one dimension across
    it.

    Parameters
    ----------
    rim
        Where it lies.
    microscope
        That images it.
    shape
        (Y, X) pixels of the field.
    z_um
        The drive's z at which the rim is in focus.
    """

    _PITCH = 0.1
    _SAMPLES = 4096
    _REACH_UM = 60.0
    _BLUR_STEP_UM = 1.5

    def __init__(
        self, rim: Rim, microscope: Microscope, shape: tuple[int, int], z_um: float
    ) -> None:
        self._rim, self._microscope, self._z_um = rim, microscope, z_um
        self._shape = shape
        self._profile = kept(self._make_profile, 64)
        self._parts = kept(self._find_parts, 1)

    def multiply(self, image: Array, focus_um: float, view: View = FIRST_VIEW) -> None:
        """Apply the rim to a relative intensity (Y, X), in place.

        Parameters
        ----------
        image
            (Y, X) relative intensity; it is changed.
        focus_um
            Drive position, µm.
        view
            The part of the specimen that is seen; by default the first field.
        """
        profile = self._profile(round(focus_um - self._z_um, 3))
        if not view.moves:
            self._apply(image, profile, view.corner_um)
            return
        steps = along(view.drift_um, self._BLUR_STEP_UM)
        total = np.zeros_like(image)
        for y, x in steps:
            seen = np.ones_like(image)
            self._apply(seen, profile, (view.corner_um[0] + y, view.corner_um[1] + x))
            total += seen
        image *= total / np.float32(len(steps))

    def _apply(self, image: Array, profile: Array, corner_um: Place) -> None:
        near, inward, outside = self._parts(corner_um)
        place = np.arange(len(profile)) * self._PITCH - self._REACH_UM
        image[near] *= np.interp(inward, place, profile).astype(np.float32)
        if outside is not None:
            image[outside] *= np.float32(1 + self._rim.step)

    def _find_parts(self, corner_um: Place) -> tuple[Any, Array, Any]:
        """Indices of the pixels near the rim, their distances, and the pixels outside it."""
        pixel = self._microscope.settings.pixel_size_um
        y, x = (
            np.arange(side, dtype=np.float32) * np.float32(pixel) + np.float32(first)
            for side, first in zip(self._shape, corner_um, strict=True)
        )
        inward = self._rim.inward(y[:, None], x[None, :])
        near = np.nonzero(np.abs(inward) < self._REACH_UM)
        outside = np.nonzero(inward <= -self._REACH_UM) if self._rim.step else None
        return near, inward[near], outside

    def _make_profile(self, depth_um: float) -> Array:
        """Intensity along the inward normal, from -reach to +reach."""
        n, pitch = self._SAMPLES, self._PITCH
        inward = (np.arange(n) - n // 4) * pitch
        back = n // 2 * pitch - inward
        ramp = 6.0 * self._rim.slope * (1 - np.exp(-np.maximum(np.minimum(inward, back), 0) / 6.0))
        wave = np.exp(-1j * ramp)
        outside = np.minimum(inward, back) < 0
        if self._rim.step:
            wave[outside] *= np.sqrt(1 + self._rim.step)
        normal = float(np.sin(self._rim.angle)), float(np.cos(self._rim.angle))
        intensity = self._microscope.line_intensity(wave, pitch, normal, depth_um)
        reach = round(self._REACH_UM / pitch)
        profile = intensity[n // 4 - reach : n // 4 + reach + 1]
        fade = np.clip((self._REACH_UM - np.abs(np.arange(-reach, reach + 1) * pitch)) / 15, 0, 1)
        ground = 1 + self._rim.step * outside[n // 4 - reach : n // 4 + reach + 1]
        result: Array = ground + (profile - ground) * fade
        return result
