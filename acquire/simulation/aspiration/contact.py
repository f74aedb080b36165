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
    head that meets the rim turns the cell, and it slides on. The deepest contact comes first. In
    the bore the head is only pushed: its tail is soft, and follows. So are tails at the glass.

    Parameters
    ----------
    body
        Shape of the cells.
    place_um, axis
        (M, 3) centres of the heads, and unit vectors towards their tips; both are changed.
    mouth
        The pipette, if there is one.
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
        depth[inside, own:] = -1.0
        on_dish |= (depth[:, :own] > -_NEAR_UM).any(axis=1)
        heads = balls[:, :own]
        if mouth is not None and (mouth.ahead(heads) < reach).any():
            into, normal = _into_glass(body.radii_um[:own], heads, place_um, mouth, inside)
            on_glass |= (into > -_NEAR_UM).any(axis=1)
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
        arm = np.where(inside, 0.0, lever[ball])
        across = away - np.einsum("ni,ni->n", away, axis)[:, None] * axis
        yields = 1 + arm**2 * np.einsum("ni,ni->n", across, across) / body.square_um2
        force = (push / yields)[:, None]
        centre = place_um + body.centre_um * axis + force * away
        axis += force * across * (arm / body.square_um2)[:, None]
        axis /= np.linalg.norm(axis, axis=1)[:, None]
        place_um[:] = centre - body.centre_um * axis
    return on_dish, on_glass


def _into_glass(
    radii_um: Array, balls: Array, place_um: Array, mouth: Mouth, inside: Array
) -> tuple[Array, Array]:
    """Depth (M, B) of balls in the glass, and directions (M, B, 3) out of it.

    Balls of a head in the bore meet its wall alone, those of one beside the pipette find no bore.
    """
    ahead, aside, radius = mouth.along(balls)
    distance, along, outward = mouth.gap(ahead, radius)
    behind, wide = ahead < 0, mouth.slope * np.minimum(ahead, 0.0)
    bore = inside[:, None] & behind
    beside = (~inside & (mouth.ahead(place_um) < 0))[:, None] & behind
    distance = np.where(bore, mouth.inner_um - wide - radius, distance)
    distance = np.where(beside, radius - mouth.outer_um + wide, distance)
    along = np.where(bore | beside, 0.0, along)
    outward = np.where(bore, -1.0, np.where(beside, 1.0, outward))
    out = aside / np.where(radius > 0, radius, 1.0)[..., None]
    return radii_um - distance, along[..., None] * mouth.axis + outward[..., None] * out
