"""The outline of a sperm's head as the image plane shows it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.sperm import Sperm, body_axes
from fgaf.acquire.simulation.swimming import Pose

_STEP_UM: Final = 0.1
_LAYERS: Final = 12
"""Layers in the thickness of a head."""
_TOLERANCE_UM: Final = 0.005
_THINNINGS: Final = 3


def silhouette(body: Sperm, pose: Pose) -> npt.NDArray[Any]:
    """Outline of the head, or of both of a twin, projected along z.

    The border is where the head's index has risen to half. Midpiece, flagellum and lumps of
    cytoplasm do not belong to the head. The outline is exact to about 0.01 µm.

    Parameters
    ----------
    body
        The sperm.
    pose
        Orientation of its head; its position is not used.

    Returns
    -------
    (N, 2)
        Corners (y, x) in µm from the centre of the head's phase; (0, 2) without a head.
    """
    from skimage.measure import find_contours

    if body.headless:
        return np.zeros((0, 2))
    axes = body_axes(pose.yaw, pose.pitch, pose.roll)
    reach, centre = body.reach(axes), np.array(body.centre) @ axes
    x, y = (
        np.arange(-at - half - _STEP_UM, -at + half + 2 * _STEP_UM, _STEP_UM, dtype=np.float32)
        for at, half in zip(centre[:2], reach[:2], strict=True)
    )
    layers = int(np.ceil(2 * reach[2] / (body.thickness / _LAYERS)))
    z = ((np.arange(layers) + 0.5) / layers * 2 - 1) * reach[2] - centre[2]
    place = [
        (x * np.float32(axis[0]))[None, None, :]
        + (y * np.float32(axis[1]))[None, :, None]
        + (z * axis[2] + offset).astype(np.float32)[:, None, None]
        for axis, offset in zip(axes, body.centre, strict=True)
    ]
    nearest = body.radius(*place).min(axis=0)
    contours = find_contours(nearest, 1.0)  # type: ignore[no-untyped-call]
    outline = max(contours, key=len) * _STEP_UM + (y[0], x[0])
    outline = outline[:-1]
    for _ in range(_THINNINGS):
        outline = _thinned(outline)
    return np.asarray(outline)


def _thinned(outline: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Take out every second corner that lies on the line through its neighbours."""
    corners = outline[1 : len(outline) // 2 * 2 : 2]
    before = outline[0 : 2 * len(corners) : 2]
    chord = np.roll(outline, -2, axis=0)[0 : 2 * len(corners) : 2] - before
    away = corners - before
    distance = np.abs(chord[:, 0] * away[:, 1] - chord[:, 1] * away[:, 0])
    keep = np.ones(len(outline), np.bool_)
    keep[1 : 2 * len(corners) : 2] = distance > _TOLERANCE_UM * np.linalg.norm(chord, axis=1)
    return np.asarray(outline[keep])
