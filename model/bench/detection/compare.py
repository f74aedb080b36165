"""Differences between methods of detection, paired on the same fields."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.model.bench.detection.curve import rates_of
from fgaf.model.bench.statistics import FLIPS

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.integer[Any] | np.floating[Any]]

_BATCH: Final = 500
"""Exchanges of fields counted at once, which bounds the memory."""


def paired_f1(counts: Floats, reference: Floats) -> dict[str, float | None]:
    """Difference in F1 of two methods on the same fields.

    Parameters
    ----------
    counts, reference
        (F, 3) right finds, finds and heads of each field, of two methods.

    Returns
    -------
    dict
        `value`, F1 of `counts` minus that of `reference`; `p`, two-sided: the share of random
        exchanges of the two in whole fields with as large a difference. None for one field.
    """
    from scipy.stats import permutation_test

    both, n = np.concatenate([counts, reference]), len(counts)

    def difference(one: Places, other: Places, axis: int) -> Floats:
        del axis  # the last
        first, second = (
            rates_of(np.moveaxis(both[np.asarray(index, np.intp)].sum(axis=-2), -1, 0))["f1"]
            for index in (one, other)
        )
        return np.asarray(first - second)

    places = np.arange(n), np.arange(n, 2 * n)
    value = float(difference(*places, axis=-1))
    if n < 2:
        return {"value": value, "p": None}
    test = permutation_test(
        places,
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        batch=_BATCH,
        axis=-1,
        rng=np.random.default_rng(0),
    )
    return {"value": value, "p": float(test.pvalue)}
