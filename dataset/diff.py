"""How two archives differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fgaf.dataset.archive import CELL_COLUMNS, ROW_COLUMNS, Archive
from fgaf.dataset.findings import some
from fgaf.dataset.split import SIDES


@dataclass(frozen=True)
class Difference:
    """What is not the same in two archives; cells are compared by name.

    Attributes
    ----------
    header : dict
        Name of a differing entry to its two values; time and program of writing aside.
    only_first, only_second : list of str
        Cells that only one archive has.
    labels, pixels : list of str
        Common cells whose depths, planes or places differ; whose patches differ.
    columns : dict
        Column of the table of cells to the common cells in which it differs.
    splits : dict
        Name of a split to what differs: "only in the first", "only in the second", or which
        common cells changed sides, as "cell: train, test".
    """

    header: dict[str, tuple[Any, Any]]
    only_first: list[str]
    only_second: list[str]
    labels: list[str]
    pixels: list[str]
    columns: dict[str, list[str]]
    splits: dict[str, str | list[str]]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not any(vars(self).values())

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {"same": self.same} | asdict(self)

    def __str__(self) -> str:
        """One line per difference."""
        lines = [
            f"{name}: {first!r}, second {second!r}" for name, (first, second) in self.header.items()
        ]
        for names, what in (
            (self.only_first, "only in the first"),
            (self.only_second, "only in the second"),
            (self.labels, "with other depths, planes or places"),
            (self.pixels, "with other pixels"),
        ):
            if names:
                lines.append(f"{_cells(names)} {what}: {some(names)}")
        lines += [
            f"{_cells(names)} with another {name}: {some(names)}"
            for name, names in self.columns.items()
        ]
        for name, moved in self.splits.items():
            text = moved if isinstance(moved, str) else f"{_cells(moved)} elsewhere: {some(moved)}"
            lines.append(f"split {name!r}: {text}")
        return "\n".join(lines) or "no difference"


def difference(first: Archive, second: Archive) -> Difference:
    """Compare two archives, in memory or open; patches are read cell by cell."""
    here = {name: k for k, name in enumerate(first.cells.id.tolist())}
    there = {name: k for k, name in enumerate(second.cells.id.tolist())}
    common = [name for name in here if name in there]
    a, b = np.array([here[n] for n in common], int), np.array([there[n] for n in common], int)
    labels, pixels = [], []
    for name in common:
        rows, others = first.rows_of(here[name]), second.rows_of(there[name])
        if any(
            not np.array_equal(getattr(first, column)[rows], getattr(second, column)[others])
            for column in ROW_COLUMNS
            if column != "cell"
        ):
            labels.append(name)
        if not np.array_equal(first.images[rows], second.images[others]):
            pixels.append(name)
    columns = {}
    for column in CELL_COLUMNS:
        changed = getattr(first.cells, column)[a] != getattr(second.cells, column)[b]
        if column != "id" and changed.any():
            columns[column] = [common[k] for k in np.flatnonzero(changed)]
    return Difference(
        header=_headers(first, second),
        only_first=[name for name in here if name not in there],
        only_second=[name for name in there if name not in here],
        labels=labels,
        pixels=pixels,
        columns=columns,
        splits=_splits(first, second, common, a, b),
    )


def _headers(first: Archive, second: Archive) -> dict[str, tuple[Any, Any]]:
    flat = []
    for archive in (first, second):
        values = archive.header.model_dump(exclude={"created_utc", "software"})
        flat.append(values | values.pop("optics") | {"dtype": str(archive.images.dtype)})
    return {
        name: (flat[0][name], flat[1][name]) for name in flat[0] if flat[0][name] != flat[1][name]
    }


def _splits(
    first: Archive, second: Archive, common: list[str], a: Any, b: Any
) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = {}
    for name in sorted({*first.splits, *second.splits}):
        if name not in second.splits:
            found[name] = "only in the first"
        elif name not in first.splits:
            found[name] = "only in the second"
        else:
            was, now = first.splits[name][a], second.splits[name][b]
            moved = np.flatnonzero(was != now)
            if len(moved):
                found[name] = [f"{common[k]}: {SIDES[was[k]]}, {SIDES[now[k]]}" for k in moved]
    return found


def _cells(names: list[str]) -> str:
    return f"{len(names)} cell{'s' if len(names) != 1 else ''}"
