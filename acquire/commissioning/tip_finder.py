"""Finds the tip of a micropipette in an image: two long straight walls that end.

The walls are the longest straight lines of a field. Their direction and place come from a Hough
transform, and the end from the darkness of the walls along them: cells around them are short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_FINE_PX, _GROUND_PX, _WIDE_PX = 1.0, 12.0, 4.0
_EDGE, _LEAST_WALL = 5.0, 12.0
_MOST_EDGES = 40_000
_ANGLES = 720
_HALF_PX, _LEAST_LENGTH_PX = 150, 50
_LEAST_WIDTH_PX, _WALL = 12, 0.35
_LEAST_FILL = 0.6
_RIM_PX = 12
_SHADE, _ROUNDS = 0.9, 3

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tip:
    """The tip of a micropipette in an image.

    Attributes
    ----------
    x_px, y_px
        Middle of the end of the glass.
    yaw
        Direction in which it points, from +x towards +y, rad.
    strength
        Mean contrast of the walls, in noise of the image.
    """

    x_px: float
    y_px: float
    yaw: float
    strength: float


def find_tip(image: Array) -> Tip | None:
    """Find the tip; None where no two long walls end in the image.

    Parameters
    ----------
    image
        (Y, X) grey values.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.transform import hough_line, hough_line_peaks

    picture = image.astype(np.float32)
    detail = gaussian_filter(picture, _FINE_PX) - gaussian_filter(picture, _GROUND_PX)
    noise = 1.4826 * float(np.median(np.abs(detail - np.median(detail))))
    dark = np.maximum(-detail, 0) / max(noise, 1e-6)
    edges = dark > max(_EDGE, float(np.quantile(dark, 1 - min(_MOST_EDGES / dark.size, 0.5))))
    angles = np.linspace(-np.pi / 2, np.pi / 2, _ANGLES, endpoint=False)
    votes, normals, distances = hough_line(edges, theta=angles)  # type: ignore[no-untyped-call]
    found = None
    _, peaks, places = hough_line_peaks(  # type: ignore[no-untyped-call]
        votes, normals, distances, num_peaks=3, threshold=_LEAST_LENGTH_PX
    )
    for normal, distance in zip(peaks, places, strict=True):
        for turned in (normal + np.pi / 2, normal - np.pi / 2):
            tip = _end(picture, dark, float(turned), (float(normal), float(distance)))
            if tip is not None and (found is None or tip.strength > found.strength):
                found = tip
    return found


def contrast(image: Array) -> float:
    """Contrast of what is some µm wide: it tells a plane near objects from one far off.

    Parameters
    ----------
    image
        (Y, X) grey values.
    """
    from scipy.ndimage import gaussian_filter

    picture = image.astype(np.float32)
    wide = gaussian_filter(picture, _WIDE_PX) - gaussian_filter(picture, 4 * _WIDE_PX)
    return float(wide.std() / max(float(picture.mean()), 1.0))


def end_sharpness(image: Array, tip: Tip) -> float:
    """Sharpness of the end of the glass: mean square of the gradient along the pipette.

    It is largest in focus, where that of the walls, which act as lenses, is not.

    Parameters
    ----------
    image
        (Y, X) grey values.
    tip
        Where the end is.
    """
    along = np.arange(-_RIM_PX, _RIM_PX + 1.0)
    aside = np.arange(-30, 31.0)
    part = _straight(image.astype(np.float32), tip, along, aside)
    return float(np.mean(np.square(np.gradient(part, axis=1))) / max(float(part.mean()), 1.0) ** 2)


def _end(picture: Array, dark: Array, yaw: float, line: tuple[float, float]) -> Tip | None:
    """The end, in direction `yaw`, of the walls at a line; its mean contrast."""
    rows, columns = dark.shape
    (normal, distance), reach = line, float(np.hypot(rows, columns))
    foot = distance * math.cos(normal), distance * math.sin(normal)
    middle = (columns / 2 - foot[0]) * math.cos(yaw) + (rows / 2 - foot[1]) * math.sin(yaw)
    origin = Tip(foot[0] + middle * math.cos(yaw), foot[1] + middle * math.sin(yaw), yaw, 0.0)
    along = np.arange(-reach / 2, reach / 2)
    aside = np.arange(-_HALF_PX, _HALF_PX + 1.0)
    band = _straight(dark, origin, along, aside)
    seen = _straight(np.ones_like(dark), origin, along, aside)[_HALF_PX] > 0.5
    if not seen.any():
        return None
    wall = band[_HALF_PX - 2 : _HALF_PX + 3].max(axis=0)
    filled = np.convolve(wall > _EDGE, np.ones(31) / 31, "same") > _LEAST_FILL
    (there,) = np.nonzero(filled & seen)
    if there.size < _LEAST_LENGTH_PX:
        return None
    last = int(there[-1])
    if not seen[min(last + 2 * _RIM_PX, len(seen) - 1)]:
        return None
    profile = band[:, max(last - 90, 0) : last - 15].mean(axis=1)
    centre, spread = _walls(profile)
    if spread is None:
        return None
    low, high = round(_HALF_PX + centre - spread), round(_HALF_PX + centre + spread)
    if high - low < _LEAST_WIDTH_PX:
        return None
    thick = max(4, (high - low) // 6)
    level = np.minimum(band[low : low + thick].max(axis=0), band[high - thick : high].max(axis=0))
    plateau = float(np.median(level[max(last - 90, 0) : last - 15]))
    (walled,) = np.nonzero(level[: last + 40] > plateau / 2)
    if not walled.size or plateau < _LEAST_WALL:
        return None
    at = int(walled[-1])
    far, near = (
        _walls(band[:, max(at - back, 0) : max(at - back + 40, 1)].mean(axis=1))
        for back in (100, 50)
    )
    if far[1] is None or near[1] is None:
        return None
    slope = (near[0] - far[0]) / 50
    centre = near[0] + 30 * slope
    found = Tip(
        float(origin.x_px + along[at] * math.cos(yaw) - centre * math.sin(yaw)),
        float(origin.y_px + along[at] * math.sin(yaw) + centre * math.cos(yaw)),
        yaw + math.atan(slope),
        plateau,
    )
    return _centred(picture, found, 0.45 * spread)


def _centred(picture: Array, tip: Tip, bore_px: float) -> Tip:
    """The tip in the middle of the dark band across the bore that its end makes."""
    along = np.arange(-2 * _RIM_PX, 2 * _RIM_PX + 1.0)
    aside = np.arange(-round(bore_px), round(bore_px) + 1.0)
    for _ in range(_ROUNDS):
        profile = _straight(picture, tip, along, aside).mean(axis=0)
        ground = float(np.median(np.concatenate([profile[:_RIM_PX], profile[-_RIM_PX:]])))
        near = np.abs(along) <= _RIM_PX
        rim = np.maximum(_SHADE * ground - profile[near], 0)
        if not rim.any():
            return tip
        move = float(rim @ along[near] / rim.sum())
        tip = Tip(
            tip.x_px + move * math.cos(tip.yaw),
            tip.y_px + move * math.sin(tip.yaw),
            tip.yaw,
            tip.strength,
        )
    return tip


def _walls(profile: Array) -> tuple[float, float | None]:
    """Middle of the two walls in the darkness across them, and half their outer distance."""
    least = _WALL * float(profile.max())
    (dark,) = np.nonzero(profile > least)
    if not dark.size or dark[0] == 0 or dark[-1] == len(profile) - 1:
        return 0.0, None
    ends = []
    for inner, step in ((int(dark[0]), -1), (int(dark[-1]), 1)):
        fall = float(profile[inner] - profile[inner + step])
        ends.append(inner + step * (float(profile[inner]) - least) / max(fall, 1e-6))
    return sum(ends) / 2 - _HALF_PX, (ends[1] - ends[0]) / 2


def _straight(image: Array, tip: Tip, along: Array, aside: Array) -> Array:
    """The image around a place, (aside, along) its direction; 0 outside."""
    from scipy.ndimage import map_coordinates

    cos, sin = math.cos(tip.yaw), math.sin(tip.yaw)
    y = tip.y_px + along * sin + aside[:, None] * cos
    x = tip.x_px + along * cos - aside[:, None] * sin
    straight: Array = map_coordinates(image, [y, x], order=1, mode="constant", cval=0.0)
    return straight
