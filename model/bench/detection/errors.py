"""Misses and false finds: their list, and a picture of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from fgaf.model.bench.detection.judge import REACH, Judged
from fgaf.model.bench.report.pictures import as_source

MOST: Final = 36
"""Pictures of either kind in a report."""
_SIDE: Final = 3.5
"""Side of a picture, in head lengths."""


@dataclass(frozen=True)
class Place:
    """A missed head or a false find: the field, the centre in pixels, and a score.

    The score of a miss is that of the best find within reach that was not kept, NaN for none.
    """

    outcome: Judged
    y: float
    x: float
    score: float


def misses(outcomes: Sequence[Judged], score: float, head_um: float) -> list[Place]:
    """Heads without a find of at least a score, those with the lowest scores first.

    Parameters
    ----------
    outcomes
        A method on every field.
    score
        The least score.
    head_um
        Length of a head, µm.
    """
    places = []
    for one in outcomes:
        kept, labels = one.at(score, head_um), one.field.labels
        missed = labels.counts.copy()
        missed[kept.match.label[kept.match.right]] = False
        for k in np.flatnonzero(missed):
            away = np.hypot(one.finds.y - labels.y[k], one.finds.x - labels.x[k])
            near = one.finds.score[
                (away <= REACH * head_um / one.field.pixel_size_um) & (one.finds.score < score)
            ]
            best = float(near.max()) if len(near) else float("nan")
            places.append(Place(one, float(labels.y[k]), float(labels.x[k]), best))
    return sorted(places, key=lambda place: np.nan_to_num(place.score, nan=-1.0))


def false_finds(outcomes: Sequence[Judged], score: float, head_um: float) -> list[Place]:
    """Finds of at least a score that are no heads, best first.

    Parameters
    ----------
    outcomes
        The judged fields.
    score
        Minimum score of a find.
    head_um
        Length of a head, µm.
    """
    places = []
    for one in outcomes:
        kept = one.at(score, head_um)
        wrong = ~kept.match.right & ~kept.match.neither
        finds = kept.finds.take(wrong)
        places += [
            Place(one, float(y), float(x), float(s))
            for y, x, s in zip(finds.y, finds.x, finds.score, strict=True)
        ]
    return sorted(places, key=lambda place: -place.score)


def pictured(places: Sequence[Place], score: float, head_um: float) -> list[dict[str, Any]]:
    """Cut a picture around every place, with the labels and the kept finds in it.

    Parameters
    ----------
    places
        Of misses or of false finds.
    score
        Score from which finds are kept.
    head_um
        Length of a head, µm.

    Returns
    -------
    list of dict
        In the order of the places: `src` (a data URL), `side`, marks `boxes` and `finds` in pixels
        of the picture, `name`, `y`, `x`, `score`.
    """
    by_field: dict[int, list[int]] = {}
    for k, place in enumerate(places):
        by_field.setdefault(id(place.outcome), []).append(k)
    shown: dict[int, dict[str, Any]] = {}
    for numbers in by_field.values():
        image = places[numbers[0]].outcome.field.read()
        for k in numbers:
            shown[k] = _picture(image, places[k], score, head_um)
    return [shown[k] for k in range(len(places))]


def _picture(image: Any, place: Place, score: float, head_um: float) -> dict[str, Any]:
    field, finds = place.outcome.field, place.outcome.finds
    half = max(8, round(_SIDE * head_um / field.pixel_size_um / 2))
    top, left = round(place.y) - half, round(place.x) - half
    side = 2 * half + 1
    rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, image.shape[1] - 1)
    cut = image[np.ix_(rows, columns)].astype(np.float64)
    low, high = np.percentile(cut, [0.5, 99.5])
    grey = (255 * np.clip((cut - low) / max(high - low, 1e-9), 0, 1)).round().astype(np.uint8)
    labels = field.labels
    reach = 2 * REACH * head_um / field.pixel_size_um
    height, width = (np.nan_to_num(size, nan=reach) for size in (labels.height, labels.width))
    boxes = np.column_stack(
        [labels.x - width / 2 - left + 0.5, labels.y - height / 2 - top + 0.5, width, height]
    )
    kept = finds.take(finds.score >= score)
    marks = np.column_stack([kept.x - left + 0.5, kept.y - top + 0.5])
    inside = ((marks > 0) & (marks < side)).all(axis=1)
    near = (boxes[:, :2] < side).all(axis=1) & (boxes[:, :2] + boxes[:, 2:] > 0).all(axis=1)
    return {
        "src": Markup(as_source(grey)),  # noqa: S704 - base64
        "side": side,
        "boxes": boxes[near].round(1).tolist(),
        "finds": marks[inside].round(1).tolist(),
        "name": field.name,
        "y": round(place.y),
        "x": round(place.x),
        "score": "" if np.isnan(place.score) else f"{place.score:.2f}",
    }
