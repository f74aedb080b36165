"""Assign groups of cells to the sides of a split, balanced over every stratum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def stratify(
    group: NDArray[np.intp],
    strata: Sequence[NDArray[np.intp]],
    wanted: NDArray[np.float64],
    first: Sequence[int],
    seed: int,
) -> NDArray[np.int8]:
    """Assign whole groups to sides, the largest first, each to the side that lacks most cells.

    Parameters
    ----------
    group
        (K,) group of each cell, numbered 0 to G - 1 without gaps.
    strata
        Classifications of the cells, each (K,) from 0: every side gets its share of every class,
        as far as whole groups allow. The first one gives the size of the groups.
    wanted
        (N,) share of each side; they add up to 1.
    first
        Sides that get a group before others get a second. If there are fewer groups than these
        sides, and fewer than three, later sides get none.
    seed
        Seed of the order of groups of equal size.

    Returns
    -------
    (G,) int8
        Side of each group.
    """
    sizes = np.bincount(group)
    n = len(sizes)
    order = np.random.default_rng(seed).permutation(n)
    order = order[np.argsort(-sizes[order], kind="stable")]
    held = _contents(group, strata, n)
    total = np.concatenate([np.bincount(classes) for classes in strata]).astype(np.float64)
    missing = np.outer(total, wanted)
    empty = list(first)[:n]
    closed = wanted == 0
    if n < len(wanted):
        closed[[side for side in range(len(wanted)) if side not in empty]] = True
    sides = np.zeros(n, np.int8)
    for done, one in enumerate(order):
        what, count = held[one]
        need = (count / total[what]) @ missing[what]
        need[closed] = -np.inf
        open_to = empty if n - done <= len(empty) else range(len(wanted))
        side = max(open_to, key=need.tolist().__getitem__)
        sides[one] = side
        missing[what, side] -= count
        if side in empty:
            empty.remove(side)
    return sides


def _contents(
    group: NDArray[np.intp], strata: Sequence[NDArray[np.intp]], n: int
) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """For each group, its classes (numbered over all strata) and the number of cells in each."""
    first = np.cumsum([0, *(int(classes.max(initial=-1)) + 1 for classes in strata)])
    pairs = np.concatenate(
        [
            np.column_stack([group, classes + start])
            for classes, start in zip(strata, first[:-1], strict=True)
        ]
    )
    pairs, count = np.unique(pairs, axis=0, return_counts=True)
    ends = np.searchsorted(pairs[:, 0], np.arange(1, n))
    return list(
        zip(np.split(pairs[:, 1], ends), np.split(count.astype(np.float64), ends), strict=True)
    )
