"""Other objects in a field: debris, round cells, a micropipette's tip, the edge of a droplet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.cache import kept
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.settings import MicroscopeSettings
from fgaf.acquire.simulation.waves import Patch, Slices, WaveImager

Array = npt.NDArray[Any]

_GLASS = 1.47 - 1.335


@dataclass(frozen=True)
class Thing:
    """An object that does not move.

    Attributes
    ----------
    kind
        Its name in the truth.
    y_um, x_um
        Its centre (a pipette's tip) in the field.
    z_um
        The drive's z at which its centre is in focus.
    slices
        Its phase.
    yaw
        Direction it points to, in the image plane.
    """

    kind: str
    y_um: float
    x_um: float
    z_um: float
    slices: Slices
    yaw: float = 0.0

    def image(
        self,
        imager: WaveImager,
        focus_um: float,
        shift_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Patch:
        """Image it with the drive at `focus_um`, moved by (y, x, z).

        Parameters
        ----------
        imager
            Computes images of slices.
        focus_um
            Drive position, µm.
        shift_um
            Shift in y, x and z, µm.
        """
        return imager.image(
            self.slices,
            (self.y_um + shift_um[0]) / imager.pixel_um,
            (self.x_um + shift_um[1]) / imager.pixel_um,
            focus_um - self.z_um - shift_um[2],
            keep=not any(shift_um),
        )


def _cut(
    settings: MicroscopeSettings,
    balls: Array,
    slice_um: float,
) -> Slices:
    """Phase of overlapping soft balls given as rows (y, x, z, radius, index), in specimen µm."""
    pitch_um = settings.raster_um
    centre, radius = balls[:, :3], balls[:, 3]
    low = (centre - radius[:, None]).min(axis=0) - 2 * pitch_um
    high = (centre + radius[:, None]).max(axis=0) + 2 * pitch_um
    y, x = (np.arange(low[i], high[i], pitch_um, dtype=np.float32) for i in (0, 1))
    count = max(1, int(np.ceil((high[2] - low[2]) / slice_um)))
    samples = 3
    fine = slice_um / samples
    top = (high[2] + low[2]) / 2 + count * slice_um / 2
    z = top - fine * (np.arange(count * samples, dtype=np.float32) + 0.5)
    index = np.zeros((z.size, y.size, x.size), np.float32)
    for by, bx, bz, r, n in balls:
        distance = np.sqrt(
            (z[:, None, None] - bz) ** 2 + (y[None, :, None] - by) ** 2 + (x - bx) ** 2
        )
        index += np.float32(n) * np.clip((r - distance) / (1.5 * pitch_um) + 0.5, 0, 1)
    phase = index.reshape(count, samples, y.size, x.size).sum(axis=1)
    phase *= np.float32(2 * np.pi / settings.wavelength_um * fine)
    return Slices(
        phase,
        float(y[0]),
        float(x[0]),
        pitch_um,
        (top - slice_um / 2) * settings.reduction,
        slice_um * settings.reduction,
    )


def draw_debris(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """A speck of 0.5 to 2 µm: up to four balls stuck together.

    Parameters
    ----------
    rng
        Draws size and shape.
    settings
        The microscope that it is cut into slices for.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is in focus, µm.
    """
    count = int(rng.integers(1, 5))
    size = float(np.clip(rng.lognormal(np.log(0.4), 0.35), 0.25, 0.9))
    balls = np.column_stack(
        [
            rng.normal(0, size * 0.7, (count, 2)),
            rng.normal(0, size * 0.3, count),
            size * rng.uniform(0.6, 1.0, count),
            rng.uniform(0.02, 0.07, count),
        ]
    )
    balls[:, :3] -= balls[:, :3].mean(axis=0)
    return Thing("debris", y_um, x_um, z_um, _cut(settings, balls, 0.4))


def draw_round_cell(
    rng: np.random.Generator, settings: MicroscopeSettings, y_um: float, x_um: float, z_um: float
) -> Thing:
    """A leukocyte or an immature germ cell: a ball of 7 to 11 µm with a nucleus and granules.

    Parameters
    ----------
    rng
        Draws size and shape.
    settings
        The microscope that it is cut into slices for.
    y_um, x_um
        Its place, µm in the specimen.
    z_um
        Drive position at which it is in focus, µm.
    """
    radius = float(rng.uniform(3.5, 5.5))
    balls = [[0.0, 0.0, 0.0, radius, 0.02]]
    away = rng.normal(0, radius * 0.15, 3)
    balls.append([*away, radius * float(rng.uniform(0.45, 0.6)), 0.012])
    for _ in range(int(rng.integers(8, 24))):
        direction = rng.normal(size=3)
        direction *= radius * rng.uniform(0.2, 0.85) / np.linalg.norm(direction)
        balls.append([*direction, float(rng.uniform(0.25, 0.55)), float(rng.uniform(0.02, 0.05))])
    return Thing("cell", y_um, x_um, z_um, _cut(settings, np.array(balls), 0.8))


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
    pitch, slice_um, samples = settings.raster_um, 1.0, 6
    widest = outer + 0.03 * length
    end_y = length * np.sin(lean)
    y = np.arange(min(0.0, end_y) - widest - 1, max(0.0, end_y) + widest + 1, pitch)
    x = np.arange(-widest - 1, length * np.cos(lean), pitch)
    along = x[None, :] * np.cos(lean) + y[:, None] * np.sin(lean)
    aside = y[:, None] * np.cos(lean) - x[None, :] * np.sin(lean)
    wall = outer + 0.03 * np.maximum(along, 0)
    end = np.clip((along - 0.5 * aside) / 0.4 + 0.5, 0, 1)
    count = int(np.ceil(2 * widest / slice_um))
    fine = slice_um / samples
    phase = np.empty((count, y.size, x.size), np.float32)
    for number in range(count):
        glass = np.zeros((y.size, x.size))
        for sample in range(samples):
            z = (count / 2 - number) * slice_um - fine * (sample + 0.5)
            distance = np.hypot(aside, z)
            glass += np.clip((wall - distance) / 0.3 + 0.5, 0, 1)
            glass -= np.clip((wall * inner - distance) / 0.3 + 0.5, 0, 1)
        phase[number] = glass * end * (2 * np.pi / settings.wavelength_um * _GLASS * fine)
    slices = Slices(
        phase,
        float(y[0]),
        float(x[0]),
        pitch,
        (count - 1) / 2 * slice_um * settings.reduction,
        slice_um * settings.reduction,
    )
    return Thing("pipette", tip_y, tip_x, z_um, slices, yaw=np.pi + lean)


class DropletEdge:
    """The rim of a droplet: a wedge of phase along a wide arc across the field.

    The arc is so wide that its image is that of a straight edge, computed in one dimension across
    it.

    Parameters
    ----------
    rng
        Draws side, place and steepness.
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

    def __init__(
        self,
        rng: np.random.Generator,
        microscope: Microscope,
        shape: tuple[int, int],
        z_um: float,
    ) -> None:
        self._microscope, self._z_um = microscope, z_um
        pixel = microscope.settings.pixel_size_um
        height, width = (side * pixel for side in shape)
        self._angle = float(rng.choice((0.0, np.pi)) + rng.uniform(-0.35, 0.35))
        self._slope = float(rng.uniform(2.5, 4.5))
        normal = np.array([np.sin(self._angle), np.cos(self._angle)])
        middle = np.array([height, width]) / 2
        rim = middle - normal * (width / 2 - float(rng.uniform(10, 25)))
        radius = float(rng.uniform(1000, 2500))
        centre = rim + normal * radius
        y = np.arange(shape[0], dtype=np.float32)[:, None] * np.float32(pixel)
        x = np.arange(shape[1], dtype=np.float32)[None, :] * np.float32(pixel)
        inward = radius - np.hypot(y - np.float32(centre[0]), x - np.float32(centre[1]))
        self._near = np.nonzero(np.abs(inward) < self._REACH_UM)
        self._inward = inward[self._near]
        self._profile = kept(self._make_profile, 64)

    def multiply(self, image: Array, focus_um: float) -> None:
        """Apply the rim to a relative intensity (Y, X), in place.

        Parameters
        ----------
        image
            (Y, X) relative intensity; it is changed.
        focus_um
            Drive position, µm.
        """
        profile = self._profile(round(focus_um - self._z_um, 3))
        place = np.arange(len(profile)) * self._PITCH - self._REACH_UM
        image[self._near] *= np.interp(self._inward, place, profile).astype(np.float32)

    def _make_profile(self, depth_um: float) -> Array:
        """Intensity along the inward normal, from -reach to +reach."""
        n, pitch, scope = self._SAMPLES, self._PITCH, self._microscope
        inward = (np.arange(n) - n // 4) * pitch
        back = n // 2 * pitch - inward
        ramp = 6.0 * self._slope * (1 - np.exp(-np.maximum(np.minimum(inward, back), 0) / 6.0))
        spectrum = np.fft.fft(np.exp(-1j * ramp))
        f = np.fft.fftfreq(n, pitch)
        fy, fx = f * np.sin(self._angle), f * np.cos(self._angle)
        intensity, brightness = np.zeros(n), 0.0
        for (sy, sx), weight in zip(*scope.source(6), strict=True):
            axial = scope.axial(sy + fy, sx + fx) - scope.axial(sy, sx)
            passed = scope.pupil(sy + fy, sx + fx) * np.exp(-2j * np.pi * depth_um * axial)
            intensity += weight * np.abs(np.fft.ifft(spectrum * passed)) ** 2
            brightness += weight * float(np.abs(scope.pupil(sy, sx)) ** 2)
        reach = round(self._REACH_UM / pitch)
        profile = intensity[n // 4 - reach : n // 4 + reach + 1] / brightness
        fade = np.clip((self._REACH_UM - np.abs(np.arange(-reach, reach + 1) * pitch)) / 15, 0, 1)
        result: Array = 1 + (profile - 1) * fade
        return result
