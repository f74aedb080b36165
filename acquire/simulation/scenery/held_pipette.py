"""The micropipette in its manipulator: its image at any place, depth and focus of the drive.

The end of the glass is imaged as other objects are (`waves`); the shaft behind it, far too long for
that, by its profile across at the depth of each part. Both are cut from the same glass. The images
for one depth are kept, and shifted by parts of a pixel, so that a frame costs little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.acquire.simulation.cache import kept
from fgaf.acquire.simulation.scenery.glass_line import FARTHEST_UM, GlassLine
from fgaf.acquire.simulation.scenery.pipette import cut_glass
from fgaf.acquire.simulation.waves import Patch, Slices, WaveImager

Array = npt.NDArray[Any]
Vector = tuple[float, float, float]
"""y, x, z in µm of the specimen."""

_END_UM = 45.0
_JOIN_UM = 6.0
_NEAR_UM, _GONE_UM = 8.0, 12.0
_SAME = 1e-3
_LENGTH_STEP_UM = 25.0
_WIDEST_UM = 45.0
_EDGE_UM = 0.3
_RIM_UM = 8.0
_TAPS = 3
_STILL_PX = 1e-3
_KEPT = 48
_MOST_PARTS = 6
_FAR = np.concatenate([np.arange(_GONE_UM + 1, 40), np.arange(40, FARTHEST_UM + 1, 4)])
_DEPTHS = np.concatenate([-_FAR[::-1], np.arange(-_GONE_UM, _GONE_UM + 0.1, 0.25), _FAR])
"""Drive positions over the focus, µm, whose images are computed; between them they are mixed."""


class HeldPipette:
    """A bent micropipette of glass: the tip, and behind it the rising shaft.

    Parameters
    ----------
    settings
        Its form.
    imager
        Images its end, and gives the microscope.
    shape
        (Y, X) pixels of the frame.
    """

    def __init__(
        self, settings: AspirationSettings, imager: WaveImager, shape: tuple[int, int]
    ) -> None:
        self.settings, self._imager, self._shape = settings, imager, shape
        self._scope = imager.microscope
        self._pixel = imager.pixel_um
        lean = math.radians(settings.lean_deg)
        self._cos, self._sin = math.cos(lean), math.sin(lean)
        self._outer, self._inner = settings.outer_diameter_um / 2, settings.inner_diameter_um / 2
        self._patch = kept(self._make_patch, _KEPT)

    @property
    def yaw(self) -> float:
        """Direction of the tip in the image."""
        return math.pi + math.radians(self.settings.lean_deg)

    def multiply(self, image: Array, focus_um: float, tips: Sequence[Vector]) -> None:
        """Apply the pipette to a relative intensity, in place.

        Parameters
        ----------
        image
            (Y, X) relative intensity; it is changed.
        focus_um
            Drive position, µm.
        tips
            Places of the tip's end in parts of the exposure: y and x from the frame's first pixel,
            z from where the drive is at 0. Neighbouring places of less than a pixel are one.
        """
        parts = [self._at(focus_um, tip) for tip in self._distinct(tips) if self._is_near(tip)]
        if not parts:
            return
        top = min(part.top for part in parts)
        left = min(part.left for part in parts)
        bottom = max(part.top + part.intensity.shape[0] for part in parts)
        right = max(part.left + part.intensity.shape[1] for part in parts)
        seen = parts[0].intensity
        if len(parts) > 1:
            seen = np.zeros((bottom - top, right - left), np.float32)
            for part in parts:
                y, x = part.top - top, part.left - left
                height, width = part.intensity.shape
                seen[y : y + height, x : x + width] += part.intensity - 1
            seen = 1 + seen / np.float32(len(parts))
        rows = slice(max(top, 0), min(bottom, image.shape[0]))
        columns = slice(max(left, 0), min(right, image.shape[1]))
        if rows.start < rows.stop and columns.start < columns.stop:
            image[rows, columns] *= seen[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]

    def _distinct(self, tips: Sequence[Vector]) -> Sequence[Vector]:
        """The middle place, or a few evenly spaced ones when the tip moves by over a pixel."""
        away = math.dist(tips[0], tips[-1])
        count = min(math.ceil(away / self._pixel), _MOST_PARTS, len(tips))
        if count <= 1:
            return (tips[len(tips) // 2],)
        return [tips[(2 * part + 1) * len(tips) // (2 * count)] for part in range(count)]

    def _is_near(self, tip: Vector) -> bool:
        """Whether a part of it may be in the frame."""
        length = self._length(tip)
        return all(
            min(at, at + turn * length) < side * self._pixel + _WIDEST_UM
            and max(at, at + turn * length) > -_WIDEST_UM
            for at, turn, side in zip(tip[:2], (self._sin, self._cos), self._shape, strict=True)
        )

    def _at(self, focus_um: float, tip: Vector) -> Patch:
        """Its image with the tip at a place."""
        depth = focus_um - tip[2] * self._scope.settings.reduction
        index = float(np.interp(depth, _DEPTHS, np.arange(len(_DEPTHS))))
        below, part = math.floor(index), index % 1
        y, x, length = tip[0] / self._pixel, tip[1] / self._pixel, self._length(tip)
        seen = self._patch(below, length)
        if part > _SAME:
            above = self._patch(below + 1, length)
            mixed = above.intensity - seen.intensity
            mixed *= np.float32(part)
            mixed += seen.intensity
            seen = Patch(seen.top, seen.left, mixed)
        top, left = math.floor(y), math.floor(x)
        moved = _shifted(seen, y - top, x - left)
        return Patch(moved.top + top, moved.left + left, moved.intensity)

    def _length(self, tip: Vector) -> float:
        """Length of the part in the frame, in steps, with a margin."""
        rows, columns = (side * self._pixel for side in self._shape)
        ways = [
            ((edge - at) / turn if turn else math.inf)
            for at, turn, edge in (
                (tip[0], self._sin, rows if self._sin > 0 else 0.0),
                (tip[1], self._cos, columns if self._cos > 0 else 0.0),
            )
        ]
        longest = max(0.0, min(min(ways), math.hypot(rows, columns)))
        widest = _WIDEST_UM * abs(self._sin / self._cos) if self._cos else 0.0
        margin = min(widest, _WIDEST_UM)
        return _LENGTH_STEP_UM * math.ceil((longest + margin) / _LENGTH_STEP_UM + 0.1)

    def _make_patch(self, number: int, length_um: float) -> Patch:
        """Image with the tip's end at a pixel's centre, at a depth of the list."""
        depth_um = float(_DEPTHS[number])
        reach = self._reach(length_um)
        ends = [(0.0, 0.0), (length_um * self._sin, length_um * self._cos)]
        y0, x0 = (math.floor((min(at) - reach) / self._pixel) for at in zip(*ends, strict=True))
        y1, x1 = (math.ceil((max(at) + reach) / self._pixel) for at in zip(*ends, strict=True))
        y = np.arange(y0, y1 + 1, dtype=np.float32)[:, None] * np.float32(self._pixel)
        x = np.arange(x0, x1 + 1, dtype=np.float32)[None, :] * np.float32(self._pixel)
        aside, behind = self._along(y, x)
        value = self._shaft(depth_um, aside, behind, reach, length_um)
        weight = float(np.clip((_GONE_UM - abs(depth_um)) / (_GONE_UM - _NEAR_UM), 0, 1))
        if weight:
            self._join_end(value, behind, depth_um, (y0, x0), weight)
        return Patch(y0, x0, value)

    def _reach(self, length_um: float) -> float:
        """Distance from the axis at which nothing is seen."""
        rise = float(np.abs(self._rise(np.array([0.0, length_um]))).max())
        away = _GONE_UM + rise * self._scope.settings.reduction
        return min(self._outer + self._scope.spread_um(away) + 4, _WIDEST_UM)

    def _shaft(
        self, depth_um: float, aside: Array, behind: Array, reach: float, length_um: float
    ) -> Array:
        """Image of the shaft alone, which ends softly at the tip."""
        from scipy.ndimage import map_coordinates

        line = self._line
        half = math.ceil(reach / line.pitch_um)
        middle = round(-line.first_um / line.pitch_um)
        depths = self._depth(depth_um, np.clip(behind, 0, length_um))
        first, last = np.searchsorted(_DEPTHS, (depths.min() + _SAME, depths.max() - _SAME))
        first, last = max(first - 1, 0), max(min(last, len(_DEPTHS) - 1), first)
        table = np.stack(
            [
                line.profile(float(each))[middle - half : middle + half + 1]
                for each in _DEPTHS[first : last + 1]
            ]
        )
        rim = np.clip((reach - np.abs(np.arange(-half, half + 1)) * line.pitch_um) / _RIM_UM, 0, 1)
        table = (table - 1) * rim.astype(np.float32)
        row = np.interp(depths, _DEPTHS, np.arange(len(_DEPTHS))).astype(np.float32) - first
        if self.settings.slope:
            aside = aside / (1 + self.settings.slope * np.maximum(behind, 0) / self._outer)
        across = aside / np.float32(line.pitch_um) + np.float32(half)
        seen: Array = map_coordinates(
            table, [row, across], output=np.float32, order=1, mode="constant", cval=0.0
        )
        soft = _EDGE_UM + 0.35 * self._scope.marginal_slope * abs(depth_um)
        seen *= 1 / (1 + np.exp(-4 * np.clip(behind / np.float32(2 * soft), -10, 10)))
        return seen + np.float32(1)

    def _join_end(
        self, value: Array, behind: Array, depth_um: float, corner: tuple[int, int], weight: float
    ) -> None:
        """Replace the last part of the shaft by the image of the end, in place."""
        slices = self._end
        patch = self._imager.image(slices, 0.0, 0.0, depth_um, keep=True)
        far = max(abs(slices.top_um - depth_um), abs(slices.bottom_um - depth_um))
        clear = _END_UM - self._scope.spread_um(far) - _JOIN_UM - 1
        y, x = patch.top - corner[0], patch.left - corner[1]
        rows = slice(max(y, 0), min(y + patch.intensity.shape[0], value.shape[0]))
        columns = slice(max(x, 0), min(x + patch.intensity.shape[1], value.shape[1]))
        end = patch.intensity[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        part = value[rows, columns]
        share = weight * np.clip((clear - behind[rows, columns]) / _JOIN_UM, 0, 1)
        part += share * (end - part)

    def _along(self, y: Array, x: Array) -> tuple[Array, Array]:
        sin, cos = np.float32(self._sin), np.float32(self._cos)
        return y * cos - x * sin, x * cos + y * sin

    def _rise(self, behind: Array) -> Array:
        """Height of the axis over that of the mouth, µm of the specimen."""
        s = self.settings
        tip, shaft = (
            math.tan(math.radians(each))
            for each in (s.shaft_angle_deg - s.bend_deg, s.shaft_angle_deg)
        )
        bent: Array = np.where(
            behind < s.straight_um,
            tip * np.maximum(behind, 0),
            tip * s.straight_um + shaft * (behind - s.straight_um),
        )
        return bent

    def _depth(self, depth_um: float, behind: Array) -> Array:
        """Drive position less the focus of the axis, along the pipette."""
        away = depth_um - self._rise(behind) * self._scope.settings.reduction
        return np.clip(away, -FARTHEST_UM, FARTHEST_UM)

    @cached_property
    def _line(self) -> GlassLine:
        pitch = self._scope.settings.raster_um
        y = np.arange(-self._outer - 1, self._outer + 1, pitch)
        aside = y[:, None]
        one = np.ones_like(aside)
        slices = cut_glass(
            self._scope.settings,
            y,
            np.zeros(1),
            aside,
            self._outer * one,
            self._inner * one,
            one,
            self._outer,
        )
        return GlassLine(slices, self._scope, (self._cos, -self._sin))

    @cached_property
    def _end(self) -> Slices:
        """The last part of the glass; the mouth is cut square."""
        s, pitch = self._scope.settings, self._scope.settings.raster_um
        wide = self._outer + self.settings.slope * _END_UM + 1
        far_y, far_x = _END_UM * self._sin, _END_UM * self._cos
        y = np.arange(min(0.0, far_y) - wide, max(0.0, far_y) + wide, pitch)
        x = np.arange(min(0.0, far_x) - wide, max(0.0, far_x) + wide, pitch)
        aside, behind = self._along(y[:, None], x[None, :])
        grown = self.settings.slope * np.maximum(behind, 0)
        end = np.clip(behind / _EDGE_UM + 0.5, 0, 1) * np.clip(_END_UM - behind, 0, 1)
        rise = self._rise(np.clip(behind, 0, _END_UM))
        return cut_glass(
            s,
            y,
            x,
            aside,
            self._outer + grown,
            self._inner + grown,
            end,
            wide - 1 + float(rise.max()),
            rise,
        )


def _shifted(patch: Patch, y: float, x: float) -> Patch:
    """Move an image by less than a pixel, downwards and to the right (Lanczos, six taps)."""
    image, cut = patch.intensity, [0, 0]
    for axis, part in enumerate((y, x)):
        if part < _STILL_PX:
            continue
        taps = np.arange(1 - _TAPS, _TAPS + 1)
        weights = np.sinc(taps - part) * np.sinc((taps - part) / _TAPS)
        weights = (weights / weights.sum()).astype(np.float32)
        side = image.shape[axis] - 2 * _TAPS + 1
        firsts = [slice(_TAPS - tap, _TAPS - tap + side) for tap in taps]
        pieces = [image[each] if axis == 0 else image[:, each] for each in firsts]
        image, room = pieces[0] * weights[0], np.empty_like(pieces[0])
        for piece, weight in zip(pieces[1:], weights[1:], strict=True):
            image += np.multiply(piece, weight, out=room)
        cut[axis] = _TAPS
    return Patch(patch.top + cut[0], patch.left + cut[1], image)
