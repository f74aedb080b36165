"""Whether a path is one head: judged by all of its planes together, and by its neighbours.

A head out of focus may look like a speck, and a speck out of focus like a head. So the planes with
most contrast along a path decide most: a speck is seen best where it looks least like a head, while
a head that delays light is missed only where it fades. The score of a path is the geometric mean of
that of its spots, of all its planes weighted by their contrast, and of a small network that takes
what the detector sees of the path's spots. `tools/fit_judge.py` fits it, and `judge.npz` holds its
weights.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Final

import numpy as np
import numpy.typing as npt

from fgaf.curate.detection.detect import strength
from fgaf.curate.detection.fixed import Contrast
from fgaf.curate.detection.scale import Floats, Scale
from fgaf.curate.tracking.follow import TRACK_SCORE, Track

_LEAST_CHANCE: Final = 1e-3
_LEAST_STRENGTH: Final = 1e-4
FARTHEST: Final = 4.0
"""Features further from those of the fit, in standard deviations, count as that far."""
_NEAR, _AROUND, _FAR = 0.9, 1.7, 5.3
"""Distances of neighbours, head lengths."""


@dataclass(frozen=True)
class Judge:
    """Networks with one hidden layer, whose answers are averaged.

    Attributes
    ----------
    mean, deviation
        (F,) of the features in the fit.
    inner, inner_bias
        (M, F, H) and (M, H) of the M networks.
    outer, outer_bias
        (M, H) and (M,).
    """

    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    inner: npt.NDArray[np.float32]
    inner_bias: npt.NDArray[np.float32]
    outer: npt.NDArray[np.float32]
    outer_bias: npt.NDArray[np.float32]

    def __call__(self, features: Floats) -> Floats:
        """Probability that each path is one head.

        Parameters
        ----------
        features
            (N, F), from `features_of`.

        Returns
        -------
        (N,)
        """
        x = np.clip((features - self.mean) / self.deviation, -FARTHEST, FARTHEST)
        hidden = np.maximum(np.einsum("nf,mfh->mnh", x, self.inner) + self.inner_bias[:, None], 0)
        logits = np.einsum("mnh,mh->mn", hidden, self.outer) + self.outer_bias[:, None]
        return np.asarray((1 / (1 + np.exp(-logits))).mean(axis=0))


@cache
def shipped() -> Judge:
    """The judge that comes with fgaf."""
    data = resources.files("fgaf.curate.tracking").joinpath("judge.npz").read_bytes()
    with np.load(io.BytesIO(data)) as file:
        return Judge(**{name: file[name].astype(np.float32) for name in file.files})


def candidate_score(least_score: float = TRACK_SCORE) -> float:
    """Least score of its spots with which a path can reach a score, and is a neighbour of others.

    Parameters
    ----------
    least_score
        The score to reach; lower than the usual one, it leaves the others as they are.
    """
    return min(least_score, TRACK_SCORE) ** 4


def judged(tracks: Sequence[Track], contrasts: Sequence[Contrast], scale: Scale) -> list[Track]:
    """Tracks with the scores of this module.

    Parameters
    ----------
    tracks
        Of `link`.
    contrasts
        (P,) contrast (y, x) of the planes on the working grid.
    scale
        The working grid.
    """
    if not tracks:
        return []
    scores, features = features_of(tracks, contrasts, scale)
    both = np.sqrt(scores * shipped()(features))
    return [replace(track, score=float(one)) for track, one in zip(tracks, both, strict=True)]


def features_of(
    tracks: Sequence[Track], contrasts: Sequence[Contrast], scale: Scale
) -> tuple[Floats, Floats]:
    """What the judge is told of some tracks.

    Parameters
    ----------
    tracks
        One at least.
    contrasts, scale
        As for `judged`.

    Returns
    -------
    (N,) scores of spots and planes, and (N, F) features.
    """
    y, x, of_planes, seen, looks = (
        np.array([getattr(track, name) for track in tracks])
        for name in ("y", "x", "scores", "seen", "looks")
    )
    strengths = _strengths(scale.to_working(y), scale.to_working(x), contrasts)
    of_spots = np.array([track.score for track in tracks])
    by_contrast = _shares(strengths)
    mean_score = (by_contrast * of_planes).sum(axis=1)
    scores = np.sqrt(of_spots * mean_score)

    weights = _shares(strengths * seen)[:, :, None]
    look = (weights * looks).sum(axis=1)
    spread = np.sqrt((weights * (looks - look[:, None]) ** 2).sum(axis=1))
    own = np.column_stack(
        [
            *(_logit(part) for part in (scores, mean_score, of_planes.max(axis=1))),
            seen.mean(axis=1),
            [track.length for track in tracks],
            np.log(strengths.mean(axis=1) + _LEAST_STRENGTH),
            np.log(strengths.max(axis=1) + _LEAST_STRENGTH),
        ]
    )
    around = _neighbours(y / scale.head_px, x / scale.head_px, scores)
    return scores, np.concatenate([own, look, spread, around], axis=1)


def _strengths(y: Floats, x: Floats, contrasts: Sequence[Contrast]) -> Floats:
    """Contrast (N, P) along paths (N, P) on the working grid, 0 outside of the frame."""
    rows, columns = contrasts[0].shape
    inside = (y > -0.5) & (y < rows - 0.5) & (x > -0.5) & (x < columns - 0.5)
    return np.asarray(
        inside
        * np.column_stack(
            [strength(contrast, y[:, k], x[:, k]) for k, contrast in enumerate(contrasts)]
        )
    )


def _shares(strengths: Floats) -> Floats:
    """Weights (N, P) of planes, of sum 1, or 0 where there is no contrast."""
    return np.asarray(strengths / np.maximum(strengths.sum(axis=1, keepdims=True), 1e-12))


def _logit(chance: Floats) -> Floats:
    bounded = np.clip(chance, _LEAST_CHANCE, 1 - _LEAST_CHANCE)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _neighbours(y: Floats, x: Floats, scores: Floats) -> Floats:
    """What is near each path (N, P), head lengths: near a second path on a head is a better one."""
    away = np.array(
        [
            np.median(np.hypot(y - own_y, x - own_x), axis=1)
            for own_y, own_x in zip(y, x, strict=True)
        ]
    )
    np.fill_diagonal(away, _FAR)
    better = np.where(scores[None] > scores[:, None], away, _FAR)
    nearest = better.argmin(axis=1)
    of_nearest = np.where(better.min(axis=1) < _FAR, scores[nearest], 0)
    return np.column_stack(
        [
            *(np.log(np.clip(each.min(axis=1), 0.01, _FAR)) for each in (better, away)),
            of_nearest,
            *((better < reach).sum(axis=1) for reach in (_NEAR, _AROUND)),
            *((scores * (away < reach)).sum(axis=1) for reach in (_AROUND, _FAR)),
        ]
    )
