"""The shape of a human sperm and its phase: head, acrosome, vacuoles, midpiece, flagellum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.settings import MicroscopeSettings
from fgaf.acquire.simulation.swimming import Pose
from fgaf.acquire.simulation.waves import Slices

Array = npt.NDArray[Any]

SLICE_UM, HIGH_APERTURE = 0.4, 0.9
"""Thickness of a slice of a cell; from this numerical aperture on, half of it."""

_SAMPLES = 3
BEAD_UM = 0.3
_EDGE = 0.14
_DROPLET = 0.03
_BEAD_ROOM = np.array([1.0, 1.0, 0.2])
_NARROWEST = np.float32(0.05)
_USUAL_TAPER = 0.3


@dataclass(frozen=True)
class _Grid:
    """Samples of a box in the specimen: y and x, and `count` slices of `step` from `top` down."""

    y: Array
    x: Array
    top: float
    count: int
    step: float

    @classmethod
    def around(cls, low: Array, high: Array, settings: MicroscopeSettings) -> _Grid:
        """The grid of a box with corners `low` and `high`, (x, y, z)."""
        raster_um = settings.raster_um
        step = SLICE_UM if settings.numerical_aperture < HIGH_APERTURE else SLICE_UM / 2
        count = max(1, int(np.ceil((high[2] - low[2]) / step)))
        return cls(
            y=np.arange(low[1], high[1], raster_um, dtype=np.float32),
            x=np.arange(low[0], high[0], raster_um, dtype=np.float32),
            top=float((high[2] + low[2]) / 2 + count * step / 2),
            count=count,
            step=step,
        )

    def within(self, low: Array, high: Array) -> tuple[slice, slice]:
        """Rows and columns of a smaller box."""
        rows = np.searchsorted(self.y, (low[1], high[1]))
        columns = np.searchsorted(self.x, (low[0], high[0]))
        return slice(*rows.tolist()), slice(*columns.tolist())

    def slices_within(self, low_z: float, high_z: float) -> tuple[int, int]:
        """First slice that reaches below `high_z`, and the one after the last above `low_z`."""
        first = int((self.top - high_z) / self.step)
        last = int(np.ceil((self.top - low_z) / self.step))
        return max(first, 0), min(last, self.count)


@dataclass(frozen=True)
class Thread:
    """Weak beads along the flagellum.

    Attributes
    ----------
    y_um, x_um
        (N,) relative to the centre of the head, in the specimen.
    z_um
        (N,) relative to the focus of the head, in drive µm.
    strength
        (N,) phase integrated over the area of each bead, rad µm²; complex if it absorbs, with the
        loss of amplitude as imaginary part.
    """

    y_um: Array
    x_um: Array
    z_um: Array
    strength: Array

    def thinned(self, stride: int) -> Thread:
        """The same thread with the beads of each stride in one place, in the middle."""
        if stride == 1:
            return self
        whole = len(self.strength) // stride * stride
        middle = slice(stride // 2, whole, stride)
        return Thread(
            self.y_um[middle],
            self.x_um[middle],
            self.z_um[middle],
            self.strength[:whole].reshape(-1, stride).sum(axis=1),
        )


@dataclass(frozen=True)
class Sperm:
    """One cell's body; lengths in µm, refractive indices relative to the medium.

    The indices of nucleus, acrosome, midpiece and tail have an imaginary part, named loss: light
    that is absorbed, or scattered by fine structure out of the aperture.

    The head is an ellipsoid that is wider towards its tip by `taper` and thinner there by
    `wedge`. The acrosome, its front part from `acrosome_from` (-1 rear, 1 tip), differs in index,
    and so do the marks: vacuoles and dense chromatin, each a ball (along, across, through,
    radius, step of index). The flagellum leaves at the angles `kink` (in plane, out of plane)
    to the head's axis. The flagellum's angle against the head's axis swings by `swing` rad (less
    near the neck) in a wave of `wave` µm that travels to its end; out of the plane by
    `out_of_plane` times that, a quarter wave later; `bend` is a constant curvature, and each of
    `turns` (start, end, angle) bends it by an angle between two places along its length.

    Of abnormal cells, `outline` deforms the head by waves around it (number, amplitude relative to
    the radius, phase), `lumps` are balls of cytoplasm outside it (along, across, through, radius,
    index, loss), `twin` is the angle between two heads that share the neck, 0 for one, and a cell
    without a head is `headless`.
    """

    length: float = 4.7
    width: float = 3.0
    thickness: float = 1.1
    taper: float = 0.06
    wedge: float = 0.2
    nucleus: float = 0.075
    acrosome: float = 0.05
    acrosome_from: float = 0.15
    marks: tuple[tuple[float, float, float, float, float], ...] = ((0.9, 0.3, 0.0, 0.35, -0.05),)
    midpiece_length: float = 4.5
    midpiece_radius: float = 0.42
    midpiece: float = 0.05
    droplet_radius: float = 0.0
    tail_length: float = 45.0
    tail_radius: float = 0.22
    tail: float = 0.06
    swing: float = 0.85
    wave: float = 30.0
    out_of_plane: float = 0.3
    bend: float = 0.0
    kink: tuple[float, float] = (0.0, 0.0)
    nucleus_loss: float = 0.0
    acrosome_loss: float = 0.0
    flagellum_loss: float = 0.0
    outline: tuple[tuple[int, float, float], ...] = ()
    turns: tuple[tuple[float, float, float], ...] = ()
    lumps: tuple[tuple[float, float, float, float, float, float], ...] = ()
    twin: float = 0.0
    headless: bool = False

    def index(self, a: Array, b: Array, c: Array) -> Array:
        """Index above the medium's at body coordinates (along, across, through), µm.

        Parameters
        ----------
        a, b, c
            Coordinates from the head's centre, µm, of shapes that broadcast.

        Returns
        -------
        float32, or complex64 if the head absorbs.
        """
        if not self.twin:
            index = self._head(a, b, c)
        else:
            index = np.maximum(*(self._head(*each, c) for each in self._turned(a, b)))
        for at_a, at_b, at_c, size, step, loss in self.lumps:
            away = np.sqrt(np.square(a - at_a) + np.square(b - at_b) + np.square(c - at_c))
            lump = np.clip((1 - away / np.float32(size)) / np.float32(_EDGE) + 0.5, 0, 1)
            index = index + lump * (
                np.complex64(step + 1j * loss) if self.absorbs else np.float32(step)
            )
        return index

    def radius(self, a: Array, b: Array, c: Array) -> Array:
        """Distance from the head's middle, relative to that of its surface: 1 on the surface.

        Of two heads that of the nearer one. Parameters as of `index`.

        Parameters
        ----------
        a, b, c
            Coordinates from the head's centre, µm, of shapes that broadcast.
        """
        if not self.twin:
            return self._radius(a, b, c)
        return np.minimum(*(self._radius(*each, c) for each in self._turned(a, b)))

    def _radius(self, a: Array, b: Array, c: Array) -> Array:
        u = a * np.float32(2 / self.length)
        wide = np.maximum(1 + np.float32(self.taper) * u, _NARROWEST)
        thick = np.maximum(1 - np.float32(self.wedge) * u, _NARROWEST)
        across = b / (np.float32(self.width / 2) * wide)
        through = c / (np.float32(self.thickness / 2) * thick)
        radius: Array = np.sqrt(u * u + across * across + through * through)
        if self.outline:
            angle = np.arctan2(across, u)
            radius /= 1 + sum(
                np.float32(size) * np.cos(number * angle + np.float32(phase))
                for number, size, phase in self.outline
            )
        return radius

    def _head(self, a: Array, b: Array, c: Array) -> Array:
        """Index of one head."""
        u = a * np.float32(2 / self.length)
        radius = self._radius(a, b, c)
        inside = np.clip((1 - radius) * np.float32(1 / _EDGE) + np.float32(0.5), 0, 1)
        front = np.clip((u - np.float32(self.acrosome_from)) * 5 + np.float32(0.5), 0, 1)
        index: Array = self.nucleus + np.float32(self.acrosome - self.nucleus) * front
        loss: Array | None = None
        if self.absorbs:
            loss = self.nucleus_loss + np.float32(self.acrosome_loss - self.nucleus_loss) * front
        for at_a, at_b, at_c, size, step in self.marks:
            away = np.square(a - at_a) + np.square(b - at_b) + np.square(c - at_c)
            away *= np.float32(1 / size**2)
            mark = np.clip(np.float32(1.5) - away, 0, 1)
            index += np.float32(step) * mark
            if loss is not None:
                loss += np.float32(step * self.nucleus_loss / self.nucleus) * mark
        index *= inside
        if loss is None:
            return index
        loss *= inside
        whole = np.empty(index.shape, np.complex64)
        whole.real, whole.imag = index, np.maximum(loss, 0)
        return whole

    @property
    def absorbs(self) -> bool:
        """Whether the head takes light away."""
        return bool(self.nucleus_loss or self.acrosome_loss)

    def _turned(self, a: Array, b: Array) -> list[tuple[Array, Array]]:
        """Coordinates along and across each of two heads that share the neck."""
        along = a + np.float32(self.length / 2)
        cos, sin = np.float32(np.cos(self.twin / 2)), np.float32(np.sin(self.twin / 2))
        return [
            (
                along * cos + b * (side * sin) - np.float32(self.length / 2),
                b * cos - along * (side * sin),
            )
            for side in (1, -1)
        ]

    def reach(self, axes: Array) -> Array:
        """Half sides (x, y, z) of a box around the head's centre that holds it.

        Parameters
        ----------
        axes
            (3, 3) rows: the body's axes in lab coordinates.
        """
        half = np.array([self.length, self.width, self.thickness * (1 + self.wedge)]) / 2 * 1.07
        if self.outline or abs(self.taper) > _USUAL_TAPER:
            half[:2] *= 1 + sum(abs(size) for _, size, _ in self.outline) + abs(self.taper) / 3
        reach: Array = np.sqrt(np.square(half[:, None] * axes).sum(axis=0))
        if self.twin:
            cos, sin = np.cos(self.twin / 2), np.sin(self.twin / 2)
            for side in (sin, -sin):
                along, across = cos * axes[0] + side * axes[1], cos * axes[1] - side * axes[0]
                turned = half[:, None] * np.stack([along, across, axes[2]])
                away = np.abs((along - axes[0]) * self.length / 2)
                reach = np.maximum(reach, away + np.sqrt(np.square(turned).sum(axis=0)))
        for *place, radius, _, _ in self.lumps:
            reach = np.maximum(reach, np.abs(np.array(place) @ axes) + radius * (1 + _EDGE / 2))
        return reach

    @cached_property
    def centre(self) -> tuple[float, float, float]:
        """Centre of the head's phase in body coordinates: the reference point of pose and focus."""
        grid = [
            np.linspace(-1.1, 1.1, 45, dtype=np.float32) * np.float32(side / 2)
            for side in (self.length, self.width, self.thickness * (1 + self.wedge))
        ]
        a, b, c = np.meshgrid(*grid, indexing="ij")
        index = self._head(a, b, c).real
        total = index.sum()
        return tuple(float((index * axis).sum() / total) for axis in (a, b, c))  # type: ignore[return-value]

    def outline_um(self, pose: Pose) -> tuple[float, float]:
        """Length along the yaw and width across it of the head as the image plane shows it.

        Those of the ellipsoid, without the midpiece.
        """
        sin_p, cos_p = np.sin(pose.pitch), np.cos(pose.pitch)
        sin_r, cos_r = np.sin(pose.roll), np.cos(pose.roll)
        along = self.length * cos_p, self.width * sin_r * sin_p, self.thickness * cos_r * sin_p
        across = self.width * cos_r, self.thickness * sin_r
        return float(np.linalg.norm(along)), float(np.linalg.norm(across))

    def flagellum(self, pose: Pose, beat: float) -> Array:
        """Centre line in lab axes (x, y, z all in specimen µm) from the head's centre, (N, 3).

        The points are 0.3 µm apart, the first at the neck.

        Parameters
        ----------
        pose
            Position and orientation of the cell.
        beat
            Phase of the beat, rad.
        """
        s = (np.arange(round(self.tail_length / BEAD_UM)) + 0.5) * BEAD_UM
        growth = 1 - np.exp(-s / 9.0)
        wave = 2 * np.pi * s / self.wave - beat
        inside = self.kink[0] + self.swing * growth * np.sin(wave) + self.bend * s
        for start, end, angle in self.turns:
            inside += angle * np.clip((s - start) / (end - start), 0, 1)
        outside = self.kink[1] + self.out_of_plane * self.swing * growth * np.cos(wave)
        along, across, through = body_axes(pose.yaw, pose.pitch, 0.0)
        step = -BEAD_UM * (
            np.outer(np.cos(outside) * np.cos(inside), along)
            + np.outer(np.cos(outside) * np.sin(inside), across)
            + np.outer(np.sin(outside), through)
        )
        neck = -along * (self.length / 2 + self.centre[0])
        line: Array = neck + np.cumsum(step, axis=0) - step / 2
        return line

    def thread(self, line: Array, settings: MicroscopeSettings, first: int = 0) -> Thread:
        """The thin part of the flagellum behind the midpiece as beads, from its `first` on.

        Parameters
        ----------
        line
            (N, 3) centre line (x, y, z), specimen µm, as `flagellum` gives it.
        settings
            Wavelength and medium, which turn thickness into phase and height into drive µm.
        first
            The first point to take.
        """
        first = max(first, self.midpiece_points)
        _, strength = self._tube(len(line), 2 * np.pi / settings.wavelength_um)
        return Thread(
            line[first:, 1],
            line[first:, 0],
            line[first:, 2] * settings.reduction,
            strength[first:],
        )

    @property
    def midpiece_points(self) -> int:
        """Points of the centre line that belong to the midpiece."""
        return round(self.midpiece_length / BEAD_UM)

    def slices(
        self, pose: Pose, line: Array, settings: MicroscopeSettings, points: int | None = None
    ) -> Slices:
        """Phase of the head and of the first `points` of the flagellum (the midpiece).

        Parameters
        ----------
        pose
            Orientation of the head; its position is not used.
        line
            From `flagellum`.
        settings
            Of the microscope.
        points
            Number of points of the flagellum to add to the slices.
        """
        axes = body_axes(pose.yaw, pose.pitch, pose.roll)
        beads = line[: self.midpiece_points if points is None else points]
        reach = self.reach(axes)
        centre = np.array(self.centre) @ axes
        grid = _Grid.around(
            np.minimum(-centre - reach, (beads - _BEAD_ROOM).min(axis=0, initial=0)),
            np.maximum(-centre + reach, (beads + _BEAD_ROOM).max(axis=0, initial=0)),
            settings,
        )
        absorbs = self.absorbs or self.flagellum_loss
        phase = np.zeros(
            (grid.count, grid.y.size, grid.x.size), np.complex64 if absorbs else np.float32
        )
        wavenumber = 2 * np.pi / settings.wavelength_um
        if not self.headless:
            self._add_head(phase, grid, axes, (-centre - reach, -centre + reach), wavenumber)
        if len(beads):
            self._add_beads(phase, grid, beads, wavenumber)
        return Slices(
            phase=phase,
            y_um=float(grid.y[0]),
            x_um=float(grid.x[0]),
            pitch_um=settings.raster_um,
            top_um=(grid.top - grid.step / 2) * settings.reduction,
            step_um=grid.step * settings.reduction,
        )

    def _add_head(
        self, phase: Array, grid: _Grid, axes: Array, box: tuple[Array, Array], wavenumber: float
    ) -> None:
        """Add the head, which lies within a box, to the phase of the slices."""
        (rows, columns), (first, last) = grid.within(*box), grid.slices_within(box[0][2], box[1][2])
        fine = grid.step / _SAMPLES
        z = grid.top - fine * (np.arange(first * _SAMPLES, last * _SAMPLES) + 0.5)
        body = [
            (grid.x[columns] * np.float32(axis[0]))[None, None, :]
            + (grid.y[rows] * np.float32(axis[1]))[None, :, None]
            + (z * axis[2] + offset).astype(np.float32)[:, None, None]
            for axis, offset in zip(axes, self.centre, strict=True)
        ]
        index = self.index(*body)
        index = index.reshape(last - first, _SAMPLES, *index.shape[1:]).sum(axis=1)
        phase[first:last, rows, columns] += index * np.float32(wavenumber * fine)

    def _add_beads(self, phase: Array, grid: _Grid, beads: Array, wavenumber: float) -> None:
        """Add the flagellum's first points as round beads, each shared by two slices."""
        radius, strength = self._tube(len(beads), wavenumber)
        if self.droplet_radius > 0:
            radius = np.append(radius, self.droplet_radius)
            volume = 4 / 3 * np.pi * self.droplet_radius**3
            strength = np.append(strength, wavenumber * _DROPLET * volume)
            beads = np.concatenate([beads, beads[:1]])
        rows, columns = grid.within(beads.min(axis=0) - _BEAD_ROOM, beads.max(axis=0) + _BEAD_ROOM)
        variance = (radius / 2) ** 2
        gauss_y = np.exp(-((grid.y[rows, None] - beads[:, 1]) ** 2) / (2 * variance))
        gauss_x = np.exp(-((grid.x[columns, None] - beads[:, 0]) ** 2) / (2 * variance))
        gauss_x = gauss_x * (strength / (2 * np.pi * variance))
        number = np.arange(grid.count)[:, None]
        place = np.clip((grid.top - beads[:, 2]) / grid.step - 0.5, 0, grid.count - 1)
        share = np.clip(1 - np.abs(place - number), 0, None)
        spread = (share[:, None, :] * gauss_y).astype(np.float32)
        gauss_x = gauss_x.T.astype(np.complex64 if self.flagellum_loss else np.float32)
        phase[:, rows, columns] += spread @ gauss_x

    def _tube(self, count: int, wavenumber: float) -> tuple[Array, Array]:
        """Radius in µm and phase integrated over the area, in rad µm², of the first points.

        The phase is complex if the flagellum absorbs.
        """
        s = (np.arange(count) + 0.5) * BEAD_UM
        thick = s < self.midpiece_length
        thinning = np.clip(1.15 - 0.8 * s / self.tail_length, 0.3, 1)
        radius = np.where(thick, self.midpiece_radius, self.tail_radius * thinning)
        index = np.where(thick, self.midpiece, self.tail)
        if self.flagellum_loss:
            index = index + 1j * self.flagellum_loss
        return radius, wavenumber * index * np.pi * radius**2 * BEAD_UM


def body_axes(yaw: float, pitch: float, roll: float) -> Array:
    """Rows: the body's axes (along, across, through) in lab coordinates (x, y, z).

    Parameters
    ----------
    yaw, pitch, roll
        Orientation, rad; see `Pose`.
    """
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    along = np.array([cy * cp, sy * cp, sp])
    across = np.array([-sy, cy, 0.0])
    through = np.array([-cy * sp, -sy * sp, cp])
    cr, sr = np.cos(roll), np.sin(roll)
    return np.stack([along, cr * across + sr * through, cr * through - sr * across])
