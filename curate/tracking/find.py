"""The cells of a stack and their paths, each judged by all of its planes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from fgaf.base.workers.progress import steps
from fgaf.curate.detection.detect import kind_of, spots
from fgaf.curate.detection.scale import HEAD_UM, Floats, Scale
from fgaf.curate.tracking.follow import TRACK_SCORE, Track, contrasts_of, link
from fgaf.curate.tracking.judge import candidate_score, judged


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
    least = candidate_score(least_score) if judges else least_score
    tracks = link(planes, pixel_size_um, shape, times_s, head_um=head_um, least_score=least)
    if not judges:
        return tracks
    likely = [track for track in judged(tracks, contrasts, scale) if track.score >= least_score]
    return sorted(likely, key=lambda track: -track.score)
