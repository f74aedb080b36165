"""Micropipettes and needles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.cache import kept
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.scenery.things import Thing
from fgaf.acquire.simulation.settings import MicroscopeSettings
from fgaf.acquire.simulation.waves import Slices

Array = npt.NDArray[Any]

PIPETTE = "pipette"
"""Kind of what the microscope holds, so that it does not move with the stage."""

_GLASS = 1.47 - 1.335
_SLICE_UM = 1.0


def draw_pipette(
    rng: np.random.Generator,
    settings: MicroscopeSettings,
    size_um: tuple[float, float],
    z_um: float,
) -> Thing:
    """A micropipette of 6 to 8 µm that reaches into the field from the right.

    Parameters
    ----------
    rng
        Draws its place and size.
    settings
        The microscope that it is cut into slices for.
    size_um
        Height and width of the field, µm.
    z_um
        Drive position at which it is in focus, µm.
    """
    height, width = size_um
    tip_y = height * float(rng.uniform(0.35, 0.65))
    tip_x = width * float(rng.uniform(0.6, 0.75))
    lean = float(rng.uniform(-0.12, 0.12))
    length = (width - tip_x) / np.cos(lean) + 25.0
    outer, inner = float(rng.uniform(3.0, 4.0)), float(rng.uniform(0.68, 0.78))
    pitch = settings.raster_um
    widest = outer + 0.03 * length
    end_y = length * np.sin(lean)
    y = np.arange(min(0.0, end_y) - widest - 1, max(0.0, end_y) + widest + 1, pitch)
    x = np.arange(-widest - 1, length * np.cos(lean), pitch)
    along = x[None, :] * np.cos(lean) + y[:, None] * np.sin(lean)
    aside = y[:, None] * np.cos(lean) - x[None, :] * np.sin(lean)
    wall = outer + 0.03 * np.maximum(along, 0)
    end = np.clip((along - 0.5 * aside) / 0.4 + 0.5, 0, 1)
    slices = cut_glass(settings, y, x, aside, wall, wall * inner, end, widest)
    return Thing(PIPETTE, tip_y, tip_x, z_um, slices, yaw=np.pi + lean)


def cut_glass(
    settings: MicroscopeSettings,
    y_um: Array,
    x_um: Array,
    aside_um: Array,
    wall_um: Array,
    bore_um: Array,
    end: Array,
    widest_um: float,
    axis_um: Array | float = 0.0,
) -> Slices:
    """Phase of a hollow cone of glass in the medium, cut into slices.

    Parameters
    ----------
    settings
        The microscope that it is cut for.
    y_um, x_um
        (H,) and (W,) places of the samples.
    aside_um, wall_um, bore_um
        (H, W) distance of each sample from the axis in the image, and the outer and inner radius
        there.
    end
        (H, W) share of the glass that is there: 0 beyond the tip.
    widest_um
        Half the extent in z.
    axis_um
        (H, W) height of the axis.
    """
    slice_um, samples = _SLICE_UM, 6
    count = int(np.ceil(2 * widest_um / slice_um))
    fine = slice_um / samples
    phase = np.empty((count, y_um.size, x_um.size), np.float32)
    for number in range(count):
        glass = np.zeros((y_um.size, x_um.size))
        for sample in range(samples):
            z = (count / 2 - number) * slice_um - fine * (sample + 0.5)
            distance = np.hypot(aside_um, z - axis_um)
            glass += np.clip((wall_um - distance) / 0.3 + 0.5, 0, 1)
            glass -= np.clip((bore_um - distance) / 0.3 + 0.5, 0, 1)
        phase[number] = glass * end * (2 * np.pi / settings.wavelength_um * _GLASS * fine)
    return Slices(
        phase,
        float(y_um[0]),
        float(x_um[0]),
        settings.raster_um,
        (count - 1) / 2 * slice_um * settings.reduction,
        slice_um * settings.reduction,
    )


@dataclass(frozen=True)
class Shaft:
    """Where a needle lies, and how thick it is.

    Attributes
    ----------
    y_um, x_um
        Its tip.
    yaw
        Direction of the tip.
    radius_um, bore
        Outer radius, and the inner one as a share of it.
    bevel
        Slope of the cut at the tip: 0 is square.
    z_um
        The drive's z at which its axis is in focus.
    """

    y_um: float
    x_um: float
    yaw: float
    radius_um: float
    bore: float
    bevel: float
    z_um: float
    kind: str = PIPETTE


def draw_shaft_near(
    rng: np.random.Generator, y_um: float, x_um: float, gap_um: tuple[float, float], z_um: float
) -> Shaft:
    """A needle of 4 to 24 µm whose tip, or side, lies beside a place.

    Parameters
    ----------
    rng
        Draws direction, size and whether the tip or the side is near.
    y_um, x_um
        The place.
    gap_um
        Range of its distance from the needle.
    z_um
        Drive position of the place; the needle lies up to 6 µm higher.
    """
    yaw, radius = (
        float(rng.uniform(0, 2 * np.pi)),
        float(np.exp(rng.uniform(np.log(2), np.log(12)))),
    )
    gap = float(rng.uniform(*gap_um))
    beyond, aside = gap, float(rng.uniform(-0.7, 0.7)) * radius
    if rng.uniform() < 0.4:
        beyond, aside = -float(rng.uniform(0, 30)), float(rng.choice((-1, 1))) * (radius + gap)
    return Shaft(
        y_um - beyond * float(np.sin(yaw)) + aside * float(np.cos(yaw)),
        x_um - beyond * float(np.cos(yaw)) - aside * float(np.sin(yaw)),
        yaw,
        radius,
        float(rng.uniform(0.5, 0.85)),
        float(rng.uniform(-1.2, 1.2)),
        z_um + float(rng.uniform(-1, 6)),
    )


class Needle:
    """A needle whose image is computed in one dimension across it, and ends softly at its tip.

    Parameters
    ----------
    shaft
        Where it lies.
    microscope
        That images it.
    shape
        (Y, X) pixels of the field.
    """

    _PITCH = 0.06
    _SAMPLES = 4096
    _MARGIN_UM = 25.0
    _EDGE_UM = 0.3

    def __init__(self, shaft: Shaft, microscope: Microscope, shape: tuple[int, int]) -> None:
        self.shaft, self._microscope = shaft, microscope
        pixel = microscope.settings.pixel_size_um
        y = np.arange(shape[0], dtype=np.float32)[:, None] * np.float32(pixel) - shaft.y_um
        x = np.arange(shape[1], dtype=np.float32)[None, :] * np.float32(pixel) - shaft.x_um
        sin, cos = np.float32(np.sin(shaft.yaw)), np.float32(np.cos(shaft.yaw))
        aside = y * cos - x * sin
        behind = -(y * sin + x * cos)
        self._reach_um = shaft.radius_um + self._MARGIN_UM
        self._near = np.nonzero((np.abs(aside) < self._reach_um) & (behind > -self._MARGIN_UM))
        self._aside, self._behind = aside[self._near], behind[self._near]
        self._profile = kept(self._make_profile, 64)

    def multiply(self, image: Array, focus_um: float) -> None:
        """Apply the needle to a relative intensity (Y, X), in place.

        Parameters
        ----------
        image
            (Y, X) relative intensity; it is changed.
        focus_um
            Drive position, µm.
        """
        depth, scope = focus_um - self.shaft.z_um, self._microscope
        profile = self._profile(round(depth, 3))
        place = np.linspace(-self._reach_um, self._reach_um, len(profile))
        soft = self._EDGE_UM + 0.35 * scope.marginal_slope * abs(depth)
        end = (self._behind - self.shaft.bevel * self._aside) / (2 * soft)
        seen = float(scope.fade(depth)) / (1 + np.exp(-4 * np.clip(end, -10, 10)))
        value = 1 + (np.interp(self._aside, place, profile) - 1) * seen
        image[self._near] *= value.astype(np.float32)

    def _make_profile(self, depth_um: float) -> Array:
        """Intensity across the needle, from -reach to +reach."""
        n, pitch, scope, shaft = self._SAMPLES, self._PITCH, self._microscope, self.shaft
        aside = (np.arange(n) - n // 2) * pitch
        glass = np.sqrt(np.maximum(shaft.radius_um**2 - aside**2, 0))
        glass -= np.sqrt(np.maximum((shaft.bore * shaft.radius_um) ** 2 - aside**2, 0))
        phase = 4 * np.pi / scope.settings.wavelength_um * _GLASS * glass
        across = float(np.cos(shaft.yaw)), -float(np.sin(shaft.yaw))
        intensity = scope.line_intensity(np.exp(1j * phase), pitch, across, depth_um)
        reach = round(self._reach_um / pitch)
        profile = intensity[n // 2 - reach : n // 2 + reach + 1]
        outside = np.abs(np.arange(-reach, reach + 1) * pitch) - shaft.radius_um
        result: Array = 1 + (profile - 1) * np.clip((self._MARGIN_UM - outside) / 10, 0, 1)
        return result
