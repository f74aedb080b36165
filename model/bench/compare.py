"""Methods of a benchmark compared: with the reference, the best, and in the pairs of a preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.model.bench.preset import Preset
from fgaf.model.bench.statistics import correct, paired, spread

Floats = NDArray[np.float64]
Scores = Mapping[int | None, dict[str, Floats]]
"""Scores of one method: by seed (None for a deterministic method), then by metric, (N,) per
patch."""

COMPARED: Final = ("top1", "mae_um", "expected_mae_um")
"""The metrics whose paired differences are given."""


def compared(
    mine: Scores,
    other: Scores,
    cell: NDArray[Any],
) -> dict[str, Any]:
    """Compare the scores of two methods over cells, and from seed to seed.

    Patches that only one of them has a score for (the other's is NaN) are left out.

    Parameters
    ----------
    mine, other
        Scores of the two methods: by seed, then by name, (N,) over the same patches.
    cell
        (N,) the cell of each patch; intervals resample these.
    """
    found = {}
    for key in COMPARED:
        means = [np.mean([one[key] for one in part.values()], axis=0) for part in (mine, other)]
        both = np.isfinite(means[0]) & np.isfinite(means[1])
        found[key] = {
            **paired(means[0][both], means[1][both], cell[both]),
            "seed_spread": spread(
                [
                    float((one[key] - two[key])[both].mean())
                    for one, two in _seed_by_seed(mine, other)
                ]
            ),
        }
    return found


def _seed_by_seed(mine: Scores, other: Scores) -> list[tuple[dict[str, Floats], dict[str, Floats]]]:
    """Scores of the seeds that both have; a method without seeds is paired with every seed."""
    if None in mine:
        return [(mine[None], theirs) for theirs in other.values()]
    if None in other:
        return [(own, other[None]) for own in mine.values()]
    return [(mine[seed], other[seed]) for seed in mine if seed in other]


def judge_against(
    one: str, scores: Mapping[str, Scores], cell: NDArray[Any]
) -> dict[str, dict[str, Any] | None]:
    """Compare every method with one of them; p-values are corrected for their number.

    Parameters
    ----------
    one
        Id of the method that the others are compared with.
    scores
        Scores of each method, by its id.
    cell
        (N,) the cell of each patch.

    Returns
    -------
    dict
        By id, the differences as `compared` gives them, each with its `p_holm`; None for `one`.
    """
    tests = {name: compared(own, scores[one], cell) for name, own in scores.items() if name != one}
    for key in COMPARED:
        correct([test[key] for test in tests.values()])
    return {name: tests.get(name) for name in scores}


def best_method(scores: Mapping[str, Scores], reference: str) -> str:
    """Id of the method with the smallest mean error.

    Methods that answered only some cells do not take part, if another answered all.

    Parameters
    ----------
    scores
        Scores of each method, by its id.
    reference
        Id of the method that is named where several have the smallest error.
    """
    error = {
        name: float(np.mean([one["mae_um"].mean() for one in own.values()]))
        for name, own in scores.items()
    }
    return min(error, key=lambda name: (np.nan_to_num(error[name], nan=np.inf), name != reference))


def judge_pairs(
    preset: Preset,
    rows: Mapping[str, dict[str, Any]],
    scores: Mapping[str, Scores],
    cell: NDArray[Any],
) -> dict[str, Any] | None:
    """Compare the pairs of a preset; also their mean, when each pair adds FGAF to a bare network.

    Parameters
    ----------
    preset
        Its `pairs` name the methods to compare.
    rows
        The row of each method in the results, by its id.
    scores
        Scores of each method, by its id.
    cell
        (N,) the cell of each patch.
    """
    if not preset.pairs:
        return None
    listed = [
        {
            "id": name,
            "over": over,
            "label": rows[name]["label"],
            "over_label": rows[over]["label"],
            "adds_fgaf": _has_fgaf(rows[name]) is True and _has_fgaf(rows[over]) is False,
            "gain": compared(scores[name], scores[over], cell),
            "paper": _paper_gain(rows[name]["paper"], rows[over]["paper"]),
        }
        for name, over in preset.pairs.items()
    ]
    adding = [pair for pair in listed if pair["adds_fgaf"]]
    mean = None
    if len(adding) > 1:
        mine = _averaged([scores[pair["id"]] for pair in adding])
        other = _averaged([scores[pair["over"]] for pair in adding])
        mean = compared(mine, other, cell) if mine and other else None
    for key in COMPARED:
        correct([pair["gain"][key] for pair in listed])
        if mean:
            correct([mean[key]])
    return {"listed": listed, "n_fgaf": len(adding), "mean": mean}


def _has_fgaf(row: dict[str, Any]) -> Any:
    return row["settings"].get("fgaf")


def _averaged(
    methods: Sequence[Scores],
) -> dict[int | None, dict[str, Floats]]:
    """Average the scores of several methods per seed, for the seeds that all have."""
    shared = [seed for seed in methods[0] if all(seed in method for method in methods)]
    return {
        seed: {key: np.mean([method[seed][key] for method in methods], axis=0) for key in COMPARED}
        for seed in shared
    }


def _paper_gain(
    mine: dict[str, Any] | None, other: dict[str, Any] | None
) -> dict[str, float | None] | None:
    if mine is None or other is None:
        return None
    return {
        key: None if mine[key] is None or other[key] is None else mine[key] - other[key]
        for key in ("top1", "mae_um")
    }
