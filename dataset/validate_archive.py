"""Checks of an archive: are its labels on the grid, its patches pictures, its splits fair."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.findings import Finding, some
from fgaf.dataset.split import SIDES, TEST, fields_of, linked_cells

METHODS: Final = ("person", "focus-curve", "simulation", "import")
_BLOCK: Final = 1024
_SATURATED_SHARE: Final = 0.05
_ENOUGH_GROUPS: Final = 3


def archive_findings(archive: Archive) -> Iterator[Finding]:
    """Check labels, patches and splits of an open archive."""
    if archive.n_cells == 0:
        yield Finding("empty", "error", "the archive holds no cell", "curate or import some")
        return
    yield from _labels(archive)
    yield from _cells(archive)
    patches = _look_at_patches(archive)
    yield from _patches(archive, patches)
    yield from _splits(archive, patches)


def _labels(archive: Archive) -> Iterator[Finding]:
    step, half = archive.header.step_um, archive.header.half_range_um
    depth = archive.depth_um
    ratio = half / step
    if abs(ratio - round(ratio)) > 1e-6:
        yield Finding(
            "grid",
            "error",
            f"a half range of {half:g} µm is no multiple of the step of {step:g} µm",
            "compile the archive again",
        )
    beyond = np.abs(depth) > half + step / 2
    if beyond.any():
        yield Finding(
            "depth-beyond-range",
            "error",
            f"{beyond.sum()} depths beyond ±{half:g} µm in cell {_ids(archive, beyond)}",
            "compile the archive again with a wider half range, or without these planes",
        )
    off = np.abs(depth - np.rint(depth / step) * step) > 0.1 * step
    if off.any():
        yield Finding(
            "depth-off-grid",
            "note",
            f"{off.mean():.0%} of the depths lie between the classes (step {step:g} µm)",
            "nothing, if depths were drawn or measured off the grid",
        )
    else:
        complete = np.bincount(archive.cell) == archive.n_classes
        if not complete.all():
            yield Finding(
                "planes-missing",
                "note",
                f"{(~complete).sum()} of {archive.n_cells} cells lack some of the "
                f"{archive.n_classes} depths",
                "nothing, or take these cells out",
            )
    same = np.diff(archive.cell) == 0
    if (np.diff(archive.plane)[same] <= 0).any():
        rows = np.flatnonzero((np.diff(archive.plane) <= 0) & same)
        yield Finding(
            "plane-order",
            "warning",
            f"plane numbers do not ascend with depth in cell {_ids(archive, rows)}",
            "check the direction of z where the stacks came from",
        )
    absent = sorted(set(range(archive.n_classes)) - set(archive.depth_class.tolist()))
    if absent:
        yield Finding(
            "class-empty",
            "warning",
            f"no patch at depth {some(f'{archive.class_depths_um[c]:g} µm' for c in absent)}",
            "add cells, or compile with a smaller half range",
        )


def _cells(archive: Archive) -> Iterator[Finding]:
    cells = archive.cells
    if not np.isfinite(cells.focus_um).all():
        yield Finding(
            "non-finite",
            "error",
            "/cells/focus_um holds numbers that are not finite",
            "compile the archive again",
        )
    if not ((cells.confidence >= 0) & (cells.confidence <= 1)).all():
        yield Finding(
            "confidence",
            "warning",
            "/cells/confidence holds numbers outside 0 to 1",
            "compile the archive again",
        )
    unknown = sorted(set(cells.method.tolist()) - set(METHODS))
    if unknown:
        yield Finding(
            "method",
            "warning",
            f"labelled by unknown method {some(map(repr, unknown))}",
            f"use one of {', '.join(METHODS)}",
        )
    if not (cells.sample_id != "").any():
        yield Finding(
            "sample-unknown",
            "note",
            "no cell says which sample it is of, so no split can keep samples apart",
            "give --sample when recording or importing",
        )
    if archive.header.optics.pixel_size_um is None:
        yield Finding(
            "pixel-size", "note", "the pixel size is unknown", "give it when recording or importing"
        )


@dataclass
class _Patches:
    """What one pass over the pixels shows."""

    constant: list[int] = field(default_factory=list)
    brightest: int = 0
    at_brightest: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    rows_of_digest: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))


def _look_at_patches(archive: Archive) -> _Patches:
    seen = _Patches(at_brightest=np.zeros(len(archive.images)))
    maxima = np.zeros(len(archive.images), dtype=np.int64)
    for start in range(0, len(archive.images), _BLOCK):
        block: NDArray[Any] = archive.images[start : start + _BLOCK]
        flat = block.reshape(len(block), -1)
        stop = start + len(block)
        maxima[start:stop] = flat.max(axis=1)
        share = (flat == flat.max(axis=1, keepdims=True)).mean(axis=1)
        seen.at_brightest[start:stop] = share
        seen.constant += (np.flatnonzero(share == 1) + start).tolist()
        for row, patch in enumerate(flat, start):
            seen.rows_of_digest[hashlib.sha256(patch.tobytes()).digest()].append(row)
    seen.brightest = int(maxima.max(initial=0))
    seen.at_brightest[maxima < seen.brightest] = 0
    return seen


def _patches(archive: Archive, seen: _Patches) -> Iterator[Finding]:
    if seen.constant:
        yield Finding(
            "constant-image",
            "error",
            f"every pixel is the same in {len(seen.constant)} patches, of cell "
            f"{_ids(archive, seen.constant)}",
            "take these cells out",
        )
    full = seen.brightest in {2**bits - 1 for bits in (8, 10, 12, 14, 16)}
    saturated = np.flatnonzero(seen.at_brightest > _SATURATED_SHARE) if full else np.zeros(0, int)
    saturated = np.setdiff1d(saturated, seen.constant)
    if len(saturated):
        yield Finding(
            "saturated-image",
            "warning",
            f"more than {_SATURATED_SHARE:.0%} of the pixels are at {seen.brightest} in "
            f"{len(saturated)} patches, of cell {_ids(archive, saturated)}",
            "lower the exposure, or take these cells out",
        )
    copies = [rows for rows in seen.rows_of_digest.values() if len(rows) > 1]
    copies = [rows for rows in copies if rows[0] not in set(seen.constant)]
    if copies:
        rows = [row for group in copies for row in group]
        yield Finding(
            "duplicate-patch",
            "warning",
            f"{len(rows)} patches are copies of each other, of cell {_ids(archive, rows)}",
            "take the copies out",
        )


def _splits(archive: Archive, seen: _Patches) -> Iterator[Finding]:
    if DEFAULT_SPLIT not in archive.splits:
        yield Finding(
            "split-missing",
            "warning",
            f"there is no split {DEFAULT_SPLIT!r}",
            "make one with `fgaf-data split`",
        )
    cells = archive.cells
    linked = linked_cells(
        cells, archive.center_y, archive.center_x, archive.cell, archive.header.patch_px
    )
    fields = fields_of(cells)
    copies = [archive.cell[rows] for rows in seen.rows_of_digest.values() if len(rows) > 1]
    remake = "make the split again with `fgaf-data split`"
    for name, sides in archive.splits.items():
        divided = _divided(linked, sides)
        if len(divided):
            members = np.flatnonzero(np.isin(linked, divided))
            yield Finding(
                "leak-overlap",
                "error",
                f"split {name!r} divides cells whose crops overlap: {some(cells.id[members])}",
                remake,
            )
        crossing = {
            int(c) for group in copies if len(set(sides[group].tolist())) > 1 for c in group
        }
        if crossing:
            yield Finding(
                "leak-duplicate",
                "error",
                f"split {name!r} has copies of one patch on two sides, of cell "
                f"{some(cells.id[sorted(crossing)])}",
                "take the copies out, then " + remake,
            )
        yield from _group_leaks(name, sides, cells.sample_id, fields)
        missing = [SIDES[side] for side in range(3) if not (sides == side).any()]
        if missing:
            yield Finding(
                "side-empty",
                "warning" if SIDES[TEST] in missing else "note",
                f"split {name!r} has no cell in {some(missing)}",
                "add cells, or " + remake,
            )


def _group_leaks(
    name: str, sides: NDArray[np.int8], samples: NDArray[Any], fields: NDArray[np.intp]
) -> Iterator[Finding]:
    """Samples and fields on two sides: avoidable where there are enough of them to go round."""
    known, sample = np.unique(samples.astype(str), return_inverse=True)
    crossing = [known[s] for s in _divided(sample, sides) if known[s]]
    if crossing:
        yield Finding(
            "leak-sample",
            "warning" if len(set(known) - {""}) >= _ENOUGH_GROUPS else "note",
            f"split {name!r} has cells of one sample on two sides: {some(crossing)}",
            "make a split with `fgaf-data split --by sample`",
        )
    n_fields = int(fields.max()) + 1
    shared = _divided(fields, sides)
    if len(shared) and not crossing:
        yield Finding(
            "leak-field",
            "warning" if n_fields >= _ENOUGH_GROUPS else "note",
            f"split {name!r} has cells of one field on two sides, in {len(shared)} of "
            f"{n_fields} fields",
            "make a split with `fgaf-data split --by field`",
        )


def _divided(group: NDArray[np.intp], sides: NDArray[np.int8]) -> NDArray[np.intp]:
    """Groups (numbered from 0) that have cells on more than one side."""
    n = int(group.max(initial=-1)) + 1
    lowest, highest = np.full(n, 3), np.full(n, -1)
    np.minimum.at(lowest, group, sides)
    np.maximum.at(highest, group, sides)
    return np.flatnonzero(highest > lowest)


def _ids(archive: Archive, rows: NDArray[Any] | list[int]) -> str:
    return some(dict.fromkeys(archive.cells.id[archive.cell[rows]].tolist()))
