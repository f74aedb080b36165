"""A population of sperm: the distributions of size, shape and index that cells draw from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fgaf.acquire.simulation.settings import SpermSettings
from fgaf.acquire.simulation.sperm import Sperm


def draw_sperm(
    rng: np.random.Generator, motile: bool, settings: SpermSettings | None = None
) -> Sperm:
    """A random cell from the distribution of sizes, shapes and indices of human sperm.

    Dead cells do not beat: their flagellum is straighter, and does not move.

    Parameters
    ----------
    rng
        Draws sizes and shape.
    motile
        Whether it swims.
    settings
        Strength, loss and shares of abnormal cells; by default those of `SpermSettings`. They do
        not change what is drawn else.
    """
    length = float(np.clip(rng.normal(4.7, 0.45), 3.6, 6.0))
    width = float(np.clip(rng.normal(3.0, 0.32), 2.2, 3.9))
    thickness = float(np.clip(rng.normal(1.1, 0.17), 0.7, 1.6))
    nucleus = float(np.clip(rng.normal(0.068, 0.014), 0.045, 0.105))
    half = np.array([length, width, thickness]) / 2
    marks = []
    for count, size, step in (
        (int(rng.choice(4, p=(0.25, 0.4, 0.25, 0.1))), (0.2, 0.5), (-0.9, -0.4)),
        (int(rng.integers(2, 6)), (0.35, 0.7), (-0.3, 0.3)),
    ):
        for _ in range(count):
            at = half * rng.uniform((-0.6, -0.6, -0.5), (0.6, 0.6, 0.5))
            scale = float(rng.uniform(*size)), nucleus * float(rng.uniform(*step))
            marks.append((float(at[0]), float(at[1]), float(at[2]), *scale))
    body = Sperm(
        length=length,
        width=width,
        thickness=thickness,
        taper=float(np.clip(rng.normal(0.05, 0.1), -0.2, 0.3)),
        wedge=float(np.clip(rng.normal(0.2, 0.13), -0.15, 0.5)),
        nucleus=nucleus,
        acrosome=nucleus * float(rng.uniform(0.4, 0.95)),
        acrosome_from=float(rng.uniform(-0.1, 0.35)),
        marks=tuple(marks),
        midpiece_length=float(rng.uniform(3.5, 5.0)),
        midpiece_radius=float(rng.uniform(0.36, 0.48)),
        midpiece=float(rng.uniform(0.04, 0.06)),
        droplet_radius=float(rng.uniform(0.6, 1.1)) if rng.uniform() < 0.12 else 0.0,
        tail_length=float(np.clip(rng.normal(45, 3), 36, 54)),
        tail_radius=float(rng.uniform(0.19, 0.25)),
        tail=float(rng.uniform(0.05, 0.07)),
        swing=float(rng.uniform(0.6, 1.0) if motile else rng.uniform(0.05, 0.35)),
        wave=float(rng.uniform(25, 36) if motile else rng.uniform(35, 60)),
        out_of_plane=float(rng.uniform(0.1, 0.5)),
        bend=float(rng.normal(0, 0.006 if motile else 0.015)),
        kink=(float(rng.normal(0, np.radians(8))), float(rng.normal(0, np.radians(10)))),
    )
    settings = settings or SpermSettings()
    (own,) = rng.spawn(1)
    return _deformed(own, _tinted(own, body, settings), settings)


def _tinted(rng: np.random.Generator, body: Sperm, settings: SpermSettings) -> Sperm:
    """The same body with the indices of some settings."""
    head, midpiece, tail, loss, front, flagellum = (
        float(rng.uniform(*span))
        for span in (
            settings.head_strength,
            settings.midpiece_strength,
            settings.tail_strength,
            settings.nucleus_loss,
            settings.acrosome_loss,
            settings.flagellum_loss,
        )
    )
    return replace(
        body,
        nucleus=body.nucleus * head,
        acrosome=body.acrosome * head,
        marks=tuple((a, b, c, size, step * head) for a, b, c, size, step in body.marks),
        midpiece=body.midpiece * midpiece,
        tail=body.tail * tail,
        nucleus_loss=loss,
        acrosome_loss=loss * front,
        flagellum_loss=flagellum,
    )


def _deformed(rng: np.random.Generator, body: Sperm, settings: SpermSettings) -> Sperm:
    """An abnormal body, as often as some settings say."""
    form = _choose(rng, settings.head_forms)
    if form is not None:
        body = _HEADS[form](rng, body)
    if rng.uniform() < settings.cytoplasm:
        body = replace(body, lumps=_cytoplasm(rng, body))
    form = _choose(rng, settings.tail_forms)
    return body if form is None else _TAILS[form](rng, body)


def _choose(rng: np.random.Generator, shares: dict[str, float]) -> str | None:
    """One of the names, each with its share, or None."""
    place = int(np.searchsorted(np.cumsum(list(shares.values())), rng.uniform(), side="right"))
    return [*shares, None][place]


def _sized(body: Sperm, length: float, width: float) -> Sperm:
    """A body with a head of another size, its marks in their places."""
    along, across = length / body.length, width / body.width
    marks = tuple((a * along, b * across, c, size, step) for a, b, c, size, step in body.marks)
    return replace(body, length=length, width=width, marks=marks)


def _tapered(rng: np.random.Generator, body: Sperm) -> Sperm:
    length = float(rng.uniform(4.8, 6.5))
    body = _sized(body, length, length * float(rng.uniform(0.28, 0.45)))
    return replace(body, taper=float(rng.choice((-1, 1)) * rng.uniform(0.3, 0.55)))


def _amorphous(rng: np.random.Generator, body: Sperm) -> Sperm:
    outline = tuple(
        (number, float(rng.uniform(0.3, 1) * 0.3 / number), float(rng.uniform(0, 2 * np.pi)))
        for number in (1, 2, 3, 4)
    )
    return replace(body, outline=outline, acrosome_from=float(rng.uniform(-0.4, 1.2)))


def _large(rng: np.random.Generator, body: Sperm) -> Sperm:
    length = float(rng.uniform(5.5, 7.5))
    return _sized(body, length, length * float(rng.uniform(0.5, 0.75)))


def _small(rng: np.random.Generator, body: Sperm) -> Sperm:
    length = float(rng.uniform(2.5, 3.5))
    return _sized(body, length, length * float(rng.uniform(0.6, 0.85)))


def _round(rng: np.random.Generator, body: Sperm) -> Sperm:
    size = float(rng.uniform(3.0, 4.2))
    body = _sized(body, size, size * float(rng.uniform(0.9, 1.0)))
    return replace(body, taper=0.0, thickness=min(1.4 * body.thickness, 2.0), acrosome_from=2.0)


def _double(rng: np.random.Generator, body: Sperm) -> Sperm:
    return replace(body, twin=float(np.radians(rng.uniform(25, 110))))


def _cytoplasm(
    rng: np.random.Generator, body: Sperm
) -> tuple[tuple[float, float, float, float, float, float], ...]:
    """Balls beside the neck that together have at least a third of a head's area.

    Cytoplasm has a third of the index of a nucleus, and hardly absorbs.
    """
    side = float(rng.choice((-1, 1)))
    lumps = []
    for _ in range(int(rng.integers(1, 4))):
        radius = float(rng.uniform(0.9, 1.5))
        along = -body.length / 2 - float(rng.uniform(-0.3, 1.5))
        across = side * float(rng.uniform(0.2, 1.0)) * radius
        index = float(rng.uniform(0.012, 0.03))
        lumps.append((along, across, 0.0, radius, index, 0.1 * body.nucleus_loss))
    return tuple(lumps)


def _coiled(rng: np.random.Generator, body: Sperm) -> Sperm:
    """A spiral: its radius grows from turn to turn, so that the turns lie side by side."""
    start, radius = float(rng.uniform(0, 12)), float(rng.uniform(1.0, 3.0))
    side, end = float(rng.choice((-1, 1))), body.tail_length
    turns: list[tuple[float, float, float]] = []
    while start < end and len(turns) < 40:
        stop = start + radius * np.pi / 2
        turns.append((start, stop, side * np.pi / 2))
        start, radius = stop, radius + float(rng.uniform(0.02, 0.2))
    return replace(body, turns=tuple(turns), swing=0.3 * body.swing, bend=0.0)


def _bent(rng: np.random.Generator, body: Sperm) -> Sperm:
    """A hairpin, in the midpiece or the front half of the tail."""
    start = float(rng.uniform(0, 0.5 * body.tail_length))
    angle = float(rng.choice((-1, 1)) * np.radians(rng.uniform(80, 180)))
    return replace(body, turns=((start, start + float(rng.uniform(0.5, 1.8)), angle),))


def _short(rng: np.random.Generator, body: Sperm) -> Sperm:
    return replace(body, tail_length=float(rng.uniform(3, 20)))


_HEADS: dict[str, Callable[[np.random.Generator, Sperm], Sperm]] = {
    "tapered": _tapered,
    "amorphous": _amorphous,
    "large": _large,
    "small": _small,
    "round": _round,
    "double": _double,
    "missing": lambda _, body: replace(body, headless=True),
}
_TAILS = {"coiled": _coiled, "bent": _bent, "short": _short}
