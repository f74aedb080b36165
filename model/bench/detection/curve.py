"""Recall, precision and F1 over the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Recall and precision if all finds of at least a score are kept; (K,) each, scores descending.

    There is one entry for every score that a find has.
    """

    score: Floats
    recall: Floats
    precision: Floats

    @classmethod
    def of(cls, score: Floats, right: npt.NDArray[np.bool_], heads: int) -> Self:
        """From the finds of all images.

        Parameters
        ----------
        score
            (N,) of each find.
        right
            (N,) whether it is a head.
        heads
            Number of heads that must be found.
        """
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        found = np.cumsum(right[order])
        last = np.append(ordered[1:] < ordered[:-1], True)[: len(ordered)]
        number = np.arange(1, len(ordered) + 1)
        return cls(ordered[last], (found / max(heads, 1))[last], (found / number)[last])

    @property
    def f1(self) -> Floats:
        """(K,) harmonic mean of recall and precision."""
        return f1_of(self.recall, self.precision)

    @property
    def average_precision(self) -> float:
        """Area under precision over recall.

        The precision at a recall is the best one at that recall or above (Everingham et al., IJCV
        111, 98-136, 2015, section 4.2.2).
        """
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.sum(np.diff(self.recall, prepend=0.0) * envelope))

    @property
    def best_score(self) -> float:
        """The score of the highest F1; NaN without finds."""
        return float(self.score[np.argmax(self.f1)]) if len(self.score) else float("nan")

    def thinned(self, most: int) -> dict[str, list[float]]:
        """At most `most` of its points, evenly spread, as lists."""
        kept = np.unique(np.linspace(0, len(self.score) - 1, most).round().astype(int))
        kept = kept[: len(self.score)]
        columns: dict[str, Any] = {
            "score": self.score,
            "recall": self.recall,
            "precision": self.precision,
            "f1": self.f1,
        }
        return {name: column[kept].round(5).tolist() for name, column in columns.items()}


def f1_of(recall: Floats, precision: Floats) -> Floats:
    """Harmonic mean of recall and precision, 0 where both are.

    Parameters
    ----------
    recall, precision
        (...) of each case.
    """
    total = recall + precision
    return np.asarray(
        np.where(total > 0, 2 * recall * precision / np.where(total > 0, total, 1), 0)
    )


def rates_of(counts: Floats) -> dict[str, Floats]:
    """Recall, precision and F1 of counts.

    Parameters
    ----------
    counts
        (3, ...) right finds, finds and heads.
    """
    right, finds, heads = counts
    recall, precision = right / np.maximum(heads, 1), right / np.maximum(finds, 1)
    return {"recall": recall, "precision": precision, "f1": f1_of(recall, precision)}
