"""How two archives differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import h5py
import numpy as np

from fgaf.dataset.archive import CELL_COLUMNS, HISTORY, ROW_COLUMNS, Archive
from fgaf.dataset.findings import some
from fgaf.dataset.splits.split import SIDES
from fgaf.dataset.storage.integrity import Bar, attribute_types, broken_seals

_TOLD = (f"/{HISTORY}", "/true_depth_um", "/masks")


@dataclass(frozen=True)
class Difference:
    """Differences between two archives; cells are compared by name.

    Attributes
    ----------
    header : dict
        Name of a differing entry to its two values, without time and program of writing.
    only_first, only_second : list of str
        Cells that only one archive has.
    labels, pixels, masks : list of str
        Common cells whose depths, planes or positions differ; whose patches differ; whose masks
        differ, where both archives have some.
    columns : dict
        Column of the table of cells to the common cells for which it differs.
    splits : dict
        Name of a split to what differs: "only in the first", "only in the second", or which
        common cells changed sides, as "cell: train, test".
    attributes : dict
        Place in the file to type and value in both, if these differ although the header is equal:
        1 and 1.0, or attributes that the header does not have. None if a file has none.
    checksums : dict
        "first" or "second" to the parts of that file that differ from their checksums.
    """

    header: dict[str, tuple[Any, Any]]
    only_first: list[str]
    only_second: list[str]
    labels: list[str]
    pixels: list[str]
    masks: list[str]
    columns: dict[str, list[str]]
    splits: dict[str, str | list[str]]
    attributes: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    checksums: dict[str, list[str]] = field(default_factory=dict)

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
            (self.masks, "with other masks"),
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
        lines += [
            f"{place}: {first or 'absent'}, second {second or 'absent'}"
            for place, (first, second) in self.attributes.items()
        ]
        lines += [
            f"the {which} is damaged or was altered: checksum differs in {', '.join(places)}"
            for which, places in self.checksums.items()
        ]
        return "\n".join(lines) or "no difference"


def difference(first: Archive, second: Archive, progress: Bar = iter) -> Difference:
    """Compare two archives, in memory or open.

    Parameters
    ----------
    first, second
        The archives; if open, patches are read cell by cell, and types of attributes and
        checksums are compared too.
    progress
        Wraps the blocks of a file while its checksums are compared.
    """
    here = {name: k for k, name in enumerate(first.cells.id.tolist())}
    there = {name: k for k, name in enumerate(second.cells.id.tolist())}
    common = [name for name in here if name in there]
    a, b = np.array([here[n] for n in common], int), np.array([there[n] for n in common], int)
    names = [name for name in ROW_COLUMNS if name != "cell"]
    compared = [(getattr(first, name), getattr(second, name)) for name in names]
    if first.true_depth_um is not None and second.true_depth_um is not None:
        compared.append((first.true_depth_um, second.true_depth_um))
    labels, pixels, masks = [], [], []
    both_masked = first.masks is not None and second.masks is not None
    for name in common:
        rows, others = first.rows_of(here[name]), second.rows_of(there[name])
        if any(not np.array_equal(one[rows], other[others]) for one, other in compared):
            labels.append(name)
        if not np.array_equal(first.images[rows], second.images[others]):
            pixels.append(name)
        if both_masked and not np.array_equal(first.masks[rows], second.masks[others]):
            masks.append(name)
    columns = {}
    for column in CELL_COLUMNS:
        changed = getattr(first.cells, column)[a] != getattr(second.cells, column)[b]
        if column != "id" and changed.any():
            columns[column] = [common[k] for k in np.flatnonzero(changed)]
    header = _headers(first, second)
    files = {
        which: archive.images.file
        for which, archive in (("first", first), ("second", second))
        if isinstance(archive.images, h5py.Dataset)
    }
    broken = {which: broken_seals(file, progress=progress) for which, file in files.items()}
    return Difference(
        header=header,
        only_first=[name for name in here if name not in there],
        only_second=[name for name in there if name not in here],
        labels=labels,
        pixels=pixels,
        masks=masks,
        columns=columns,
        splits=_splits(first, second, common, a, b),
        attributes=_attributes(files["first"], files["second"], header) if len(files) == 2 else {},
        checksums={which: places for which, places in broken.items() if places},
    )


def _attributes(
    first: h5py.File, second: h5py.File, known: dict[str, Any]
) -> dict[str, tuple[str | None, str | None]]:
    """Differences in types, or in places that are not in the header or the tables."""
    ours, theirs = attribute_types(first), attribute_types(second)
    compared = {
        *known,
        "created_utc",
        "software",
        *(["format_version"] if "masks" in known else []),
    }
    found: dict[str, tuple[str | None, str | None]] = {}
    for place in sorted({*ours, *theirs}):
        if place not in ours or place not in theirs:
            if place not in _TOLD and not place.startswith("/splits/"):
                one_has, other_has = ("present" if place in it else None for it in (ours, theirs))
                found[place] = (one_has, other_has)
            continue
        one, other = ours[place], theirs[place]
        for name in sorted({*one, *other}):
            if one.get(name) != other.get(name) and not (place == "/" and name in compared):
                found[f"{place} {name}"] = (one.get(name), other.get(name))
    return found


def _headers(first: Archive, second: Archive) -> dict[str, tuple[Any, Any]]:
    flat = []
    for archive in (first, second):
        values = archive.header.model_dump(exclude={"created_utc", "software"})
        values |= {"truth_known": archive.true_depth_um is not None}
        values |= {"masks": archive.masks is not None}
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
