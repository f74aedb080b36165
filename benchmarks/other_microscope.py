"""A second forward model, which shares no code with `fgaf.acquire.simulation`, for judging.

    python benchmarks/other_microscope.py inverted stacks --cells 20     # raw stacks, one cell each

A network that was trained on one simulator can be judged on another only if the two have their
faults apart. Here a cell is a tilted ellipsoid with two vacuoles, a cone for its midpiece and a
beating chain of spots for its tail, cut into slabs whose optical path is exact; light passes the
slabs one after the other (beam propagation), for every point of a condenser with a Gaussian
filling, and the pupil has coma and astigmatism beside spherical aberration. The camera has
unequal pixels, a shaded field and a rounding amplifier. In an upright stand the objective lies
downstream of the cell, in an inverted one upstream, which turns the sign of defocus.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.fft import fft2, ifft2

from fgaf.dataset.archive import Archive, ArchiveHeader, Cells
from fgaf.dataset.raw import RawHeader
from fgaf.dataset.storage.optics import Optics
from fgaf.dataset.truth import CellTruth, FrameTruth, StackTruth, write_truth
from fgaf.dataset.whole_stack import write_whole_stack

Array = npt.NDArray[Any]

_SIDE = 144
_SLABS_UM = np.linspace(-1.5, 1.5, 6)
_SOURCES = 20
_GOLDEN = np.pi * (3 - np.sqrt(5))
_INTERVAL_S = 0.04


@dataclass(frozen=True)
class Stand:
    """A microscope of the second model; lengths in µm, aberrations in waves r.m.s."""

    upright: bool
    numerical_aperture: float
    condenser_na: float
    oblique: float
    wavelength_um: float
    pixel_um: float
    spherical: float
    coma: float
    astigmatism: float
    photons: float
    read_noise: float
    index: float
    loss: float

    @property
    def optics(self) -> Optics:
        """What a rig file would say of it."""
        return Optics(
            pixel_size_um=self.pixel_um,
            numerical_aperture=self.numerical_aperture,
            magnification=40,
            medium_index=1.0,
            wavelength_um=self.wavelength_um,
        )


STANDS: dict[str, Stand] = {
    "inverted": Stand(False, 0.6, 0.28, 0.0, 0.59, 0.161, 0.03, 0.03, 0.03, 2500, 9, 0.05, 0.10),
    "upright": Stand(True, 0.75, 0.22, 0.06, 0.53, 0.129, -0.02, 0.02, 0.05, 1600, 6, 0.07, 0.04),
}


@dataclass(frozen=True)
class Cell:
    """One cell: sizes in µm, angles in radians, rates per second."""

    half: tuple[float, float, float]
    index: float
    loss: float
    holes: tuple[tuple[float, float, float, float], ...]
    tail_index: float
    yaw: float
    pitch: float
    roll: float
    roll_rate: float
    turn_rate: float
    beat: float
    phase: float
    swing: float
    wave: float
    speed: float
    offset: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator, stand: Stand) -> Cell:
        """A random cell."""
        half = rng.uniform(2.0, 2.7), rng.uniform(1.2, 1.75), rng.uniform(0.4, 0.75)
        holes = tuple(
            (float(x), float(y), 0.0, float(size))
            for x, y, size in zip(
                rng.uniform(-1.2, 1.2, 2), rng.uniform(-0.7, 0.7, 2), rng.uniform(0.15, 0.4, 2),
                strict=True,
            )
        )  # fmt: skip
        return cls(
            half=half,
            index=stand.index * rng.uniform(0.7, 1.3),
            loss=stand.loss * rng.uniform(0.5, 1.5),
            holes=holes,
            tail_index=stand.index * rng.uniform(0.5, 0.9),
            yaw=rng.uniform(0, 2 * np.pi),
            pitch=rng.normal(0, 0.12),
            roll=rng.uniform(0, 2 * np.pi),
            roll_rate=rng.normal(0, 12),
            turn_rate=rng.normal(0, 0.8),
            beat=rng.uniform(8, 20),
            phase=rng.uniform(0, 2 * np.pi),
            swing=rng.uniform(0.5, 2.0),
            wave=rng.uniform(14, 26),
            speed=rng.uniform(5, 60),
            offset=(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)),
        )

    def centre(self, time_s: float) -> Array:
        """(y, x) of the head in µm; (0, 0) at time 0."""
        # heading turns at a constant rate: a circle
        turned = self.turn_rate * time_s
        length = self.speed * time_s * np.sinc(turned / (2 * np.pi))
        angle = self.yaw + turned / 2
        return length * np.array([np.sin(angle), np.cos(angle)])


def paths(cell: Cell, time_s: float, pixel_um: float, shift_px: Array) -> tuple[Array, Array]:
    """Optical path and loss of each slab, (K, S, S), the head `shift_px` from the middle."""
    fine = pixel_um / 2
    axis = (np.arange(2 * _SIDE) - _SIDE + 0.5) * fine
    y, x = np.meshgrid(axis - shift_px[0] * pixel_um, axis - shift_px[1] * pixel_um, indexing="ij")
    beat = 2 * np.pi * cell.beat * time_s + cell.phase
    yaw = cell.yaw + cell.turn_rate * time_s + 0.12 * np.sin(beat)
    u, v = x * np.cos(yaw) + y * np.sin(yaw), -x * np.sin(yaw) + y * np.cos(yaw)
    roll = cell.roll + cell.roll_rate * time_s
    optical = np.zeros((len(_SLABS_UM) - 1, *u.shape), np.float32)
    head = _ellipsoid(u, v, cell.half, cell.pitch, roll)
    _fill(optical, head, cell.index)
    lost = np.zeros_like(optical)
    _fill(lost, head, cell.loss)
    for along, across, up, size in cell.holes:
        ball = _ellipsoid(u - along, v - across * np.cos(roll), (size,) * 3, 0.0, 0.0, up)
        _fill(optical, ball, -0.5 * cell.index)
    for s in np.arange(cell.half[0] - 0.2, 22.0, 0.35):
        rise = min(1.0, max(0.0, s - cell.half[0]) / 6) * cell.swing
        side = rise * np.sin(2 * np.pi * s / cell.wave - beat)
        z = 0.4 * rise * np.cos(2 * np.pi * s / cell.wave - beat) - s * np.sin(cell.pitch)
        back = -s * np.array([np.sin(yaw), np.cos(yaw)])
        place = back + side * np.array([np.cos(yaw), -np.sin(yaw)]) + shift_px * pixel_um
        rows, columns = (np.abs(axis - at) < 1.2 for at in place)
        near = np.outer(
            *(
                np.exp(-((axis[inside] - at) ** 2) / (2 * 0.3**2))
                for inside, at in zip((rows, columns), place, strict=True)
            )
        )
        thick = 0.7 if s < cell.half[0] + 4 else 0.35
        slab = int(np.clip(np.searchsorted(_SLABS_UM, z) - 1, 0, len(optical) - 1))
        optical[slab][np.ix_(rows, columns)] += (0.5 * thick * cell.tail_index) * near
    shape = (len(optical), _SIDE, 2, _SIDE, 2)
    return optical.reshape(shape).mean((2, 4)), lost.reshape(shape).mean((2, 4))


def _ellipsoid(
    u: Array, v: Array, half: tuple[float, ...], pitch: float, roll: float, up: float = 0.0
) -> tuple[Array, Array]:
    """Lowest and highest z of a tilted ellipsoid over each point; equal outside of it."""
    a, b, c = half
    turn = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    tip = np.array(
        [[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]]
    )
    axes = tip @ turn
    form = axes @ np.diag([a**-2.0, b**-2.0, c**-2.0]) @ axes.T
    linear = form[0, 2] * u + form[1, 2] * v
    rest = form[0, 0] * u**2 + 2 * form[0, 1] * u * v + form[1, 1] * v**2 - 1
    root = np.sqrt(np.maximum(linear**2 - form[2, 2] * rest, 0)) / form[2, 2]
    middle = up - linear / form[2, 2]
    return middle - root, middle + root


def _fill(slabs: Array, span: tuple[Array, Array], density: float) -> None:
    for k, (low, high) in enumerate(pairwise(_SLABS_UM)):
        slabs[k] += density * np.maximum(np.minimum(span[1], high) - np.maximum(span[0], low), 0)


class Bench:
    """A stand, ready to image slabs."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        f = np.fft.fftfreq(_SIDE, stand.pixel_um)
        self._fy, self._fx = f[:, None], f[None, :]
        k = np.arange(_SOURCES) + 0.5
        r = 1.6 * stand.condenser_na * np.sqrt(k / _SOURCES) / stand.wavelength_um
        keep = np.exp(-((r * stand.wavelength_um / stand.condenser_na) ** 2))
        slant = stand.oblique / stand.wavelength_um
        self._sources = np.c_[r * np.sin(k * _GOLDEN) + slant, r * np.cos(k * _GOLDEN)]
        self._weights = keep / keep.sum()
        self._camera = np.sinc(f * stand.pixel_um)[:, None] * np.sinc(f * stand.pixel_um)[None, :]
        step = float(_SLABS_UM[1] - _SLABS_UM[0])
        water, air = 1.335 / stand.wavelength_um, 1 / stand.wavelength_um
        self._tilted = [
            (_slower(water, gy, gx, source), _slower(air, gy, gx, source), self._pupil(gy, gx))
            for source in self._sources
            for gy, gx in [(self._fy + source[0], self._fx + source[1])]
        ]
        half = (len(_SLABS_UM) - 2) / 2 * step
        self._slab = [_phasor(step * inner) for inner, _, _ in self._tilted]
        self._lens = [pupil * _phasor(-half * inner) for inner, _, pupil in self._tilted]
        centres = [abs(self._pupil(*source[:, None])[0]) ** 2 for source in self._sources]
        self._bright = float(self._weights @ np.array(centres))

    def image(self, optical: Array, lost: Array, depth_um: float) -> Array:
        """Intensity (S, S) over the empty field's, `depth_um` above focus."""
        waves = np.exp(2j * np.pi / self.stand.wavelength_um * optical - lost).astype(np.complex64)
        order = waves if self.stand.upright else waves[::-1]
        towards = depth_um if self.stand.upright else -depth_um
        total = np.zeros((_SIDE, _SIDE))
        for k, (_, outer, _) in enumerate(self._tilted):
            wave = order[0]
            for following in order[1:]:
                wave = ifft2(fft2(wave) * self._slab[k]) * following
            seen = ifft2(fft2(wave) * (self._lens[k] * _phasor(towards * outer)))
            total += self._weights[k] * (seen.real**2 + seen.imag**2)
        image: Array = ifft2(fft2(total / self._bright) * self._camera).real
        return image

    def _pupil(self, gy: Array, gx: Array) -> Array:
        s = self.stand
        cut = s.numerical_aperture / s.wavelength_um
        r2, angle = (gy**2 + gx**2) / cut**2, np.arctan2(gy, gx)
        waves = (
            s.spherical * np.sqrt(5) * (6 * r2**2 - 6 * r2 + 1)
            + s.coma * np.sqrt(8) * (3 * r2 - 2) * np.sqrt(r2) * np.cos(angle)
            + s.astigmatism * np.sqrt(6) * r2 * np.cos(2 * angle)
        )
        pupil: Array = (r2 <= 1) * (1 - 0.15 * r2) * np.exp(2j * np.pi * waves)
        return pupil


def _slower(index: float, gy: Array, gx: Array, source: Array) -> Array:
    """Axial frequency of a tilted wave less that of its source's light, 1/µm."""
    axial: Array = np.sqrt(np.maximum(index**2 - gy**2 - gx**2, 0)) - np.sqrt(
        index**2 - source @ source
    )
    return axial.astype(np.float32)


def _phasor(turns: Array) -> Array:
    """``exp(2 pi i turns)`` as complex64."""
    result: Array = np.exp(np.complex64(2j * np.pi) * turns)
    return result


class Camera:
    """A camera with unequal pixels, behind optics with a shaded field."""

    def __init__(self, stand: Stand, rng: np.random.Generator, shape: tuple[int, int]) -> None:
        self._stand, self._rng = stand, rng
        self._gain = 1 + 0.006 * rng.normal(size=shape)
        y, x = (np.linspace(-1, 1, n) for n in shape)
        self._shade = 1 - 0.06 * (y[:, None] - 0.3) ** 2 - 0.05 * (x[None, :] + 0.2) ** 2

    def expose(self, relative: Array) -> Array:
        """8-bit frame of a field's relative intensity."""
        lamp = self._stand.photons * (1 + 0.02 * self._rng.normal())
        electrons = self._rng.poisson(np.maximum(relative * self._shade * lamp, 0)) * self._gain
        electrons += self._rng.normal(0, self._stand.read_noise, relative.shape)
        grey = electrons * (150 / self._stand.photons) + 4
        return np.clip(np.round(grey), 0, 255).astype(np.uint8)


def patches(
    stand: Stand, cells: int, seed: int, depths: Literal["grid", "uniform"], patch_px: int = 96
) -> Archive:
    """Labelled patches of single cells at nine depths within ±2 µm, 70 % to train, 20 % to test."""
    bench = Bench(stand)
    grid = 0.5 * np.arange(-4, 5)
    images, depth, rows = [], [], []
    low = (_SIDE - patch_px) // 2
    for number in range(cells):
        rng = np.random.default_rng([seed, number])
        cell = Cell.draw(rng, stand)
        camera = Camera(stand, rng, (_SIDE, _SIDE))
        own = grid if depths == "grid" else np.sort(rng.uniform(-2, 2, 9))
        start = rng.uniform(0, 5)
        for k, z in enumerate(own):
            slabs = paths(cell, start + k * _INTERVAL_S, stand.pixel_um, rng.uniform(-1.5, 1.5, 2))
            frame = camera.expose(bench.image(*slabs, float(z)))
            images.append(frame[low : low + patch_px, low : low + patch_px])
        depth.append(own)
        rows.append({**_UNLABELLED, "id": f"cell-{number}", "source": f"cell-{number}"})
    order = np.random.default_rng(seed).permutation(cells)
    sides = np.zeros(cells, np.int8)
    sides[order[: round(0.2 * cells)]] = 2
    sides[order[round(0.2 * cells) : round(0.3 * cells)]] = 1
    header = ArchiveHeader.new(
        step_um=0.5, half_range_um=2.0, patch_px=patch_px, optics=stand.optics, name="other"
    )
    zeros = np.zeros(9 * cells, np.int32)
    return Archive(
        header=header, images=np.stack(images), depth_um=np.concatenate(depth),
        true_depth_um=np.concatenate(depth), plane=np.tile(np.arange(9, dtype=np.int32), cells),
        cell=np.repeat(np.arange(cells, dtype=np.int32), 9), center_y=zeros, center_x=zeros,
        cells=Cells.from_rows(rows), splits={"default": sides},
    )  # fmt: skip


_UNLABELLED: dict[str, Any] = {
    "source_sha256": "", "sample_id": "", "field": "", "focus_um": 0.0, "focus_plane": 4,
    "annotator": "simulation", "labelled_utc": "2026-01-01T00:00:00+00:00",
    "method": "simulation", "confidence": 1.0,
}  # fmt: skip


def stack(
    stand: Stand,
    path: Path,
    seed: int,
    step_um: float = 0.5,
    half_range_um: float = 4.0,
    climb_um_s: float = 0.0,
    side: int = 256,
) -> Path:
    """A raw stack of one swimming cell, with its truth beside it."""
    rng = np.random.default_rng([seed, 77])
    bench, camera = Bench(stand), Camera(stand, rng, (side, side))
    cell = Cell.draw(rng, stand)
    z = step_um * np.arange(-round(half_range_um / step_um), round(half_range_um / step_um) + 1)
    focus, climb = rng.uniform(-1.2, 1.2), climb_um_s * rng.choice((-1.0, 1.0))
    start = rng.uniform(0, 5)
    mid = len(z) // 2 * _INTERVAL_S
    frames, truth = [], []
    for k, height in enumerate(z):
        now = k * _INTERVAL_S
        place = (cell.centre(start + now) - cell.centre(start + mid)) / stand.pixel_um + side / 2
        corner = np.clip(np.round(place).astype(int) - _SIDE // 2, 0, side - _SIDE)
        at = focus + climb * (now - mid)
        inside = place - corner - _SIDE / 2 + 0.5
        image = bench.image(*paths(cell, start + now, stand.pixel_um, inside), float(height - at))
        field = np.ones((side, side))
        field[corner[0] : corner[0] + _SIDE, corner[1] : corner[1] + _SIDE] = image
        frames.append(camera.expose(field))
        own = CellTruth(id=0, kind="sperm", y_px=place[0], x_px=place[1], focus_um=at)
        truth.append(FrameTruth(time_ns=round(now * 1e9), cells=(own,)))
    header = RawHeader.new(
        step_um=step_um, half_range_um=half_range_um, center_um=0.0, bit_depth=8,
        optics=stand.optics, sample_id=f"cell {seed}",
    )  # fmt: skip
    times = np.array([frame.time_ns for frame in truth])
    columns = {
        "z_requested_um": z, "z_measured_um": z, "time_device_ns": times, "time_host_ns": times,
        "frame_id": np.arange(len(z)), "exposure_us": np.full(len(z), 3000.0),
    }  # fmt: skip
    write_whole_stack(path, header, np.stack(frames), columns)
    write_truth(path, StackTruth(stack_uuid=header.uuid, frames=tuple(truth)))
    return path


def main() -> None:
    """Write raw stacks of a stand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stand", choices=STANDS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--climb", type=float, default=0.0, help="µm/s along the axis")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.cells):
        seed = 1000 * arguments.seed + number
        path = arguments.out / f"{arguments.stand}-{seed:05d}.stack.h5"
        stack(STANDS[arguments.stand], path, seed, climb_um_s=arguments.climb)


if __name__ == "__main__":
    main()
