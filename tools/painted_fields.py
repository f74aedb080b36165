"""Fields painted from simple shapes: a second source of training images for the head detector.

The simulated microscope (`fgaf.acquire.simulation`) computes images from optics. Here the shapes
of an image are drawn directly, with contrasts, sizes and defects from wide ranges: dark, bright,
ringed or shaded heads with tails, and what is mistaken for heads: cocci, debris, edges, pipettes,
round bodies, coiled and free tails, grain. A detector that learned from both depends less on the
details of either.

All lengths are in µm; an image is drawn at a fine pitch, averaged to camera pixels, and given the
noise, compression and smoothing of a camera.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

Array = npt.NDArray[Any]

FINE_UM = 0.13
"""Largest pitch at which shapes are drawn."""


@dataclass
class Painted:
    """A painted field.

    Attributes
    ----------
    pixels
        (Y, X) uint8 or uint16.
    pixel_um
        Side of a pixel.
    heads
        (K, 5): y, x (pixels), length, width (µm), angle (rad, of the long axis from x towards y).
    """

    pixels: Array
    pixel_um: float
    heads: Array


@dataclass
class _Sheet:
    """The picture under construction: relative departure from the ground, at a fine pitch."""

    shape: tuple[int, int]
    pitch: float
    rng: np.random.Generator
    amplitude: float
    sign: float
    relief: float
    shear: float
    level: float
    value: Array = field(init=False)
    heads: list[tuple[float, float, float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.value = np.zeros(self.shape, np.float32)

    @property
    def size_um(self) -> tuple[float, float]:
        return self.shape[0] * self.pitch, self.shape[1] * self.pitch

    def window(self, y: float, x: float, reach: float) -> tuple[tuple[slice, slice], Array, Array]:
        """Rows and columns around a place, and the distances from it, µm."""
        row, column, r = y / self.pitch, x / self.pitch, reach / self.pitch
        rows, columns = (
            slice(*np.clip([int(at - r), int(at + r) + 2], 0, size).tolist())
            for at, size in ((row, self.shape[0]), (column, self.shape[1]))
        )
        dy = (np.arange(rows.start, rows.stop) * self.pitch - y)[:, None]
        dx = (np.arange(columns.start, columns.stop) * self.pitch - x)[None]
        return (rows, columns), dy.astype(np.float32), dx.astype(np.float32)

    def curve(self, points: Array, width: float, amplitude: float) -> None:
        """Draw a line through points (N, 2): y, x in µm."""
        drawn = Image.new("F", self.shape[::-1], 0.0)
        path = [(float(x / self.pitch), float(y / self.pitch)) for y, x in points]
        ImageDraw.Draw(drawn).line(path, fill=1.0, width=max(1, round(width / self.pitch)))
        low = np.floor(points.min(axis=0) / self.pitch - 2 * width / self.pitch - 4).astype(int)
        high = np.ceil(points.max(axis=0) / self.pitch + 2 * width / self.pitch + 4).astype(int)
        low, high = np.clip(low, 0, self.shape), np.clip(high, 0, self.shape)
        if (high - low).min() < 2:
            return
        where = slice(low[0], high[0]), slice(low[1], high[1])
        line = ndimage.gaussian_filter(np.asarray(drawn)[where], 0.12 / self.pitch)
        self.value[where] += amplitude * (line - self.relief * self._slope(line))

    def _slope(self, thickness: Array) -> Array:
        """Derivative along the shear, scaled so that an edge of 1 within 0.5 µm gives about 1."""
        if min(thickness.shape) < 2:
            return np.zeros_like(thickness)
        gy, gx = np.gradient(thickness, self.pitch)
        return np.asarray(0.5 * (np.sin(self.shear) * gy + np.cos(self.shear) * gx), np.float32)


def _step(value: Array, width: float) -> Array:
    return np.asarray(np.clip(value / width + 0.5, 0, 1))


@dataclass(frozen=True)
class _Style:
    """How the heads of a field look."""

    body: float
    gradient: float
    acrosome: float
    rim: float
    rim_width: float
    halo: float
    halo_width: float
    texture: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> _Style:
        kind = rng.choice(["dark", "ring", "mixed"], p=[0.45, 0.2, 0.35])
        return cls(
            body={"dark": 1.0, "ring": rng.uniform(-0.4, 0.3), "mixed": rng.uniform(0.2, 0.8)}[
                kind
            ],
            gradient=rng.uniform(0.0, 0.7),
            acrosome=rng.uniform(0.0, 0.9),
            rim={"dark": rng.uniform(0, 0.5), "ring": 1.0, "mixed": rng.uniform(0.3, 1)}[kind],
            rim_width=rng.uniform(0.08, 0.25),
            halo=rng.choice(
                [0.0, rng.uniform(0.05, 0.3), rng.uniform(0.3, 1.2)], p=[0.3, 0.4, 0.3]
            ),
            halo_width=rng.uniform(0.12, 0.4),
            texture=rng.uniform(0, 0.3),
        )


def _head(
    sheet: _Sheet,
    style: _Style,
    y: float,
    x: float,
    angle: float,
    size: tuple[float, float],
    strength: float,
) -> None:
    rng = sheet.rng
    length, width = size
    where, dy, dx = sheet.window(y, x, 0.9 * length + 1.5)
    u = (np.cos(angle) * dx + np.sin(angle) * dy) * (2 / length)
    v = (np.cos(angle) * dy - np.sin(angle) * dx) * (2 / width)
    v = v / np.clip(1 + rng.uniform(-0.05, 0.3) * -u * rng.choice([1.0, 0.4]), 0.4, 2)
    if rng.random() < 0.25:
        bump = rng.uniform(0, 2 * np.pi), rng.integers(2, 5), rng.uniform(0.03, 0.14)
        r = np.hypot(u, v) * (1 + bump[2] * np.cos(bump[1] * np.arctan2(v, u) + bump[0]))
    else:
        r = np.hypot(u, v)
    inside = _step(1 - r, rng.uniform(0.1, 0.3))
    front = _step(u - rng.uniform(0.0, 0.3), 0.3)
    thick = np.sqrt(np.clip(1 - r * r, 0, None))
    j = lambda v: v * rng.uniform(0.7, 1.3)  # noqa: E731
    body = inside * (1 - j(style.gradient) * u) * (1 - j(style.acrosome) * front)
    grain = rng.standard_normal(inside.shape).astype(np.float32)
    grain = ndimage.gaussian_filter(grain, 0.35 / sheet.pitch) * (0.35 / sheet.pitch) * 3.5
    picture = j(style.body) * body * (1 + style.texture * grain)
    picture = picture + j(style.rim) * np.exp(-(((r - 0.95) / style.rim_width) ** 2))
    away = (r - 1) * width / 2
    picture = picture - j(style.halo) * np.exp(
        -(((away - 0.4) / (2.2 * style.halo_width)) ** 2)
    ) * (r > 0.9)
    for _ in range(rng.integers(0, 3)):
        cu, cv, size_um = rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.5), rng.uniform(0.2, 0.6)
        spot = ((u - cu) * length / 2) ** 2 + ((v - cv) * width / 2) ** 2
        picture = picture + rng.uniform(-0.6, 0.4) * np.exp(-spot / size_um**2)
    picture = picture - sheet.relief * 1.5 * sheet._slope(thick)
    sheet.value[where] += sheet.sign * sheet.amplitude * strength * picture
    sheet.heads.append((y, x, length, width, angle))


def _wander(
    rng: np.random.Generator, y: float, x: float, angle: float, length: float, curl: float
) -> Array:
    """A smooth path of points 0.4 µm apart: (N, 2)."""
    n = max(3, round(length / 0.4))
    s = np.arange(n) * 0.4
    turn = angle + curl * s
    for _ in range(2):
        wave, phase, swing = rng.uniform(12, 40), rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.6)
        turn = turn + swing * (np.sin(2 * np.pi * s / wave + phase) - np.sin(phase))
    steps = 0.4 * np.column_stack([np.sin(turn), np.cos(turn)])
    return np.asarray(np.array([y, x]) + np.cumsum(steps, axis=0))


def _sperm(sheet: _Sheet, style: _Style, y: float, x: float, angle: float | None = None) -> None:
    rng = sheet.rng
    angle = float(rng.uniform(0, 2 * np.pi)) if angle is None else angle
    kind = rng.choice(
        ["usual", "tapered", "large", "small", "round"], p=[0.72, 0.1, 0.08, 0.05, 0.05]
    )
    length = float(np.clip(rng.normal(4.7, 0.4), 3.7, 5.8))
    width = float(np.clip(rng.normal(0.64, 0.06), 0.48, 0.8)) * length
    if kind == "tapered":
        width = rng.uniform(0.36, 0.5) * length
    elif kind == "large":
        length *= rng.uniform(1.2, 1.6)
        width *= rng.uniform(1.1, 1.5)
    elif kind == "small":
        length, width = 0.78 * length, 0.8 * width
    elif kind == "round":
        width = rng.uniform(0.85, 1.0) * length * 0.9
        length *= 0.9
    if rng.random() < 0.12:  # seen on edge
        width *= rng.uniform(0.5, 0.8)
    strength = float(np.exp(rng.normal(0, 0.25)))
    back = np.array([y, x]) - 0.48 * length * np.array([np.sin(angle), np.cos(angle)])
    leave = angle + np.pi + rng.normal(0, 0.2)
    tail = sheet.sign * sheet.amplitude * strength
    if rng.random() < 0.93:
        curl = rng.choice([rng.normal(0, 0.02), rng.uniform(-0.9, 0.9)], p=[0.9, 0.1])
        path = _wander(rng, *back, leave, float(rng.uniform(15, 45)), curl)
        weak = rng.uniform(0.1, 0.5)
        sheet.curve(path, rng.uniform(0.25, 0.6), tail * weak)
        middle = path[: max(3, round(rng.uniform(3, 6) / 0.4))]
        sheet.curve(middle, rng.uniform(0.5, 1.1), tail * rng.uniform(0.1, 0.7))
    if rng.random() < 0.12:
        place = back + rng.normal(0, 0.5, 2)
        _blob(sheet, *place, rng.uniform(0.6, 1.4), rng.uniform(0.4, 1.1) * strength)
    _head(sheet, style, y, x, angle, (length, width), strength)


def _blob(sheet: _Sheet, y: float, x: float, radius: float, strength: float) -> None:
    """A small body: full, ringed or smooth."""
    rng = sheet.rng
    where, dy, dx = sheet.window(y, x, 2.5 * radius + 1)
    stretch, turn = rng.uniform(1, 1.12), rng.uniform(0, np.pi)
    u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    r = np.hypot(u / stretch, v * stretch) / radius
    kind = rng.choice(["full", "ring", "smooth"])
    if kind == "smooth":
        picture = np.exp(-np.log(2) * r**2)
    else:
        edge = rng.uniform(0.15, 0.5)
        picture = _step(1 - r, edge) * (1.0 if kind == "full" else rng.uniform(-0.8, 0.5))
        rim = np.exp(-(((r - 1) / rng.uniform(0.12, 0.35)) ** 2))
        picture = picture + rng.uniform(0.3, 1.2) * rim * (kind == "ring")
        picture = picture - rng.uniform(0, 0.8) * np.exp(-(((r - 1.4) / 0.3) ** 2))
    picture = picture - sheet.relief * sheet._slope(np.sqrt(np.clip(1 - r * r, 0, None)))
    sheet.value[where] += sheet.sign * sheet.amplitude * strength * picture


def _cocci(sheet: _Sheet, y: float, x: float) -> None:
    rng = sheet.rng
    count = int(rng.choice([1, 2, 3, 4, 5, 8, 16]))
    turn, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.55)
    bend, tight = rng.normal(0, 0.5), rng.uniform(1.7, 2.3)
    cluster = rng.random() < 0.4
    strength = rng.uniform(0.4, 1.4)
    for _ in range(count):
        _blob(sheet, y, x, radius, strength * rng.uniform(0.8, 1.2))
        turn = rng.uniform(0, 2 * np.pi) if cluster else turn + rng.normal(bend, 0.35)
        y, x = y + tight * radius * np.sin(turn), x + tight * radius * np.cos(turn)


def _debris(sheet: _Sheet, y: float, x: float) -> None:
    """An irregular piece with structure inside."""
    rng = sheet.rng
    radius = float(np.exp(rng.uniform(np.log(0.6), np.log(6))))
    where, dy, dx = sheet.window(y, x, 2 * radius + 1)
    around = np.arctan2(dy, dx)
    limit = np.full(around.shape, radius, np.float32)
    for order in range(2, 8):
        limit *= 1 + rng.uniform(0, 0.5 / order**0.5) * np.cos(order * around + rng.uniform(0, 6.3))
    inside = _step(limit - np.hypot(dy, dx), 0.4)
    grain = rng.standard_normal(inside.shape).astype(np.float32)
    width = rng.uniform(0.2, 0.8)
    grain = ndimage.gaussian_filter(grain, width / sheet.pitch) * (width / sheet.pitch) * 3.5
    picture = inside * (rng.uniform(-0.5, 0.8) + rng.uniform(0.2, 0.9) * grain)
    picture = picture - sheet.relief * sheet._slope(inside * (1 + 0.5 * grain))
    sheet.value[where] += sheet.sign * sheet.amplitude * rng.uniform(0.3, 1.5) * picture


def _cell(sheet: _Sheet, y: float, x: float) -> None:
    """A round cell of 6 to 13 µm with granules."""
    rng = sheet.rng
    radius = rng.uniform(3.2, 6.5)
    _blob(sheet, y, x, radius, rng.uniform(0.2, 0.9))
    for _ in range(rng.integers(0, 25)):
        away, turn = radius * np.sqrt(rng.uniform(0, 0.8)), rng.uniform(0, 2 * np.pi)
        place = y + away * np.sin(turn), x + away * np.cos(turn)
        _blob(sheet, *place, rng.uniform(0.2, 0.6), rng.uniform(-0.4, 0.9))
    if rng.random() < 0.6:
        place = y + rng.normal(0, 1), x + rng.normal(0, 1)
        _blob(sheet, *place, radius * rng.uniform(0.4, 0.6), rng.uniform(-0.5, 0.7))


def _coil(sheet: _Sheet, y: float, x: float) -> None:
    """A tail without a head: coiled, or loose."""
    rng = sheet.rng
    if rng.random() < 0.5:
        radius = rng.uniform(0.7, 3)
        curl = rng.choice([-1, 1]) / radius * rng.uniform(0.85, 1.1)
        length = rng.uniform(4, 30)
    else:
        curl, length = rng.normal(0, 0.08), rng.uniform(6, 45)
    path = _wander(rng, y, x, rng.uniform(0, 6.3), length, float(curl))
    sheet.curve(path, rng.uniform(0.25, 0.9), sheet.sign * sheet.amplitude * rng.uniform(0.15, 0.8))


def _edge(sheet: _Sheet, through: tuple[float, float] | None) -> None:
    """The border of a droplet, or a pipette, that passes by a place."""
    rng = sheet.rng
    height, width = sheet.size_um
    y, x = through or (rng.uniform(0, height), rng.uniform(0, width))
    turn = rng.uniform(0, 2 * np.pi)
    away = rng.uniform(2.5, 8)
    gy = np.arange(sheet.shape[0], dtype=np.float32)[:, None] * np.float32(sheet.pitch)
    gx = np.arange(sheet.shape[1], dtype=np.float32)[None] * np.float32(sheet.pitch)
    along = np.cos(turn) * (gx - x) + np.sin(turn) * (gy - y)
    across = np.cos(turn) * (gy - y) - np.sin(turn) * (gx - x) - away
    across = across + rng.uniform(0, 1.5) * np.sin(along / rng.uniform(5, 20) + rng.uniform(0, 6))
    across = across + rng.normal(0, 0.004) * along**2
    strength = rng.choice([-1, 1]) * np.exp(rng.uniform(np.log(0.05), np.log(0.5)))
    soft = rng.uniform(0.2, 1.5)
    if rng.random() < 0.55:
        sheet.value += np.float32(strength) * _step(across, soft)
    else:
        thick = rng.uniform(1.5, 12)
        tip = _step(along + rng.uniform(-5, 10), 0.6) if rng.random() < 0.7 else np.float32(1)
        wall = rng.uniform(0.3, 1.2)
        for side in (0, thick):
            sheet.value += strength * tip * np.exp(-(((across - side) / wall) ** 2))
        sheet.value += (
            strength
            * rng.uniform(-0.6, 0.9)
            * tip
            * _step(across, soft)
            * _step(thick - across, soft)
        )
    for _ in range(rng.integers(0, 3)):
        line = rng.uniform(0.2, 1.0), rng.uniform(-2, 2)
        sheet.value += (
            rng.uniform(-0.6, 0.6) * strength * np.exp(-(((across - line[1]) / line[0]) ** 2))
        )


def paint(seed: int, size_um: float = 46.0, *, uneven: bool = False) -> Painted:
    """Paint a field.

    Parameters
    ----------
    seed
        Of everything drawn.
    size_um
        Side of the field.
    uneven
        Whether the ground has a grain of a fifth to two thirds of the heads' contrast.
    """
    rng = np.random.default_rng([4713 if uneven else 4711, seed])
    sheet, pixel, finer = _empty(rng, size_um, 0.04)
    style = _Style.drawn(rng)
    height, width = sheet.size_um
    anywhere = lambda: (float(rng.uniform(-1, height + 1)), float(rng.uniform(-1, width + 1)))  # noqa: E731
    heads = int(rng.choice([0, 1, 2, 4, 7, 12, 22], p=[0.06, 0.14, 0.25, 0.25, 0.15, 0.1, 0.05]))
    apart = rng.choice([2.6, 3.2, 5.0], p=[0.25, 0.35, 0.4])
    tries = 0
    while len(sheet.heads) < heads and tries < 200:
        tries += 1
        y, x = anywhere()
        if all(np.hypot(y - h[0], x - h[1]) > apart for h in sheet.heads):
            _sperm(sheet, style, y, x)
    if sheet.heads and rng.random() < 0.3:  # a clump around one of them
        y, x, length, wide, angle = sheet.heads[rng.integers(len(sheet.heads))]
        for _ in range(rng.integers(1, 6)):
            turn = angle + rng.choice([np.pi / 2, -np.pi / 2, 0.0, rng.uniform(0, 6.3)])
            reach = rng.uniform(0.95, 1.25) * (wide if abs(np.sin(turn - angle)) > 0.7 else length)
            place = y + reach * np.sin(turn), x + reach * np.cos(turn)
            if all(np.hypot(place[0] - h[0], place[1] - h[1]) > 2.6 for h in sheet.heads):
                _sperm(sheet, style, *place, angle + rng.normal(0, 0.5))
    clear = lambda y, x, r: all(np.hypot(y - h[0], x - h[1]) > r + 2.0 for h in sheet.heads)  # noqa: E731
    for draw, most, share, radius in (
        (_cocci, 14, 0.6, 0.5),
        (_debris, 7, 0.55, 0.5),
        (_cell, 2, 0.25, 3.0),
        (_coil, 3, 0.45, 0.5),
    ):  # fmt: skip
        if rng.random() < share:
            for _ in range(rng.integers(1, most + 1)):
                y, x = anywhere()
                if clear(y, x, radius):
                    draw(sheet, y, x)
    if rng.random() < 0.5:
        for _ in range(rng.integers(1, 9)):
            y, x = anywhere()
            if clear(y, x, 2.0):
                size = float(np.exp(rng.uniform(np.log(0.4), np.log(3.2))))
                _blob(sheet, y, x, size, rng.uniform(0.3, 1.5))
    if rng.random() < 0.3:
        near = sheet.heads[0][:2] if sheet.heads and rng.random() < 0.7 else None
        _edge(sheet, near)
    if uneven:
        grain = rng.standard_normal(sheet.shape).astype(np.float32)
        grain = ndimage.gaussian_filter(grain, rng.uniform(0.2, 0.5) / sheet.pitch)
        sheet.value += grain * (sheet.amplitude * rng.uniform(0.2, 0.65) / float(grain.std()))
    pixels = _photographed(sheet, finer)
    return Painted(pixels, pixel, _placed(sheet, pixel, finer))


def paint_objects(seed: int, size_um: float = 46.0) -> Painted:
    """Paint a field of round objects alike, as beads, yeast or blood cells: apart or touching.

    Parameters
    ----------
    seed
        Of everything drawn.
    size_um
        Side of the field.
    """
    rng = np.random.default_rng([4712, seed])
    sheet, pixel, finer = _empty(rng, size_um, 0.25)
    size = float(np.exp(rng.uniform(np.log(3.0), np.log(14.0))))
    aspect = rng.choice([1.0, rng.uniform(1.0, 1.6), rng.uniform(1.6, 2.8)], p=[0.45, 0.35, 0.2])
    power = rng.choice([2.0, rng.uniform(2.0, 4.0)])
    edge, rim_width = rng.uniform(0.05, 0.3), rng.uniform(0.06, 0.25)
    body, rim, halo = rng.uniform(-0.6, 1), rng.uniform(0, 1.2), rng.choice([0, rng.uniform(0, 1)])
    middle = rng.uniform(-0.8, 0.8)
    gap = rng.choice([0.9, 1.0, 1.4, 2.5])
    count = int(min(rng.choice([1, 2, 5, 12, 40]), (1.1 * size_um / (gap * size)) ** 2))
    height, width = sheet.size_um
    for _ in range(6 * count):
        y, x = float(rng.uniform(0, height)), float(rng.uniform(0, width))
        if sheet.heads and rng.random() < 0.5 and gap < 1.2:
            near, turn = sheet.heads[rng.integers(len(sheet.heads))], rng.uniform(0, 2 * np.pi)
            y, x = near[0] + 1.02 * size * np.sin(turn), near[1] + 1.02 * size * np.cos(turn)
        if any(np.hypot(y - h[0], x - h[1]) < gap * size / aspect**0.5 for h in sheet.heads):
            continue
        own, turn = size * rng.uniform(0.88, 1.12), rng.uniform(0, np.pi)
        where, dy, dx = sheet.window(y, x, own + 1)
        u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
        r = (np.abs(u) ** power + np.abs(v * aspect) ** power) ** (1 / power) * 2 / own
        picture = body * _step(1 - r, edge) + rim * np.exp(-(((r - 0.95) / rim_width) ** 2))
        picture = picture + middle * np.exp(-3 * r**2)
        picture = picture - halo * np.exp(-(((r - 1.25) / 0.15) ** 2))
        picture = picture - 2 * sheet.relief * sheet._slope(np.sqrt(np.clip(1 - r * r, 0, None)))
        strength = sheet.sign * sheet.amplitude * np.exp(rng.normal(0, 0.2))
        sheet.value[where] += np.float32(strength) * picture
        sheet.heads.append((y, x, own, own / aspect, turn))
        if len(sheet.heads) == count:
            break
    for _ in range(rng.integers(0, 6)):
        y, x = float(rng.uniform(0, height)), float(rng.uniform(0, width))
        if all(np.hypot(y - h[0], x - h[1]) > 0.8 * size for h in sheet.heads):
            _blob(sheet, y, x, size * rng.uniform(0.05, 0.2), rng.uniform(0.3, 1.2))
    if rng.random() < 0.15:
        _edge(sheet, None)
    pixels, places = _photographed(sheet, finer), _placed(sheet, pixel, finer)
    if len(places) and rng.random() < 0.15:  # one of them fills the frame
        y, x, own, narrow, turn = places[rng.integers(len(places))]
        sin, cos = np.abs(np.sin(turn)), np.abs(np.cos(turn))
        extent = np.array([np.hypot(own * sin, narrow * cos), np.hypot(own * cos, narrow * sin)])
        half = np.maximum(extent / pixel * rng.uniform(0.5, 0.75, 2), 6)
        low = np.maximum(np.array([y, x]) - half, 0).astype(int)
        high = (np.array([y, x]) + half).astype(int)
        pixels = pixels[low[0] : high[0], low[1] : high[1]]
        places[:, :2] -= low
        inside = ((places[:, :2] >= 0) & (places[:, :2] < pixels.shape)).all(axis=1)
        places = places[inside]
    return Painted(pixels, pixel, places)


def _empty(rng: np.random.Generator, size_um: float, glowing: float) -> tuple[_Sheet, float, int]:
    """An empty sheet, the camera's pixel in µm, and sheet pixels per camera pixel.

    A share `glowing` of the sheets is dark, for fluorescence or dark field.
    """
    pixel = float(np.exp(rng.uniform(np.log(0.1), np.log(0.45))))
    finer = int(np.ceil(pixel / FINE_UM))
    side = int(size_um / pixel)
    relief = rng.choice([0.0, rng.uniform(0.1, 0.6), rng.uniform(0.5, 1.5)], p=[0.6, 0.2, 0.2])
    glows = rng.random() < glowing
    strengths = (0.5, 8.0) if glows else (0.07, 0.7)
    sheet = _Sheet(
        (side * finer, side * finer),
        pixel / finer,
        rng,
        amplitude=float(np.exp(rng.uniform(*np.log(strengths)))),
        sign=1.0 if glows else float(rng.choice([-1.0, 1.0], p=[0.78, 0.22])),
        relief=0.0 if glows else float(relief),
        shear=float(rng.uniform(0, 2 * np.pi)),
        level=float(rng.uniform(8, 40) if glows else rng.uniform(60, 190)),
    )
    return sheet, pixel, finer


def _photographed(sheet: _Sheet, finer: int) -> npt.NDArray[np.uint8]:
    """The sheet through optics and a camera."""
    rng = sheet.rng
    value = ndimage.gaussian_filter(
        sheet.value, float(np.exp(rng.uniform(np.log(0.1), np.log(0.45)))) / sheet.pitch
    )
    for share, widths, strengths in (
        (0.22, (0.25, 1.2), (0.005, 0.16)),  # grain, as relief contrast shows on glass
        (0.14, (0.2, 0.5), (0.06, 0.25)),
        (0.45, (1.0, 6.0), (0.002, 0.03)),  # clouds and streaks out of focus
    ):
        if rng.random() < share:
            width = rng.uniform(*widths) / sheet.pitch
            strength = float(np.exp(rng.uniform(*np.log(strengths))))
            white = rng.standard_normal(value.shape).astype(np.float32)
            longer = rng.permutation([1.0, rng.choice([1.0, rng.uniform(1, 4)])])
            grain = ndimage.gaussian_filter(white, width * longer)
            strength = min(strength, 0.8 * sheet.amplitude)
            value = value + grain * (strength / max(float(grain.std()), 1e-6))
    rows, columns = (n // finer for n in value.shape)
    image = value.reshape(rows, finer, columns, finer).mean(axis=(1, 3))
    gy, gx = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    shade = 1 + rng.uniform(-0.15, 0.15) * gy + rng.uniform(-0.15, 0.15) * gx
    level = sheet.level
    image = level * shade * np.maximum(1 + image, 0.02)
    noise = float(np.exp(rng.uniform(np.log(0.003), np.log(0.05))))
    noise = min(noise, 0.35 * sheet.amplitude)
    image = image + level * noise * rng.standard_normal(image.shape)
    if rng.random() < 0.35:
        image = ndimage.gaussian_filter(image, rng.uniform(0.4, 1.0))
    elif rng.random() < 0.2:
        image = image + rng.uniform(0.3, 1.0) * (image - ndimage.gaussian_filter(image, 1.5))
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, "JPEG", quality=int(rng.integers(55, 96)))
        pixels = np.asarray(Image.open(packed))
    return pixels


def _placed(sheet: _Sheet, pixel: float, finer: int) -> Array:
    """The objects with places in camera pixels."""
    places = np.array(sheet.heads, np.float64).reshape(-1, 5)
    places[:, :2] = places[:, :2] / pixel - 0.5 + 0.5 / finer
    return places
