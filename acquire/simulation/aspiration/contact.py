"""Contact of cells with the dish and the glass: they are pushed out, and slide along."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.body import Body
from fgaf.acquire.simulation.aspiration.mouth import Mouth

Array = npt.NDArray[Any]

_SWEEPS = 6
_PUSHED_UM, _NEAR_UM = 1e-6, 0.05


def push_out(
    body: Body, place_um: Array, axis: Array, mouth: Mouth | None, inside: Array
) -> tuple[Array, Array]:
    """Move and turn cells out of the dish and the glass, in place.

    A push acts on the centre of the drag and turns the body as a force without friction does: a
    head that meets the rim turns the cell, and it slides on. The deepest contact comes first.

    Parameters
    ----------
    body
        Shape of the cells.
    place_um, axis
        (M, 3) centres of the heads, and unit vectors towards their tips; both are changed.
    mouth
        The pipette, if there is one. Tails are soft and bend around the glass outside it, but stay
        in the bore behind a head that is there.
    inside
        (M,) whether the head is in the bore.

    Returns
    -------
    dish, glass
        (M,) whether the head touched, or was as near as 50 nm.
    """
    on_dish, on_glass = np.zeros(len(place_um), bool), np.zeros(len(place_um), bool)
    lever = body.balls_um - body.centre_um
    own, rows = body.head_balls, np.arange(len(place_um))
    reach = body.radii_um.max() + _NEAR_UM
    for _ in range(_SWEEPS):
        balls = place_um[:, None, :] + body.balls_um[:, None] * axis[:, None, :]
        depth, normal = body.radii_um - balls[..., 2], None
        on_dish |= (depth[:, :own] > -_NEAR_UM).any(axis=1)
        if mouth is not None and (mouth.ahead(balls) < reach).any():
            beside = ~inside & (mouth.ahead(place_um) < 0)
            into, normal = _into_glass(body, balls, mouth, inside, beside)
            on_glass |= (into[:, :own] > -_NEAR_UM).any(axis=1)
            depth = np.concatenate([depth, into], axis=1)
        deepest = depth.argmax(axis=1)
        push = depth[rows, deepest]
        if not (push > _PUSHED_UM).any():
            break
        push = np.maximum(push, 0.0)
        ball = deepest % len(lever)
        away = np.zeros_like(place_um)
        away[:, 2] = 1.0
        if normal is not None:
            glass = deepest >= len(lever)
            away[glass] = normal[rows[glass], ball[glass]]
        arm = lever[ball]
        across = away - np.einsum("ni,ni->n", away, axis)[:, None] * axis
        yields = 1 + arm**2 * np.einsum("ni,ni->n", across, across) / body.square_um2
        force = (push / yields)[:, None]
        centre = place_um + body.centre_um * axis + force * away
        axis += force * across * (arm / body.square_um2)[:, None]
        axis /= np.linalg.norm(axis, axis=1)[:, None]
        place_um[:] = centre - body.centre_um * axis
    return on_dish, on_glass


def _into_glass(
    body: Body, balls: Array, mouth: Mouth, inside: Array, beside: Array
) -> tuple[Array, Array]:
    """Depth (M, B) of balls in the glass, and directions (M, B, 3) out of it.

    Cells `beside` the pipette find no bore in it.
    """
    ahead, aside, radius = mouth.along(balls)
    distance, along, outward = mouth.gap(ahead, radius)
    if beside.any():
        outer = radius[beside] - mouth.outer_um + mouth.slope * np.minimum(ahead[beside], 0.0)
        distance[beside], along[beside], outward[beside] = outer, 0.0, 1.0
    depth = body.radii_um - distance
    out = aside / np.where(radius > 0, radius, 1.0)[..., None]
    normal = along[..., None] * mouth.axis + outward[..., None] * out
    tails = slice(body.head_balls, None)
    wall = mouth.inner_um - mouth.slope * np.minimum(ahead[:, tails], 0.0)
    held = inside[:, None] & (ahead[:, tails] < 0)
    depth[:, tails] = np.where(held, radius[:, tails] + body.radii_um[tails] - wall, -1.0)
    normal[:, tails] = -out[:, tails]
    return depth, normal
