"""Splits of an archive's cells into training, validation and test.

A split is drawn over *groups* of cells, never over patches: sperm of one donor are similar, cells
of one field share the illumination, and overlapping crops share pixels. If one of such a pair is in
training, the other is not an independent test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgaf.base.console import count
from fgaf.base.errors import SettingError
from fgaf.base.names import nearest
from fgaf.dataset.findings import some
from fgaf.dataset.history import recorded
from fgaf.dataset.splits.groups import DisjointCells, fields_of, linked_cells
from fgaf.dataset.splits.stratify import stratify

if TYPE_CHECKING:
    from fgaf.dataset.archive import Archive, Cells

TRAIN: Final = 0
VALIDATION: Final = 1
TEST: Final = 2
SIDES: Final = ("train", "validation", "test")
DEFAULT_FRACTIONS: Final = (0.7, 0.1, 0.2)

By = Literal["auto", "sample", "field", "cell"]

_ENOUGH_GROUPS: Final = 3
_ROTATING: Final = 3


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
        Number of groups.
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
        return f"{named} (cells; split by {self.by}, {count(self.groups, 'group')})"


def make_split(
    cells: Cells,
    center_y: ArrayLike,
    center_x: ArrayLike,
    cell: ArrayLike,
    patch_px: int,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    by: str = "auto",
    seed: int = 0,
    test: NDArray[np.bool_] | None = None,
) -> Split:
    """Distribute cells over training, validation and test by group.

    For any `by`, cells of one field whose crops overlap (in any two planes) are on one side, and
    so are the repeats of a cell in repeated stacks of its field. Every side with a fraction above
    zero gets a group if there are at least as many groups as such sides. Two groups become train
    and test; a single group, such as an archive of one cell, becomes train, and the test side is
    empty. As far as whole groups allow, every side gets its share of each labelling method and,
    unless split by sample, of each sample.

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
        The unit that stays on one side. "auto" takes the sample if there are at least three
        sample ids, else the field if there are at least three, else the cell. By sample, cells
        without a sample id are grouped by field.
    seed : int
        The same cells, options and seed give the same split.
    test : (K,) bool, optional
        The test cells, if fixed; training and validation share the others in the ratio of their
        fractions.

    Raises
    ------
    SettingError
        The fractions or `by` are invalid, or fixed test cells are in a group with other cells.
    FgafError
        Crop centres are not finite.
    """
    wanted = _checked_fractions(fractions)
    group, by = group_cells(cells, center_y, center_x, cell, patch_px, by)
    fixed = _fixed(group, test, cells)
    free = np.flatnonzero(fixed < 0)
    if test is not None:
        wanted[TEST] = 0
        wanted /= wanted.sum()
    # With fewer groups than sides, later sides in this list get none.
    first = [side for side in (TRAIN, TEST, VALIDATION) if wanted[side] > 0]
    sides = fixed.copy()
    sides[free] = _share_out(group, free, cells, by, wanted, first, seed)
    return Split(sides=sides[group], by=by, groups=len(sides))


def make_folds(
    cells: Cells,
    center_y: ArrayLike,
    center_x: ArrayLike,
    cell: ArrayLike,
    patch_px: int,
    folds: int,
    test_share: float = DEFAULT_FRACTIONS[TEST],
    by: str = "auto",
    seed: int = 0,
    test: NDArray[np.bool_] | None = None,
    validation_share: float | None = None,
) -> list[Split]:
    """Distribute cells over folds for cross-validation, by group as `make_split` does.

    With a test side, all splits share it and each fold is the validation side of one split.
    Without one (`test_share` 0), each fold is the test side of one split, and the next fold its
    validation side, or a share drawn from all other folds.

    Parameters
    ----------
    cells, center_y, center_x, cell, patch_px, by, seed, test
        As for `make_split`.
    folds : int
        Number of folds, two or more; three or more if the next fold validates.
    test_share : float
        Share of the cells for the common test side; ignored if `test` is given.
    validation_share : float or None
        Validation share of the cells that are not tested, if each fold is tested once; None to
        validate on the next fold.

    Returns
    -------
    list of Split
        One per fold.

    Raises
    ------
    SettingError
        There are too few folds, or fewer groups than folds; otherwise as `make_split`.
    """
    if not 0 <= test_share < 1:
        raise SettingError(
            f"a test share of {test_share:g} leaves no cells to train on; give 0 to 0.9"
        )
    rotating = test is None and test_share == 0
    drawn = rotating and validation_share is not None
    least = _ROTATING if rotating and not drawn else 2
    if folds < least:
        raise SettingError(f"--folds {folds} is too few; give {least} or more")
    group, by = group_cells(cells, center_y, center_x, cell, patch_px, by)
    fixed = _fixed(group, test, cells)
    free = np.flatnonzero(fixed < 0)
    common = 0 if rotating or test is not None else 1
    if len(free) < folds + (common or drawn):
        raise SettingError(
            f"{count(len(free), 'group')} (by {by}) cannot fill {folds} folds"
            f"{' and a test side' if common else ''}; take fewer folds, or another --by"
        )
    shares = [test_share] * common
    wanted = np.array([*shares, *[(1 - sum(shares)) / folds] * folds])
    place = np.full(len(fixed), -1, np.int8)
    place[free] = _share_out(group, free, cells, by, wanted, list(range(len(wanted))), seed)
    splits = []
    for fold in range(folds):
        sides = np.full(len(fixed), TRAIN, np.int8)
        if rotating:
            sides[place == fold] = TEST
            if validation_share is None:
                sides[place == (fold + 1) % folds] = VALIDATION
            else:
                rest = np.flatnonzero(place != fold)
                parts = np.array([1 - validation_share, validation_share])
                sides[rest] = _share_out(group, rest, cells, by, parts, [0], seed + fold)
        else:
            sides[place == fold + common] = VALIDATION
            sides[(fixed == TEST) | ((place == 0) & (common == 1))] = TEST
        splits.append(Split(sides=sides[group], by=by, groups=len(fixed)))
    return splits


def group_cells(
    cells: Cells,
    center_y: ArrayLike,
    center_x: ArrayLike,
    cell: ArrayLike,
    patch_px: int,
    by: str = "auto",
) -> tuple[NDArray[np.intp], str]:
    """Number the groups of cells that stay on one side; see `make_split` for the options.

    Parameters
    ----------
    cells
        K cells.
    center_y, center_x
        (M,) centre of each crop, pixels of the raw frame.
    cell
        (M,) cell of each crop, counted from 0.
    patch_px
        Side of the crops, pixels.
    by
        "auto", "sample", "field" or "cell".

    Returns
    -------
    group : (K,) int
        Equal numbers for cells of one group, from 0 without gaps.
    by : str
        What the groups are: "sample", "field" or "cell".
    """
    samples = np.asarray(cells.sample_id, dtype=str)
    fields = fields_of(cells)
    by = _resolve(by, samples, fields)
    sets = DisjointCells(len(samples))
    sets.join_equal(linked_cells(cells, center_y, center_x, cell, patch_px))
    if by == "sample":
        sets.join_equal(samples, where=samples != "")
        sets.join_equal(fields, where=samples == "")
    elif by == "field":
        sets.join_equal(fields)
    return sets.labels(), by


def with_split(
    archive: Archive,
    name: str,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    by: str = "auto",
    seed: int = 0,
    test_of: str = "",
) -> tuple[Archive, Split]:
    """Add a named split to an archive; see `make_split` for the options.

    Parameters
    ----------
    archive : Archive
        In memory, or open and lazy.
    name : str
        Of the new split.
    fractions, by, seed
        As for `make_split`.
    test_of : str
        Name of a split of the archive whose test side stays the test side.

    Returns
    -------
    archive : Archive
        The same cells and patches with one more split, for a new file.
    split : Split
        The split added.

    Raises
    ------
    SettingError
        The archive has a split of that name: published splits never change.
    """
    _require_new_names(archive, [name])
    split = make_split(*places_of(archive), fractions, by, seed, _test_of(archive, test_of))
    facts = {"fractions": list(fractions), "test_of": test_of}
    return _with(archive, {name: split}, seed, facts), split


def with_folds(
    archive: Archive,
    name: str,
    folds: int,
    test_share: float = DEFAULT_FRACTIONS[TEST],
    by: str = "auto",
    seed: int = 0,
    test_of: str = "",
) -> tuple[Archive, dict[str, Split]]:
    """Add the splits `name`_1, `name`_2, ... of a cross-validation; see `make_folds`.

    Parameters
    ----------
    archive
        It stays as it is.
    name
        Prefix of the splits' names.
    folds
        Number of folds.
    test_share
        Share of the cells on the test side; 0 makes each fold a test side.
    by
        The unit that stays on one side, see `make_split`.
    seed
        Seed of the folds.
    test_of
        Name of a split whose test side is kept; empty for a new one.

    Returns
    -------
    archive : Archive
        With one more split per fold.
    splits : dict
        The added splits, by name.

    Raises
    ------
    SettingError
        As `make_folds`, or the archive has a split of one of these names.
    """
    names = [f"{name}_{fold}" for fold in range(1, folds + 1)]
    _require_new_names(archive, [name, *names])
    test = _test_of(archive, test_of)
    made = make_folds(*places_of(archive), folds, test_share, by, seed, test)
    splits = dict(zip(names, made, strict=True))
    return _with(archive, splits, seed, {"test_share": test_share, "test_of": test_of}), splits


def _with(archive: Archive, made: dict[str, Split], seed: int, facts: dict[str, Any]) -> Archive:
    sides = archive.splits | {name: split.sides for name, split in made.items()}
    by = next(iter(made.values())).by
    longer = replace(archive, splits=sides)
    return recorded(longer, "split", names=list(made), by=by, seed=seed, **facts)


def places_of(archive: Archive) -> tuple[Any, Any, Any, Any, int]:
    """First arguments of `make_split` and `make_folds`, from an archive."""
    patch_px = archive.header.patch_px
    return archive.cells, archive.center_y, archive.center_x, archive.cell, patch_px


def _require_new_names(archive: Archive, names: list[str]) -> None:
    for name in names:
        if not name.isidentifier():
            raise SettingError(f"{name!r} cannot name a split: use letters, digits and _")
        if name in archive.splits:
            raise SettingError(
                f"the archive has a split {name!r}, and a split that others may have used never "
                "changes; choose another name"
            )


def _test_of(archive: Archive, name: str) -> NDArray[np.bool_] | None:
    if not name:
        return None
    if name not in archive.splits:
        raise SettingError(
            f"the archive has no split {name!r} to take the test side of; "
            f"{nearest(name, archive.splits)}"
        )
    test: NDArray[np.bool_] = archive.splits[name] == TEST
    if not test.any():
        raise SettingError(f"split {name!r} has no test cells; leave --test-of out")
    return test


def _fixed(
    group: NDArray[np.intp], test: NDArray[np.bool_] | None, cells: Cells
) -> NDArray[np.int8]:
    """(G,) `TEST` for the groups of the fixed test cells, -1 for the others."""
    n = int(group.max(initial=-1)) + 1
    fixed = np.full(n, -1, np.int8)
    if test is not None:
        fixed[group[test]] = TEST
        others = np.flatnonzero((fixed[group] == TEST) & ~test)
        if len(others):
            raise SettingError(
                "cells outside the test side are in one group with cells in it: "
                f"{some(cells.id[others])}; take them out with `fgaf-data subset --without`, or "
                "choose a finer --by"
            )
    return fixed


def _share_out(
    group: NDArray[np.intp],
    free: NDArray[np.intp],
    cells: Cells,
    by: str,
    wanted: NDArray[np.float64],
    first: list[int],
    seed: int,
) -> NDArray[np.int8]:
    """Assign the groups in `free` to sides, with every stratum of their cells balanced."""
    strata = [np.zeros(len(group), np.intp), _numbers(cells.method)]
    if by != "sample":
        strata.append(_numbers(cells.sample_id))
    rank = np.full(int(group.max(initial=-1)) + 1, -1)
    rank[free] = np.arange(len(free))
    here = rank[group] >= 0
    return stratify(rank[group[here]], [s[here] for s in strata], wanted, first, seed)


def _numbers(names: NDArray[Any]) -> NDArray[np.intp]:
    return np.asarray(np.unique(names.astype(str), return_inverse=True)[1], np.intp)


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
