"""Clumps of sperm: where the heads of a group lie, and which way they point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SIDE_BY_SIDE_UM = 3.2
"""Distance of the centres of two heads that lie side by side."""

Place = tuple[float, float, float]
"""(y, x) in µm from the centre of the clump, and yaw."""


def side_by_side(rng: np.random.Generator) -> list[Place]:
    """Two heads that touch along their sides and point the same way."""
    yaw, shift = float(rng.uniform(0, 2 * np.pi)), float(rng.normal(0, 0.4))
    half = SIDE_BY_SIDE_UM / 2
    return [
        (
            side * half * float(np.cos(yaw)) + side * shift / 2 * float(np.sin(yaw)),
            -side * half * float(np.sin(yaw)) + side * shift / 2 * float(np.cos(yaw)),
            yaw + float(rng.normal(0, 0.1)),
        )
        for side in (-1, 1)
    ]


def end_to_end(rng: np.random.Generator) -> list[Place]:
    """Two heads whose tips touch."""
    yaw, half = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(2.2, 2.6))
    lean = rng.normal(0, 0.15, 2)
    return [
        (-half * float(np.sin(turn)), -half * float(np.cos(turn)), turn)
        for turn in (yaw + float(lean[0]), yaw + np.pi + float(lean[1]))
    ]


def rosette(rng: np.random.Generator) -> list[Place]:
    """Three to eight heads that touch, tips inwards, in a circle or a part of one."""
    count = int(rng.integers(3, 9))
    span = 2 * np.pi if rng.uniform() < 0.6 else float(rng.uniform(0.5, 0.8)) * 2 * np.pi
    radius = max(2.5, 2.9 * count / span)
    first = float(rng.uniform(0, 2 * np.pi))
    angles = first + span * (np.arange(count) + rng.normal(0, 0.06, count)) / count
    return [
        (
            radius * float(np.sin(angle)),
            radius * float(np.cos(angle)),
            float(angle + np.pi + rng.normal(0, 0.12)),
        )
        for angle in angles
    ]


def agglutinate(rng: np.random.Generator) -> list[Place]:
    """Four to twelve heads in a heap, 2.6 to 5 µm from the nearest, pointing anywhere."""
    count, places = int(rng.integers(4, 13)), [(0.0, 0.0)]
    while len(places) < count:
        angle, away = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(2.6, 5.0))
        y, x = places[int(rng.integers(len(places)))]
        new = (y + away * float(np.sin(angle)), x + away * float(np.cos(angle)))
        if min(np.hypot(new[0] - other[0], new[1] - other[1]) for other in places) >= 2.6:
            places.append(new)
    return [(y, x, float(rng.uniform(0, 2 * np.pi))) for y, x in places]


CLUMPS: dict[str, Callable[[np.random.Generator], list[Place]]] = {
    "pairs": side_by_side,
    "end_pairs": end_to_end,
    "rosettes": rosette,
    "agglutinates": agglutinate,
}
"""Layouts by the name of the setting that counts them."""
