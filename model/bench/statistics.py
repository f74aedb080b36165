"""Differences between methods: paired on the same cells, with corrected p-values.

The patches of one cell are not independent, so whole cells are resampled: intervals are a bootstrap
over cells, and p-values come from flipping the sign of whole cells' differences. The variation
between training seeds is separate; see `spread`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.model.metrics.intervals import DRAWS

Floats = NDArray[np.float64]

FLIPS: Final = 9999
"""Random sign flips per p-value; with few cells, all possible ones."""
LEVEL: Final = 0.05
"""Two methods differ significantly if the corrected p-value is below this."""


def paired(
    scores: Floats, reference: Floats, cell: NDArray[Any], seed: int = 0
) -> dict[str, float | None]:
    """Mean difference of two methods on the same patches.

    Parameters
    ----------
    scores, reference
        (N,) the same metric per patch, of two methods.
    cell
        (N,) the cell of each patch.
    seed
        Of the bootstrap and of the flips.

    Returns
    -------
    dict
        `value`, mean of `scores` minus `reference`; `low` and `high`, 95 % bootstrap interval
        over cells; `p`, two-sided, of the sign-flip test over cells. The last three are None
        with fewer than two cells.
    """
    members, index = np.unique(cell, return_inverse=True)
    difference = scores - reference
    n = members.size
    value = float(difference.mean())
    if n < 2:
        return {"value": value, "low": None, "high": None, "p": None}
    counts = np.bincount(index)
    sums: Floats = np.bincount(index, difference).astype(np.float64)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    low, high = np.percentile((weights @ sums) / (weights @ counts), [2.5, 97.5])
    return {"value": value, "low": float(low), "high": float(high), "p": _flipped(sums, seed)}


def _flipped(sums: Floats, seed: int) -> float:
    """P-value of the cells' differences (K,), by random signs under the null hypothesis."""
    from scipy.stats import permutation_test

    if not sums.any():
        return 1.0
    found = permutation_test(
        (sums,),
        lambda drawn, axis: drawn.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def least_p(n_cells: int) -> float:
    """Smallest p-value that this number of cells can give, before any correction."""
    return max(2.0 ** (1 - n_cells), 1 / (FLIPS + 1)) if n_cells > 1 else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number, so that 1 in 20 *families* has a false finding.

    Parameters
    ----------
    p_values
        P-values of one family of tests; None where there was no test.

    Returns
    -------
    list
        Adjusted p-values in the same order, after Holm (1979), which does not need independence.
    """
    tested = sorted((p, k) for k, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    reached = 0.0
    for rank, (p, k) in enumerate(tested):
        reached = max(reached, min(1.0, (len(tested) - rank) * p))
        corrected[k] = reached
    return corrected


def correct(family: Sequence[dict[str, Any]]) -> None:
    """Give each difference of a family, as `paired` returns it, its corrected `p_holm`."""
    for test, p in zip(family, holm([test["p"] for test in family]), strict=True):
        test["p_holm"] = p


def significance(test: dict[str, Any]) -> str:
    """Whether a corrected difference is significant: "significantly" or "not significantly".

    Parameters
    ----------
    test
        A comparison with its corrected probability `p_holm`, None where there is none.
    """
    p = test["p_holm"]
    return "significantly" if p is not None and p < LEVEL else "not significantly"


def verdict(test: dict[str, Any], higher_is_better: bool) -> str:
    """Verdict of a corrected difference: "better", "worse" or "not significant".

    Parameters
    ----------
    test
        A comparison with its difference `value` and corrected probability `p_holm`, None where
        there is none.
    higher_is_better
        Whether a larger value is the better one.
    """
    if test["p_holm"] is None or test["p_holm"] >= LEVEL:
        return "not significant"
    return "better" if (test["value"] > 0) == higher_is_better else "worse"


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Spread of a figure over seeds; None with fewer than two seeds.

    Parameters
    ----------
    values
        The figure for each seed, over all cells.

    Returns
    -------
    dict or None
        `std`, the standard deviation between seeds (n - 1), `least`, `most`, `n`.
    """
    if len(values) < 2:
        return None
    return {
        "std": float(np.std(values, ddof=1)),
        "least": float(min(values)),
        "most": float(max(values)),
        "n": len(values),
    }
