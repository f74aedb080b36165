"""Judge methods on fields: figures of each method over all fields and for each group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import FgafError
from fgaf.base.version import __version__
from fgaf.model.bench.detection.compare import paired_f1
from fgaf.model.bench.detection.curve import Curve, rates_of
from fgaf.model.bench.detection.fields import Field, Fields
from fgaf.model.bench.detection.finders import Finds, Method
from fgaf.model.bench.detection.matching import Match, match
from fgaf.model.bench.statistics import correct
from fgaf.model.metrics.intervals import DRAWS

Floats = npt.NDArray[np.float64]
Progress = Callable[[Sequence[Any]], Iterable[Any]]

REACH: Final = 0.5
"""A find is right within this many head lengths of the centre of a label, or in its box."""
_POINTS: Final = 200
"""Most points of a curve in the results."""


@dataclass(frozen=True)
class Judged:
    """A method on one field: all of its finds, and which of them are heads."""

    field: Field
    finds: Finds
    match: Match

    def counts_at(self, score: float) -> tuple[int, int, int]:
        """Right finds, finds, and heads, with the finds of at least a score."""
        kept = self.finds.score >= score
        return (
            int((self.match.right & kept).sum()),
            int((~self.match.neither & kept).sum()),
            int(self.field.labels.counts.sum()),
        )

    def at(self, score: float, head_um: float) -> Judged:
        """The same with the finds of at least a score only.

        Parameters
        ----------
        score
            The least score.
        head_um
            Length of a head, µm.
        """
        return judged(self.field, self.finds.take(self.finds.score >= score), head_um)

    @property
    def errors_px(self) -> Floats:
        """(R,) distance of each right find from its label's centre, pixels."""
        right, labels = self.match.right, self.field.labels
        of = self.match.label[right]
        return np.hypot(self.finds.y[right] - labels.y[of], self.finds.x[right] - labels.x[of])


def judged(field: Field, finds: Finds, head_um: float) -> Judged:
    """Compare finds with the labels of their field.

    Parameters
    ----------
    field
        The field.
    finds
        In it, best first.
    head_um
        Length of a head, µm.
    """
    return Judged(field, finds, match(finds, field.labels, REACH * head_um / field.pixel_size_um))


def search(
    fields: Fields, methods: Sequence[Method], head_um: float, progress: Progress = iter
) -> dict[str, list[Judged]]:
    """Search every field by every method.

    Parameters
    ----------
    fields
        The fields.
    methods
        The methods.
    head_um
        Length of a head, µm.
    progress
        Wraps the list of fields.

    Returns
    -------
    dict
        By the method's id, its outcome on every field.

    Raises
    ------
    FgafError
        An image cannot be searched.
    """
    found: dict[str, list[Judged]] = {method.id: [] for method in methods}
    for field in progress(fields.fields):
        image = field.read()
        for method in methods:
            try:
                finds = method.find(image, field.pixel_size_um, head_um)
            except FgafError as error:
                raise FgafError(f"{field.name}: {error}") from error
            found[method.id].append(judged(field, finds, head_um))
    return found


def judge(
    fields: Fields,
    methods: Sequence[Method],
    found: dict[str, list[Judged]],
    head_um: float,
    least_score: float,
) -> dict[str, Any]:
    """Compute the figures of all methods.

    Parameters
    ----------
    fields
        The fields.
    methods
        In the order in which they are shown; the first is the one of the pictures.
    found
        From `search`.
    head_um
        Length of a head, µm.
    least_score
        The score from which a find of a method with a default counts; others are judged at the
        score of their best F1 on these fields, which is in their favour.

    Returns
    -------
    dict
        As written to ``results.json``.
    """
    rows = [_row(method, found[method.id], head_um, least_score) for method in methods]
    best = max(rows, key=lambda row: float(row["f1"]["value"]))
    _compare(rows, best, found)
    return {
        "format": "fgaf-detection-benchmark",
        "software": f"fgaf {__version__}",
        "fields": len(fields.fields),
        "heads": fields.heads,
        "head_um": head_um,
        "reach_um": REACH * head_um,
        "least_score": least_score,
        "pixel_sizes": fields.pixel_sizes,
        "pixel_size_um": sorted({round(field.pixel_size_um, 4) for field in fields.fields}),
        "notices": list(fields.notices),
        "best": best["id"],
        "methods": rows,
    }


def _compare(
    rows: Sequence[dict[str, Any]], best: dict[str, Any], found: dict[str, list[Judged]]
) -> None:
    """Test the F1 of each method against that of the best, on the same fields."""
    others = [row for row in rows if row is not best]
    for row in others:
        row["against_best"] = paired_f1(*(_counts(found[one["id"]], one) for one in (row, best)))
    correct([row["against_best"] for row in others])
    best["against_best"] = None


def _counts(outcomes: Sequence[Judged], row: dict[str, Any]) -> Floats:
    """Right finds, finds and heads of each field at the score of a row, (F, 3)."""
    score = np.inf if row["score"] is None else row["score"]
    return np.array([one.counts_at(score) for one in outcomes], np.float64)


def curve_of(outcomes: Sequence[Judged]) -> Curve:
    """Recall and precision over the score on all fields together."""
    score = np.concatenate([one.finds.score[~one.match.neither] for one in outcomes])
    right = np.concatenate([one.match.right[~one.match.neither] for one in outcomes])
    heads = sum(int(one.field.labels.counts.sum()) for one in outcomes)
    return Curve.of(score, right, heads)


def _row(
    method: Method, outcomes: Sequence[Judged], head_um: float, least_score: float
) -> dict[str, Any]:
    curve = curve_of(outcomes)
    best = curve.best_score
    score = least_score if method.default_score else best
    groups = list(dict.fromkeys(one.field.group for one in outcomes))
    return {
        "id": method.id,
        "label": method.label,
        "score": score if np.isfinite(score) else None,
        "at_its_best": not method.default_score,
        **figures_of(outcomes, score, head_um),
        "average_precision": curve.average_precision,
        "best": {
            "score": best if np.isfinite(best) else None,
            "f1": float(curve.f1.max(initial=0.0)),
        },
        "groups": [
            {
                "name": group,
                **figures_of([one for one in outcomes if one.field.group == group], score, head_um),
            }
            for group in groups
        ],
        "curve": curve.thinned(_POINTS),
    }


def figures_of(outcomes: Sequence[Judged], score: float, head_um: float) -> dict[str, Any]:
    """Figures of a method on some fields, with 95 % bootstrap intervals over fields.

    Parameters
    ----------
    outcomes
        The method on every field.
    score
        Finds of at least this score count.
    head_um
        Length of a head, µm.

    Returns
    -------
    dict
        `fields`, `heads`, `finds`, `right`; `recall`, `precision` and `f1`, each with `value`,
        `low` and `high`; `centre_error`, of the right finds, median, 90th and 95th percentile in px
        and µm.
    """
    counts = np.array([one.counts_at(score) for one in outcomes], np.float64)
    kept = [one.at(score, head_um) for one in outcomes]
    right, finds, heads = (int(total) for total in counts.sum(axis=0))
    weights = np.random.default_rng(0).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), size=DRAWS
    )
    value = rates_of(counts.sum(axis=0))
    drawn = rates_of((weights @ counts).T) if len(counts) > 1 else None
    return {
        "fields": len(outcomes),
        "heads": heads,
        "finds": finds,
        "right": right,
        **{
            name: {"value": float(value[name]), **_interval(drawn[name] if drawn else None)}
            for name in value
        },
        "centre_error": _centre_error(kept),
    }


def _interval(drawn: Floats | None) -> dict[str, float | None]:
    if drawn is None:
        return {"low": None, "high": None}
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"low": float(low), "high": float(high)}


def _centre_error(kept: Sequence[Judged]) -> dict[str, float | None]:
    """Percentiles of the distance of right finds from their labels' centres."""
    pixels = np.concatenate([one.errors_px for one in kept])
    um = np.concatenate([one.errors_px * one.field.pixel_size_um for one in kept])
    return {
        f"{name}_{unit}": float(np.percentile(values, share)) if len(values) else None
        for unit, values in (("px", pixels), ("um", um))
        for name, share in (("median", 50), ("p90", 90), ("p95", 95))
    }
