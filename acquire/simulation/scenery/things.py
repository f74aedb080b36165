"""Objects in a field that do not move, each with an image of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.settings import MicroscopeSettings
from fgaf.acquire.simulation.waves import Patch, Slices, WaveImager

Array = npt.NDArray[Any]


class Placed(Protocol):
    """What has a place and a kind for the truth."""

    @property
    def kind(self) -> str:
        """Name in the truth."""

    @property
    def y_um(self) -> float:
        """Centre in the field."""

    @property
    def x_um(self) -> float:
        """Centre in the field."""

    @property
    def z_um(self) -> float:
        """Drive position at which it is in focus."""

    @property
    def yaw(self) -> float:
        """Direction it points to."""


class Furniture(Placed, Protocol):
    """What also has an image at each position of the drive."""

    def image(
        self,
        imager: WaveImager,
        focus_um: float,
        shift_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
        drift_um: tuple[float, float] = (0.0, 0.0),
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
        drift_um
            Motion (y, x) of the view during the exposure, µm.
        """


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
        drift_um: tuple[float, float] = (0.0, 0.0),
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
        drift_um
            Motion (y, x) of the view during the exposure, µm.
        """
        return imager.image(
            self.slices,
            (self.y_um + shift_um[0]) / imager.pixel_um,
            (self.x_um + shift_um[1]) / imager.pixel_um,
            focus_um - self.z_um - shift_um[2],
            (-drift_um[0], -drift_um[1]),
            math.hypot(*drift_um) / 2,
            keep=not (shift_um[2] or any(drift_um)),
        )


def cut_balls(
    settings: MicroscopeSettings,
    balls: Array,
    slice_um: float,
    joined: bool = False,
    flat: float = 1.0,
) -> Slices:
    """Phase of soft balls, cut into slices.

    Parameters
    ----------
    settings
        The microscope that they are cut for.
    balls
        (N, 5) rows (y, x, z, radius, index), or (N, 6) with the loss behind: the imaginary part of
        the index; µm in the specimen.
    slice_um
        Thickness of a slice.
    joined
        Whether overlapping balls are one body, with the index of the densest; else indices add up.
    flat
        Factor on all heights.
    """
    pitch_um = settings.raster_um
    centre, radius = balls[:, :3], balls[:, 3]
    low = (centre - radius[:, None]).min(axis=0) - 2 * pitch_um
    high = (centre + radius[:, None]).max(axis=0) + 2 * pitch_um
    low[2], high[2] = flat * low[2], flat * high[2]
    y, x = (np.arange(low[i], high[i], pitch_um, dtype=np.float32) for i in (0, 1))
    count = max(1, int(np.ceil((high[2] - low[2]) / slice_um)))
    samples = 3
    fine = slice_um / samples
    top = (high[2] + low[2]) / 2 + count * slice_um / 2
    z = (top - fine * (np.arange(count * samples, dtype=np.float32) + 0.5)) / np.float32(flat)
    lossy = balls.shape[1] > 5 and bool(balls[:, 5].any())
    index = np.zeros((z.size, y.size, x.size), np.complex64 if lossy else np.float32)
    for by, bx, bz, r, n, *loss in balls:
        room = r + pitch_um
        box = tuple(
            slice(*np.searchsorted(np.sign(step) * axis, np.sign(step) * at + (-room, room)))
            for axis, at, step in ((z, bz, -1), (y, by, 1), (x, bx, 1))
        )
        distance = np.sqrt(
            (z[box[0], None, None] - bz) ** 2
            + (y[None, box[1], None] - by) ** 2
            + (x[box[2]] - bx) ** 2
        )
        inside = np.clip((r - distance) / (1.5 * pitch_um) + 0.5, 0, 1)
        part, value = index[box], n + 1j * loss[0] if lossy else np.float32(n)
        if joined:
            denser = abs(value) * inside > np.abs(part)
            part[denser] = (value * inside)[denser]
        else:
            part += value * inside
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
