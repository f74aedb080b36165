"""Splits of an archive's cells into training, validation and test.

A split is drawn over *groups* of cells, never over patches: a donor's sperm resemble each
other, a field's illumination is shared, and two crops that overlap show the same pixels. A
network that saw one half of such a pair in training is not tested by the other half.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgaf.dataset.errors import FgafError, SettingError

if TYPE_CHECKING:
    from fgaf.dataset.archive import Archive, Cells

TRAIN: Final = 0
VALIDATION: Final = 1
TEST: Final = 2
SIDES: Final = ("train", "validation", "test")
DEFAULT_FRACTIONS: Final = (0.7, 0.1, 0.2)

By = Literal["auto", "sample", "field", "cell"]

_ENOUGH_GROUPS: Final = 3


@dataclass(frozen=True)
class Split:
    """Which side each cell is on.

    Attributes
    ----------
    sides : (K,) int8
        `TRAIN`, `VALIDATION` or `TEST` per cell.
    by : str
        What the groups were: "sample", "field" or "cell".
    groups : int
        How many groups there were to distribute.
    """

    sides: NDArray[np.int8]
    by: str
    groups: int

    @property
    def counts(self) -> tuple[int, int, int]:
        """Cells in train, validation and test."""
        train, validation, test = np.bincount(self.sides, minlength=3)[:3]
        return int(train), int(validation), int(test)

    def __str__(self) -> str:
        named = ", ".join(f"{n} {side}" for n, side in zip(self.counts, SIDES, strict=True))
        return f"{named} (cells; split by {self.by}, {self.groups} groups)"


def make_split(
    cells: Cells,
    center_y: ArrayLike,
    center_x: ArrayLike,
    cell: ArrayLike,
    patch_px: int,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    by: str = "auto",
    seed: int = 0,
) -> Split:
    """Distribute cells over training, validation and test by group.

    Whatever `by` says, cells of one field whose crops overlap (in any two planes) share a
    side, and so do the repeats of a cell in repeated stacks of its field. Every side with a
    fraction above zero gets a group where there are at least as many groups as such sides.
    Two groups become train and test; a single group, such as an archive of one cell, becomes
    train, and there is nothing to test.

    Parameters
    ----------
    cells : Cells
        The (K,) columns of the archive.
    center_y, center_x : (M,) array
        Crop centre of every patch, pixels of the raw frame.
    cell : (M,) int array
        Index of every patch's cell.
    patch_px : int
        Side of a crop, pixels.
    fractions : (3,) floats
        Wanted share of the cells in train, validation and test; they add up to 1.
    by : {"auto", "sample", "field", "cell"}
        What may not be divided. "auto" takes the sample where at least three sample ids are
        given, else the field where there are at least three, else the cell. By sample, cells
        without a sample id are kept together by field.
    seed : int
        The same cells, options and seed give the same split.

    Raises
    ------
    SettingError
        For fractions or a `by` that mean nothing.
    FgafError
        For crop centres that are not finite.
    """
    wanted = _checked_fractions(fractions)
    samples = np.asarray(cells.sample_id, dtype=str)
    fields = fields_of(cells)
    by = _resolve(by, samples, fields)

    union = UnionFind(len(samples))
    union.join_equal(linked_cells(cells, center_y, center_x, cell, patch_px))
    if by == "sample":
        union.join_equal(samples, where=samples != "")
        union.join_equal(fields, where=samples == "")
    elif by == "field":
        union.join_equal(fields)
    group = union.labels()

    sides = _distribute(np.bincount(group), wanted, seed)
    return Split(sides=sides[group], by=by, groups=len(sides))


def with_split(
    archive: Archive,
    name: str,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    by: str = "auto",
    seed: int = 0,
) -> tuple[Archive, Split]:
    """Add a named split to an archive in memory; see `make_split` for the options.

    Returns
    -------
    archive : Archive
        The same cells and patches with one split more, to be written to a new file.
    split : Split
        The split added.

    Raises
    ------
    SettingError
        The archive has a split of that name: published splits never change.
    """
    if not name.isidentifier():
        raise SettingError(f"{name!r} cannot name a split: use letters, digits and _")
    if name in archive.splits:
        raise SettingError(
            f"the archive has a split {name!r}, and a split that others may have used never "
            "changes; choose another name"
        )
    split = make_split(
        archive.cells,
        archive.center_y,
        archive.center_x,
        archive.cell,
        archive.header.patch_px,
        fractions,
        by,
        seed,
    )
    return replace(archive, splits=archive.splits | {name: split.sides}), split


def fields_of(cells: Cells) -> NDArray[np.intp]:
    """Number the fields of view: (K,) with the same number for cells of one field.

    Cells are of one field when they come from the same source, or when the sources carry the
    same field name within one sample: that is how repeats are told. A name without a sample
    id is taken to mean every field of that name. A cell with neither source nor field name is
    a field of its own.
    """
    names = np.asarray(cells.field, dtype=str)
    samples = np.asarray(cells.sample_id, dtype=str)
    digests = np.asarray(cells.source_sha256, dtype=str)
    sources = np.asarray(cells.source, dtype=str)

    union = UnionFind(len(names))
    union.join_equal(digests, where=digests != "")
    union.join_equal(sources, where=(digests == "") & (sources != ""))
    nowhere = set(names[samples == ""].tolist())
    scoped = [("" if n in nowhere else s, n) for s, n in zip(samples, names, strict=True)]
    union.join_equal(scoped, where=names != "")
    return union.labels()


def linked_cells(
    cells: Cells, center_y: ArrayLike, center_x: ArrayLike, cell: ArrayLike, patch_px: int
) -> NDArray[np.intp]:
    """Number the sets of cells that no split may divide: (K,) with equal numbers for linked cells.

    Linked are cells of one field whose crops share a pixel, be it in different planes or
    repeats, and everything that hangs together through such pairs.

    Raises
    ------
    FgafError
        For crop centres that are not finite.
    """
    row_cell = np.asarray(cell, dtype=np.intp)
    y = np.asarray(center_y, dtype=np.float64)
    x = np.asarray(center_x, dtype=np.float64)
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise FgafError("crop centres are not finite: no telling which crops overlap; rebuild them")

    union = UnionFind(len(cells.id))
    if row_cell.size == 0:
        return union.labels()
    places = np.unique(np.column_stack([fields_of(cells)[row_cell], row_cell, y, x]), axis=0)
    owner = places[:, 1].astype(np.intp)
    tiles = np.column_stack([places[:, 0], np.floor(places[:, 2:] / patch_px)]).astype(np.int64)
    held, tile_of, count = np.unique(tiles, axis=0, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(tile_of.ravel(), kind="stable"), np.cumsum(count)[:-1])
    tile_at = {(f, i, j): m for (f, i, j), m in zip(held.tolist(), members, strict=True)}

    for (field, i, j), here in tile_at.items():
        # A tile is as large as a crop, so crops centred in one tile overlap: joined unseen.
        union.join(owner[here])
        for di, dj in ((0, 1), (1, -1), (1, 0), (1, 1)):
            there = tile_at.get((field, i + di, j + dj))
            if there is None or union.find(owner[here[0]]) == union.find(owner[there[0]]):
                continue
            gap = np.abs(places[here, None, 2:] - places[None, there, 2:]).max(axis=-1)
            if (gap < patch_px).any():
                union.join([owner[here[0]], owner[there[0]]])
    return union.labels()


class UnionFind:
    """Disjoint sets of the numbers 0 to n - 1 (path halving)."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def find(self, i: int) -> int:
        """Return the number that stands for i's set."""
        parent = self._parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(self, members: Iterable[int]) -> None:
        """Make one set of the sets of all members."""
        roots = {self.find(int(m)) for m in members}
        if roots:
            first = min(roots)
            for root in roots:
                self._parent[root] = first

    def join_equal(self, keys: Iterable[object], where: NDArray[np.bool_] | None = None) -> None:
        """Join the numbers whose keys are equal, among those marked by `where`."""
        first: dict[object, int] = {}
        for i, key in enumerate(keys):
            if where is None or where[i]:
                self.join((first.setdefault(key, i), i))

    def labels(self) -> NDArray[np.intp]:
        """Number the sets 0, 1, ... in the order of their first members."""
        roots = [self.find(i) for i in range(len(self._parent))]
        number = {root: n for n, root in enumerate(dict.fromkeys(roots))}
        return np.array([number[root] for root in roots], dtype=np.intp)


def _checked_fractions(fractions: Sequence[float]) -> NDArray[np.float64]:
    wanted = np.asarray(fractions, dtype=np.float64)
    if wanted.shape != (3,) or not np.isfinite(wanted).all() or (wanted < 0).any():
        raise SettingError(
            f"fractions {tuple(fractions)} are not three shares for train, validation and test; "
            "give for example 0.7,0.1,0.2"
        )
    if abs(wanted.sum() - 1) > 1e-6 or wanted[TRAIN] == 0:
        raise SettingError(
            f"fractions {tuple(fractions)} must add up to 1 and leave something to train on; "
            "give for example 0.7,0.1,0.2"
        )
    return wanted


def _resolve(by: str, samples: NDArray[np.str_], fields: NDArray[np.intp]) -> str:
    if by in ("sample", "field", "cell"):
        if by == "sample" and len(samples) and not (samples != "").any():
            raise SettingError(
                "no cell carries a sample id to split by: use 'field', 'cell' or 'auto', "
                "or give the sample when recording or importing"
            )
        return by
    if by != "auto":
        raise SettingError(f"cannot split by {by!r}: choose auto, sample, field or cell")
    if len(set(samples.tolist()) - {""}) >= _ENOUGH_GROUPS:
        return "sample"
    return "field" if len(set(fields.tolist())) >= _ENOUGH_GROUPS else "cell"


def _distribute(
    sizes: NDArray[np.intp], wanted: NDArray[np.float64], seed: int
) -> NDArray[np.int8]:
    """Assign groups to sides, the largest first, each where most cells are missing."""
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    missing = wanted * sizes.sum()
    missing[wanted == 0] = -np.inf
    sides = np.full(len(sizes), TRAIN, dtype=np.int8)
    # With fewer groups than sides, the later ones of this list go without.
    empty = [side for side in (TRAIN, TEST, VALIDATION) if wanted[side] > 0][: len(sizes)]
    if len(sizes) < _ENOUGH_GROUPS:
        missing[[side for side in range(3) if side not in empty]] = -np.inf
    for done, group in enumerate(order):
        if len(sizes) - done <= len(empty):
            side = max(empty, key=lambda s: missing[s])
        else:
            side = int(np.argmax(missing))
        sides[group] = side
        missing[side] -= sizes[group]
        if side in empty:
            empty.remove(side)
    return sides
