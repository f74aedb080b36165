"""Leakage between the training and test sides of a split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.console import count
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.findings import Finding, some
from fgaf.dataset.history import changed_splits
from fgaf.dataset.quality.duplicates import Pairs
from fgaf.dataset.splits.groups import divided_groups, fields_of
from fgaf.dataset.splits.split import SIDES, TEST

_ENOUGH_GROUPS: Final = 3
_REMAKE: Final = "make another split with `fgaf-data split`"


def split_findings(
    archive: Archive, linked: NDArray[np.intp], copied: Pairs, alike: Pairs
) -> Iterator[Finding]:
    """Check every split of an archive.

    Parameters
    ----------
    archive
        Open archive.
    linked
        (K,) cells linked by overlapping crops.
    copied, alike
        Pairs of rows with the same pixels, and with the same exposure.
    """
    if DEFAULT_SPLIT not in archive.splits:
        yield Finding(
            "split-missing",
            "warning",
            f"there is no split {DEFAULT_SPLIT!r}",
            f"make one with `fgaf-data split --name {DEFAULT_SPLIT}`",
        )
    for name in changed_splits(archive):
        yield Finding(
            "split-changed",
            "error",
            f"split {name!r} is not the one whose fingerprint the archive recorded",
            "copy the file from its source again; a changed split needs another name",
        )
    ids, fields = archive.cells.id, fields_of(archive.cells)
    for name, sides in archive.splits.items():
        divided = divided_groups(linked, sides)
        if len(divided):
            members = np.flatnonzero(np.isin(linked, divided))
            yield Finding(
                "leak-overlap",
                "error",
                f"split {name!r} divides cells whose crops overlap: {some(ids[members])}",
                _REMAKE,
            )
        for check, pairs, what in (
            ("leak-duplicate", copied, "copies of one patch"),
            ("leak-content", alike, "altered copies of one exposure"),
        ):
            cells = archive.cell[pairs]
            crossing = np.unique(cells[sides[cells[:, 0]] != sides[cells[:, 1]]])
            if len(crossing):
                yield Finding(
                    check,
                    "error",
                    f"split {name!r} has {what} on two sides, of cell {some(ids[crossing])}",
                    "remove one of each with `fgaf-data subset --without`",
                )
        yield from _group_leaks(name, sides, archive.cells.sample_id, fields)
        missing = [SIDES[side] for side in range(3) if not (sides == side).any()]
        if missing:
            yield Finding(
                "side-empty",
                "warning" if SIDES[TEST] in missing else "note",
                f"split {name!r} has no cell in {some(missing)}",
                "add cells, or " + _REMAKE,
            )


def _group_leaks(
    name: str, sides: NDArray[np.int8], samples: NDArray[Any], fields: NDArray[np.intp]
) -> Iterator[Finding]:
    """Samples and fields on two sides; avoidable if there is at least one for each side."""
    known, sample = np.unique(samples.astype(str), return_inverse=True)
    crossing = [known[s] for s in divided_groups(sample, sides) if known[s]]
    if crossing:
        yield Finding(
            "leak-sample",
            "warning" if len(set(known) - {""}) >= _ENOUGH_GROUPS else "note",
            f"split {name!r} has cells of one sample on two sides: {some(crossing)}",
            "make a split with `fgaf-data split --by sample`",
        )
    n_fields = int(fields.max()) + 1
    shared = divided_groups(fields, sides)
    if len(shared) and not crossing:
        yield Finding(
            "leak-field",
            "warning" if n_fields >= _ENOUGH_GROUPS else "note",
            f"split {name!r} has cells of one field on two sides, in {len(shared)} of "
            f"{count(n_fields, 'field')}",
            "make a split with `fgaf-data split --by field`",
        )
