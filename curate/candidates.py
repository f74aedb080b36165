"""The cells of one raw stack: detected, tracked, and with a suggested focus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import SettingError
from fgaf.base.workers.progress import part, steps
from fgaf.curate.detection.crop import (
    AT_BORDER,
    OFF_STACK,
    PatchSettings,
    fits,
    planes_round,
    stride_of,
)
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.curate.focus.curves import Curves, measure
from fgaf.curate.focus.suggest import (
    CONFIDENT,
    SURE,
    Rule,
    Suggestion,
    rule_for,
    suggest_all,
)
from fgaf.curate.tracking.find import find_tracks
from fgaf.curate.tracking.follow import Track
from fgaf.curate.tracking.smooth import CLEAR_UM
from fgaf.dataset.raw import RawStack

OVERLAP: Final = "overlaps another cell"
LOST: Final = "lost between planes"
_LEAST_SEEN: Final = 0.5
_SEARCH_SHARE, _CURVE_SHARE = 0.65, 0.6
"""Of the time of a stack, and of the rest, for its bar."""


@dataclass(frozen=True)
class Candidate:
    """A cell of a stack without a decision: its path, suggested focus, and the curves behind it."""

    track: Track
    suggestion: Suggestion
    curves: Curves


def find_candidates(
    stack: RawStack, pixel_size_um: float | None = None, *, head_um: float = HEAD_UM[0]
) -> list[Candidate]:
    """Find the cells of a stack, best first; they decide together on the case of the focus rule.

    Parameters
    ----------
    stack
        Open raw stack.
    pixel_size_um
        Pixel in the specimen, µm; None for the stack's own.
    head_um
        Length of a head, µm.

    Raises
    ------
    SettingError
        The pixel size is unknown.
    """
    return find_in_cases(stack, pixel_size_um, head_um=head_um, sure=0.0)[0]


def find_in_cases(
    stack: RawStack,
    pixel_size_um: float | None = None,
    *,
    head_um: float = HEAD_UM[0],
    sure: float = SURE,
) -> list[list[Candidate]]:
    """Find the cells of a stack, best first, in each case of the focus rule that may be theirs.

    Parameters
    ----------
    stack
        Open raw stack.
    pixel_size_um
        Pixel in the specimen, µm; None for the stack's own.
    head_um
        Length of a head, µm.
    sure
        Votes of all cells together that leave no doubt of the case.

    Returns
    -------
    The cells in the case for which they vote; and in the other one, if their votes leave doubt.

    Raises
    ------
    SettingError
        The pixel size is unknown.
    """
    pixel = pixel_size_of(stack, pixel_size_um)
    frames: npt.NDArray[Any] = stack.frames[:]
    with part(_SEARCH_SHARE):
        tracks = find_tracks(frames, pixel, stack.shape[1:], times_of(stack), head_um=head_um)
    cutoff = stack.header.optics.cutoff_per_um
    meter = _Meter(frames, stack.z_um, pixel, cutoff, head_um)
    curves = meter.curves_of(tracks)
    likely = meter.candidates(tracks, curves)
    vote = vote_of(likely)
    if not likely or abs(vote) >= sure:
        return [likely]
    other: Rule = "peak" if rule_for(vote) == "phase" else "phase"
    return [likely, meter.candidates(tracks, curves, other)]


def vote_of(candidates: Sequence[Candidate]) -> float:
    """What the cells of a stack vote: above 0 for "phase", else for "peak".

    Parameters
    ----------
    candidates
        All cells of the stack.
    """
    return sum(candidate.suggestion.vote for candidate in candidates)


def focused(
    frames: npt.NDArray[Any],
    z_um: npt.NDArray[np.float64],
    tracks: Sequence[Track],
    pixel_size_um: float,
    *,
    cutoff_per_um: float | None = None,
    head_um: float = HEAD_UM[0],
) -> list[Candidate]:
    """Suggest the focus of tracks, and recompute paths of phase objects where they are not visible.

    Parameters
    ----------
    frames
        (P, Y, X) planes.
    z_um
        (P,) drive positions, µm, in any order.
    tracks
        Of `find_tracks`, over the same planes.
    pixel_size_um
        Pixel in the specimen, µm.
    cutoff_per_um
        NA / wavelength; None where unknown.
    head_um
        Length of a head, µm.
    """
    meter = _Meter(frames, z_um, pixel_size_um, cutoff_per_um, head_um)
    return meter.candidates(tracks, meter.curves_of(tracks))


class _Meter:
    """Measures tracks in the planes of one stack; parameters as of `focused`."""

    def __init__(
        self,
        frames: npt.NDArray[Any],
        z_um: npt.NDArray[np.float64],
        pixel_size_um: float,
        cutoff_per_um: float | None,
        head_um: float,
    ) -> None:
        self._z_um, self._order = z_um, np.argsort(z_um, kind="stable")
        self._frames, self._ascending = frames[self._order], z_um[self._order]
        self._pixel_um, self._cutoff, self._head_um = pixel_size_um, cutoff_per_um, head_um

    def curves_of(self, tracks: Sequence[Track]) -> list[Curves]:
        """Measure all tracks."""
        with part(_CURVE_SHARE):
            return [self._curves_of(track) for track in steps(tracks)]

    def candidates(
        self, tracks: Sequence[Track], curves: Sequence[Curves], rule: Rule | None = None
    ) -> list[Candidate]:
        """Suggest the focus of measured tracks, in one case or in that for which they vote."""
        steady, measured = list(tracks), list(curves)
        suggestions = suggest_all(measured, rule)
        fading = [number for number, suggestion in enumerate(suggestions) if suggestion.fades]
        for number in fading:
            steady[number] = steady[number].steadied(self._z_um, suggestions[number].focus_um)
            measured[number] = self._curves_of(steady[number])
        if fading:
            votes = [suggestion.vote for suggestion in suggestions]
            suggestions = [
                replace(suggestion, vote=vote)
                for suggestion, vote in zip(suggest_all(measured, "phase"), votes, strict=True)
            ]
        return [Candidate(*found) for found in zip(steady, suggestions, measured, strict=True)]

    def _curves_of(self, track: Track) -> Curves:
        return measure(
            self._frames,
            track.y[self._order],
            track.x[self._order],
            self._ascending,
            self._pixel_um,
            cutoff_per_um=self._cutoff,
            head_um=self._head_um,
        )


def pixel_size_of(stack: RawStack, pixel_size_um: float | None = None) -> float:
    """Pixel in the specimen, µm: `pixel_size_um` if given, else the stack's.

    Parameters
    ----------
    stack
        An open raw stack.
    pixel_size_um
        Used instead of the stack's own, µm; None for the stack's own.

    Raises
    ------
    SettingError
        Both are unknown.
    """
    pixel = pixel_size_um or stack.header.optics.pixel_size_um
    if pixel is None:
        raise SettingError(
            f"{stack.path.name} has no pixel size: give --pixel-size (in µm, in the "
            "specimen: camera pitch over magnification)"
        )
    return pixel


def rejection_reason(
    candidate: Candidate,
    others: list[Candidate],
    z_um: npt.NDArray[np.float64],
    raw_step_um: float,
    shape: tuple[int, int],
    settings: PatchSettings,
    name: str,
) -> str:
    """Why a person must check a cell; empty when there is no reason.

    A neighbour overlaps when the centre of its head lies in the crop, in any plane used.

    Parameters
    ----------
    candidate
        The cell.
    others
        All cells found in the stack; it may be among them.
    z_um
        (P,) position of each plane, µm.
    raw_step_um
        Distance of the planes, µm.
    shape
        Rows and columns of a frame.
    settings
        Size, step and range of the patches.
    name
        Name of the stack, for errors.
    """
    track, suggestion = candidate.track, candidate.suggestion
    if suggestion.confidence < CONFIDENT:
        return suggestion.problem
    stride = stride_of(settings, raw_step_um, name)
    planes = planes_round(suggestion.focus_um, z_um, stride, settings.steps)
    if planes is None:
        return OFF_STACK
    if not fits(track.y, track.x, planes, settings.patch_px, shape):
        return AT_BORDER
    if _lost(candidate, planes, z_um):
        return LOST
    for other in others:
        if other is candidate:
            continue
        dy = np.abs(other.track.y[planes] - track.y[planes])
        dx = np.abs(other.track.x[planes] - track.x[planes])
        if (np.maximum(dy, dx) <= settings.patch_px / 2).any():
            return OVERLAP
    return ""


def _lost(
    candidate: Candidate, planes: npt.NDArray[np.intp], z_um: npt.NDArray[np.float64]
) -> bool:
    """Whether the path of a cell is uncertain: it was seen too rarely, or jumped.

    Where a cell fades, near its focus, the strongest spot may be its midpiece: there the path comes
    from the other planes. On either side of them the head must be found on the path often enough;
    a jump then only tells that it swung.

    Parameters
    ----------
    candidate
        The cell.
    planes
        Numbers of the planes of its crops.
    z_um
        (P,) position of each plane, µm.
    """
    track, suggestion = candidate.track, candidate.suggestion
    if not suggestion.fades:
        return bool(track.seen[planes].mean() < _LEAST_SEEN or track.jump[planes].any())
    on_path = track.seen & track.places.near(track.y, track.x)
    away = z_um[planes] - suggestion.focus_um
    sides = (planes[away <= -CLEAR_UM], planes[away >= CLEAR_UM])
    return any(side.size and on_path[side].mean() < _LEAST_SEEN for side in sides)


def times_of(stack: RawStack) -> npt.NDArray[np.float64] | None:
    """Times of the planes, s from the first; None where the file has none.

    For a stack taken downwards the times decrease; this does not change the paths.
    """
    for name in ("time_device_ns", "time_host_ns"):
        stamps = stack.planes[name]
        steps = np.diff(stamps)
        if len(steps) and ((steps > 0).all() or (steps < 0).all()):
            return np.asarray(np.abs(stamps - stamps[0]) * 1e-9, dtype=np.float64)
    return None
