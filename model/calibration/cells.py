"""The cells of raw stacks that nobody labelled: their patches, and focus by the focus rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from fgaf.base.console import count
from fgaf.base.errors import FgafError, SettingError
from fgaf.base.workers.files import on_files
from fgaf.curate.candidates import OVERLAP, find_candidates, pixel_size_of
from fgaf.curate.detection.crop import OFF_STACK, crops, fits
from fgaf.curate.focus.curves import Curves
from fgaf.curate.focus.suggest import (
    AT_END,
    FEW_PLANES,
    FLAT,
    OFF_ENDS,
    Suggestion,
    suggest_all,
)
from fgaf.dataset.raw import SUFFIX, RawStack
from fgaf.dataset.storage.optics import Optics
from fgaf.model.calibration.settings import CalibrationSettings
from fgaf.model.inference.checkpoint import Checkpoint

Floats = npt.NDArray[np.float64]

LEAST_PLANES: Final = 5
"""Planes of a cell within the range of depths, at least."""
_LEAST_CELLS: Final = 4
_LEAST_ERROR_UM, _MOST_ERROR_UM = 0.2, 0.8
"""Bounds of the standard error of the focus rule for one cell, before a common factor."""

Files = Callable[[Sequence[Path]], Generator[Path, None, None]]


def _plain(paths: Sequence[Path]) -> Generator[Path, None, None]:
    yield from paths


@dataclass(frozen=True)
class Cell:
    """One cell of a stack.

    Attributes
    ----------
    id
        Name of the stack, and a number.
    stack
        Number of its stack, counted from 0.
    planes
        (P,) planes in which the patch lies inside the frame, counted from 0 in ascending z.
    z_um
        (P,) their positions of the drive, µm, ascending.
    y, x
        (P,) centre of the patch in the frame, pixels.
    images
        (P, S, S) patches.
    curves
        What the focus rule needs of it.
    overlaps
        (P,) whether the head of another cell lies in the patch.
    """

    id: str
    stack: int
    planes: npt.NDArray[np.intp]
    z_um: Floats
    y: npt.NDArray[np.int32]
    x: npt.NDArray[np.int32]
    images: npt.NDArray[Any]
    curves: Curves
    overlaps: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Searched:
    """The cells found in one stack.

    Attributes
    ----------
    path, fingerprint, sample_id
        Of the stack.
    optics
        As its header says.
    cells
        Its cells; their number of the stack is not yet set.
    """

    path: Path
    fingerprint: str
    sample_id: str
    optics: Optics
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Usable:
    """The cells of all stacks that can be used, and why the others cannot.

    Attributes
    ----------
    cells
        In the order of the stacks.
    foci
        Their foci by the focus rule, which they vote on together.
    left_out
        Reasons, and how often.
    """

    cells: tuple[Cell, ...]
    foci: tuple[Suggestion, ...]
    left_out: dict[str, int]

    @property
    def prior_error_um(self) -> Floats:
        """(K,) standard error of the rule's focus, up to a common factor."""
        errors = [focus.uncertainty_um for focus in self.foci]
        return np.asarray(np.clip(errors, _LEAST_ERROR_UM, _MOST_ERROR_UM), dtype=np.float64)


@dataclass(frozen=True)
class CellSearch:
    """Finds and follows the cells of a stack, and cuts all planes that lie inside the frame.

    Attributes
    ----------
    patch_px
        Side of a patch.
    half_range_um
        Depths that the network knows, on either side of the focus.
    pixel_size_um
        Pixel in the specimen; None for the stack's own.
    head_um
        Length of a head.
    """

    patch_px: int
    half_range_um: float
    pixel_size_um: float | None
    head_um: float

    def __call__(self, path: Path) -> Searched:
        """Search one stack.

        Raises
        ------
        FgafError
            Its planes are too far apart, its frames too small, or its pixel size is unknown.
        FormatError
            It is not a raw stack, or a checksum differs.
        """
        with threadpool_limits(1), RawStack.open(path, whole=True) as stack:
            header = stack.header
            self._require_fine(path, header.step_um, stack.shape[1:])
            pixel = pixel_size_of(stack, self.pixel_size_um)
            found = find_candidates(stack, pixel, head_um=self.head_um)
            tracks = [one.track for one in found]
            order = np.argsort(stack.z_um, kind="stable")
            frames, z = stack.frames[:][order], stack.z_um[order]
            y = np.array([track.y[order] for track in tracks]).reshape(-1, len(z))
            x = np.array([track.x[order] for track in tracks]).reshape(-1, len(z))
            side = self.patch_px
            cells = []
            for number, candidate in enumerate(found):
                own_y, own_x = y[number], x[number]
                planes = np.flatnonzero(
                    [
                        fits(own_y, own_x, np.array([plane]), side, stack.shape[1:])
                        for plane in range(len(z))
                    ]
                )
                if not len(planes):
                    continue
                apart = np.maximum(np.abs(y - own_y), np.abs(x - own_x))
                apart[number] = np.inf
                cells.append(
                    Cell(
                        id=f"{path.name.removesuffix(SUFFIX)}-{number + 1:03d}",
                        stack=0,
                        planes=planes,
                        z_um=z[planes],
                        y=np.round(own_y[planes]).astype(np.int32),
                        x=np.round(own_x[planes]).astype(np.int32),
                        images=crops(dict(enumerate(frames)), own_y, own_x, planes, side),
                        curves=candidate.curves,
                        overlaps=(apart[:, planes] <= side / 2).any(axis=0),
                    )
                )
            optics = header.optics.model_copy(update={"pixel_size_um": pixel})
            return Searched(path, stack.fingerprint, header.sample_id, optics, tuple(cells))

    def _require_fine(self, path: Path, step_um: float, shape: tuple[int, int]) -> None:
        coarsest = 2 * self.half_range_um / (LEAST_PLANES - 1)
        if step_um > coarsest + 1e-9:
            raise SettingError(
                f"the planes of {path.name} are {step_um:g} µm apart; take stacks with steps of at "
                f"most {coarsest:g} µm"
            )
        if min(shape) < self.patch_px:
            raise FgafError(
                f"the frames of {path.name} are {shape[0]} x {shape[1]} pixels and a patch is "
                f"{self.patch_px} x {self.patch_px}; take larger frames"
            )


def find_cells(
    paths: Sequence[Path],
    start: Checkpoint,
    settings: CalibrationSettings,
    *,
    workers: int = 1,
    files: Files | None = None,
) -> tuple[list[Searched], Usable]:
    """Find the cells of raw stacks that suit a network.

    Parameters
    ----------
    paths
        Raw stacks of one microscope.
    start
        The network.
    settings
        Pixel size and head.
    workers
        Processes that search the stacks.
    files
        Wraps the stacks.

    Raises
    ------
    FgafError
        A stack cannot be searched, the stacks are of different microscopes, or there are less than
        four cells.
    """
    half = start.half_range_um
    search = CellSearch(start.patch_px, half, settings.pixel_size_um, settings.head_um)
    stacks = search_stacks(paths, search, workers=workers, progress=files or _plain)
    found = usable(stacks, half)
    _require_cells(len(found.cells), found.left_out)
    return stacks, found


def search_stacks(
    paths: Sequence[Path],
    search: CellSearch,
    *,
    workers: int = 1,
    progress: Files = _plain,
) -> list[Searched]:
    """Search all stacks; of files with equal content only the first counts.

    Parameters
    ----------
    paths
        Raw stack files.
    search
        How to search.
    workers
        Processes that search; the result is the same for any number of them.
    progress
        Wraps the paths.

    Raises
    ------
    FgafError
        A stack cannot be searched, or the stacks are of different microscopes.
    """
    found: dict[str, Searched] = {}
    results = on_files(search, paths, workers=workers, scheduler=None, say=lambda _: None)
    with closing(results), closing(progress(paths)) as bar:
        for _, one in zip(bar, results, strict=True):
            found.setdefault(one.fingerprint, one)
    stacks = list(found.values())
    for one in stacks:
        _require_same_microscope(stacks[0], one)
    return [
        replace(one, cells=tuple(replace(cell, stack=number) for cell in one.cells))
        for number, one in enumerate(stacks)
    ]


def usable(stacks: Sequence[Searched], half_range_um: float) -> Usable:
    """Find the focus of all cells by the focus rule, and leave out what cannot be used.

    The rule itself is chosen by the cells of all stacks together: one cell alone, as in a stack of
    a small field, can be taken for another kind of contrast. A cell whose focus is in doubt is
    kept: the network sees it better.

    Parameters
    ----------
    stacks
        Of one microscope.
    half_range_um
        Depths that the network knows, on either side of the focus.
    """
    cells = [cell for stack in stacks for cell in stack.cells]
    kept, foci = [], []
    left_out: Counter[str] = Counter()
    for cell, focus in zip(cells, suggest_all([cell.curves for cell in cells]), strict=True):
        if reason := _reason(cell, focus, half_range_um):
            left_out[reason] += 1
        else:
            kept.append(cell)
            foci.append(focus)
    return Usable(tuple(kept), tuple(foci), dict(left_out))


def _reason(cell: Cell, focus: Suggestion, half_range_um: float) -> str:
    """Why a cell cannot be used; empty if it can."""
    if focus.problem in (FEW_PLANES, OFF_ENDS, AT_END, FLAT):
        return focus.problem
    within = np.abs(cell.z_um - focus.focus_um) <= half_range_um + 1e-6
    if within.sum() < LEAST_PLANES:
        return OFF_STACK
    if cell.overlaps[within].any():
        return OVERLAP
    return ""


def _require_cells(cells: int, left_out: dict[str, int]) -> None:
    if cells < _LEAST_CELLS:
        others = ", ".join(f"{n} {reason}" for reason, n in sorted(left_out.items()))
        raise FgafError(
            f"only {count(cells, 'cell')} can be used"
            + (f" (others: {others})" if others else "")
            + f"; at least {_LEAST_CELLS} are needed: take more stacks"
        )


def _require_same_microscope(first: Searched, other: Searched) -> None:
    for key, phrase in _COMPARED.items():
        one, two = getattr(first.optics, key), getattr(other.optics, key)
        if one is not None and two is not None and not np.isclose(one, two, rtol=0.01):
            raise FgafError(
                f"{other.path.name} has {phrase} {two:g} and {first.path.name} {one:g}: calibrate "
                "each microscope by itself"
            )


_COMPARED: Final = {
    "pixel_size_um": "a pixel size in µm of",
    "numerical_aperture": "a numerical aperture of",
    "magnification": "a magnification of",
    "medium_index": "an immersion index of",
    "wavelength_um": "a wavelength in µm of",
}
