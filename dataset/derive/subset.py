"""Part of an archive: some of its cells, or fewer depths."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.bounds import Count, HalfRangeUm, Seed, Share, require_bounded
from fgaf.base.errors import FgafError, SettingError
from fgaf.base.names import nearest
from fgaf.dataset.archive import ROW_COLUMNS, Archive
from fgaf.dataset.history import recorded
from fgaf.dataset.splits.split import SIDES
from fgaf.dataset.storage.virtual_images import PickedImages

_TOLERANCE: Final = 1e-6
_LONG: Final = 200


@dataclass(frozen=True)
class Selection:
    """Which cells and depths to take: those that meet all given conditions.

    Attributes
    ----------
    samples, methods : tuple of str
        Cells of these samples; cells labelled by these methods.
    cells, without : tuple of str
        Cells with these names; all cells except these.
    min_confidence : float
        Cells labelled with at least this confidence.
    split, side : str
        Cells on this side of this split.
    most : int or None
        At most this many cells, drawn at random.
    seed : int
        Seed of the random choice.
    half_range_um : float or None
        Only the depths from minus to plus this, in µm.
    """

    samples: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    min_confidence: Share = 0.0
    split: str = ""
    side: str = ""
    most: Count | None = None
    seed: Seed = 0
    half_range_um: HalfRangeUm | None = None

    def __post_init__(self) -> None:
        require_bounded(self)


def subset(archive: Archive, selection: Selection) -> Archive:
    """Take part of an archive; cells that stay keep their sides in every split.

    Parameters
    ----------
    archive
        In memory or open.
    selection
        What to take.

    Returns
    -------
    Archive
        Lazy: patches are read from `archive` when they are used. Its history has the step.

    Raises
    ------
    SettingError
        The archive has no such name, or the half range is not on its grid.
    FgafError
        No cell is left.
    """
    keep = _cells(archive, selection)
    if not keep.any():
        raise FgafError("no cell meets all conditions; give fewer")
    rows = keep[archive.cell]
    header = archive.header
    if selection.half_range_um is not None:
        header = header.model_copy(
            update={"half_range_um": _half_range(archive, selection.half_range_um)}
        )
        rows &= np.abs(archive.depth_um) <= header.half_range_um + header.step_um / 2
    part = replace(take_rows(archive, np.flatnonzero(rows)), header=header)
    wishes = [f.name for f in fields(selection) if getattr(selection, f.name) != f.default]
    return recorded(
        part,
        "subset",
        source=archive.fingerprint,
        cells=part.n_cells,
        of=archive.n_cells,
        wishes=wishes,
    )


def take_rows(archive: Archive, rows: NDArray[np.intp]) -> Archive:
    """Take ascending rows of an archive, lazily, and the cells to which they belong.

    Parameters
    ----------
    archive
        In memory or open.
    rows
        (N,) which.
    """
    cells, cell = np.unique(archive.cell[rows], return_inverse=True)
    columns: dict[str, Any] = {name: getattr(archive, name)[rows] for name in ROW_COLUMNS}
    truth = archive.true_depth_um
    return replace(
        archive,
        images=PickedImages(archive.images, rows),
        cells=archive.cells.take(cells),
        true_depth_um=None if truth is None else truth[rows],
        masks=None if archive.masks is None else PickedImages(archive.masks, rows),
        splits={name: sides[cells] for name, sides in archive.splits.items()},
        refinement=archive.refinement and archive.refinement.take(rows, cells),
        path=None,
        fingerprint="",
        **(columns | {"cell": cell.astype(np.int32)}),
    )


def _cells(archive: Archive, selection: Selection) -> NDArray[np.bool_]:
    table = archive.cells
    keep = np.ones(archive.n_cells, bool)
    for wanted, column, what in (
        (selection.samples, table.sample_id, "sample"),
        (selection.methods, table.method, "method"),
        (selection.cells, table.id, "cell"),
        (selection.without, table.id, "cell"),
    ):
        if wanted:
            _require_known(wanted, column, what)
            listed = np.isin(column.astype(str), wanted)
            keep &= ~listed if wanted is selection.without else listed
    keep &= table.confidence >= selection.min_confidence
    if bool(selection.split) != bool(selection.side):
        raise SettingError("give --split and --side together, as --split default --side test")
    if selection.split:
        keep &= _on_side(archive, selection.split, selection.side)
    if selection.most is not None:
        left = np.flatnonzero(keep)
        drawn = np.random.default_rng(selection.seed).permutation(left)[: selection.most]
        keep = np.isin(np.arange(len(keep)), drawn)
    return keep


def _require_known(wanted: tuple[str, ...], column: NDArray[Any], what: str) -> None:
    known = set(column.tolist())
    for name in wanted:
        if name not in known:
            hint = nearest(name, known)
            few = hint if len(hint) < _LONG else "check the name"
            raise SettingError(f"the archive has no {what} {name!r}; {few}")


def _on_side(archive: Archive, split: str, side: str) -> NDArray[np.bool_]:
    if split not in archive.splits:
        raise SettingError(f"the archive has no split {split!r}; {nearest(split, archive.splits)}")
    if side not in SIDES:
        raise SettingError(f"a split has no side {side!r}; choose from {', '.join(SIDES)}")
    return np.asarray(archive.splits[split] == SIDES.index(side))


def _half_range(archive: Archive, half_range_um: float) -> float:
    step, most = archive.header.step_um, archive.header.half_range_um
    steps = half_range_um / step
    if not (steps >= 1 - _TOLERANCE and half_range_um <= most + _TOLERANCE) or (
        abs(steps - round(steps)) > _TOLERANCE
    ):
        raise SettingError(
            f"a half range of {half_range_um:g} µm is off this archive's grid; give a multiple of "
            f"{step:g} µm up to {most:g} µm"
        )
    return round(steps) * step
