"""Which finds are heads: each label has at most one find, and each find one label.

A find may belong to a label if its centre lies in the label's box, or within reach of the label's
centre. Where several finds or labels compete, as many as possible are paired at every score: the
finds come best first, each takes the nearest free label, and where none is free, earlier finds move
to other labels of theirs if that frees one (augmenting paths). A find that once has a label keeps
one, so a lower score only adds. A second find on one head is false; a find on a head that does not
count is neither right nor false.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgaf.model.bench.detection.finders import Finds
from fgaf.model.bench.detection.labels import Labels

Indices = npt.NDArray[np.intp]
NONE = -1


@dataclass(frozen=True)
class Match:
    """Outcome of the finds of one image.

    Attributes
    ----------
    label
        (N,) index of the label that each find has, -1 for none.
    neither
        (N,) whether the find is on a head that does not count.
    """

    label: Indices
    neither: npt.NDArray[np.bool_]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(N,) whether the find is a head."""
        return np.asarray(self.label != NONE)


def match(finds: Finds, labels: Labels, reach_px: float) -> Match:
    """Pair finds with labels.

    Parameters
    ----------
    finds
        Best first.
    labels
        Heads of the same image.
    reach_px
        A find is a head if it is this near to the centre, or in the box.
    """
    fits, away = _fits(finds, labels, reach_px)
    counting = np.flatnonzero(labels.counts)
    near = [
        counting[fits[row, counting]][np.argsort(away[row, counting[fits[row, counting]]])].tolist()
        for row in range(len(finds))
    ]
    held = np.full(len(finds), NONE, np.intp)
    owner = np.full(len(labels), NONE, np.intp)
    for find in range(len(finds)):
        _pair(find, near, held, owner)
    neither = (held == NONE) & fits[:, ~labels.counts].any(axis=1)
    return Match(held, neither)


def _fits(
    finds: Finds, labels: Labels, reach_px: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Whether each find may belong to each label, and how far it is from it, pixels."""
    dy = np.abs(finds.y[:, None] - labels.y)
    dx = np.abs(finds.x[:, None] - labels.x)
    away = np.hypot(dy, dx)
    in_box = (dy <= labels.height / 2) & (dx <= labels.width / 2)
    return in_box | (away <= reach_px), away


def _pair(find: int, near: Sequence[Sequence[int]], held: Indices, owner: Indices) -> None:
    """Give a find a label, by the shortest chain of moves that ends at a free one."""
    asked: dict[int, int] = {}
    asking = deque([find])
    while asking:
        one = asking.popleft()
        for label in near[one]:
            if label in asked:
                continue
            asked[label] = one
            if owner[label] == NONE:
                _move(label, asked, held, owner)
                return
            asking.append(int(owner[label]))


def _move(label: int, asked: dict[int, int], held: Indices, owner: Indices) -> None:
    while label != NONE:
        find = asked[label]
        left = int(held[find])
        held[find], owner[label] = label, find
        label = left
