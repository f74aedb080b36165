"""The cells of a stack and their paths, each judged by all of its planes.

A head out of focus may look like a speck, and a speck out of focus like a head. So the planes with
most contrast along a path decide most: a speck is seen best where it looks least like a head, while
a head that delays light is missed only where it fades.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.base.workers.progress import steps
from fgaf.curate.detection.detect import kind_of, spots, strength
from fgaf.curate.detection.fixed import Contrast
from fgaf.curate.detection.scale import HEAD_UM, Floats, Scale
from fgaf.curate.tracking.follow import TRACK_SCORE, Track, contrasts_of, link


def find_tracks(
    frames: Iterable[npt.NDArray[Any]],
    pixel_size_um: float,
    shape: tuple[int, int],
    times_s: Floats | None = None,
    *,
    head_um: float = HEAD_UM[0],
    least_score: float = TRACK_SCORE,
) -> list[Track]:
    """Find the cells of a stack and follow them through its planes, best first.

    Parameters
    ----------
    frames
        Frames (Y, X) of the planes, in the order they were taken.
    pixel_size_um
        Pixel in the specimen, µm.
    shape
        (Y, X) of the frames.
    times_s
        (P,) time of each plane; None where unknown, then 35 ms apart.
    head_um
        Length of a head, µm.
    least_score
        Tracks with a lower score are left out.
    """
    scale = Scale(pixel_size_um, head_um)
    contrasts = contrasts_of(frames, scale)
    planes = [spots(contrast, scale) for contrast in steps(contrasts)]
    judges = kind_of(scale) == "sperm"
    least = least_score**2 if judges else least_score
    tracks = link(planes, pixel_size_um, shape, times_s, head_um=head_um, least_score=least)
    if not judges:
        return tracks
    likely = [track for track in judged(tracks, contrasts, scale) if track.score >= least_score]
    return sorted(likely, key=lambda track: -track.score)


def judged(tracks: Sequence[Track], contrasts: Sequence[Contrast], scale: Scale) -> list[Track]:
    """Tracks whose scores are geometric means with those of their planes, weighted by contrast.

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
    y, x, scores = (
        np.array([getattr(track, name) for track in tracks]) for name in ("y", "x", "scores")
    )
    y, x = scale.to_working(y), scale.to_working(x)
    rows, columns = contrasts[0].shape
    inside = (y > -0.5) & (y < rows - 0.5) & (x > -0.5) & (x < columns - 0.5)
    weight = inside * np.column_stack(
        [strength(contrast, y[:, k], x[:, k]) for k, contrast in enumerate(contrasts)]
    )
    mean = (weight * scores).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)
    both = np.sqrt([track.score for track in tracks] * mean)
    return [replace(track, score=float(one)) for track, one in zip(tracks, both, strict=True)]
