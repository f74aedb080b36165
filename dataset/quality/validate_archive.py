"""Checks of an archive: labels on the grid, valid patches, splits without leakage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.console import count
from fgaf.dataset.archive import METHODS, Archive
from fgaf.dataset.findings import Finding, some
from fgaf.dataset.quality.duplicates import Pairs, copies, near_copies
from fgaf.dataset.quality.label_check import label_suspects
from fgaf.dataset.quality.leaks import split_findings
from fgaf.dataset.quality.patch_statistics import Bar, PatchStatistics, constant_rows, survey
from fgaf.dataset.quality.validate_masks import mask_findings
from fgaf.dataset.splits.groups import linked_cells

_SATURATED_SHARE: Final = 0.05
_UNEVEN: Final = 3
_SCATTER_STEPS: Final = 0.1
"""Steps by which a drive may miss a plane."""
_TAKE_OUT: Final = "take these cells out with `fgaf-data subset --without`"


def archive_findings(archive: Archive, progress: Bar = iter) -> Iterator[Finding]:
    """Check labels, patches and splits of an open archive; `progress` wraps the pixels' blocks.

    Parameters
    ----------
    archive
        An open archive.
    progress
        Wraps the blocks of pixels.
    """
    if archive.n_cells == 0:
        yield Finding("empty", "error", "the archive holds no cell", "curate or import some")
        return
    yield from _labels(archive)
    yield from _cells(archive)
    seen = survey(archive, progress)
    linked = linked_cells(
        archive.cells, archive.center_y, archive.center_x, archive.cell, archive.header.patch_px
    )
    copied, alike = copies(seen), near_copies(archive, seen, linked)
    yield from _patches(archive, seen, copied, alike)
    yield from split_findings(archive, linked, copied, alike)
    yield from mask_findings(archive, progress)


def training_findings(archive: Archive) -> Iterator[Finding]:
    """Check what training needs, in one pass: valid patches of every depth."""
    yield from _constant(archive, constant_rows(archive))
    yield from _absent_classes(archive)


def _labels(archive: Archive) -> Iterator[Finding]:
    step, half = archive.header.step_um, archive.header.half_range_um
    depth = archive.depth_um
    ratio = half / step
    if abs(ratio - round(ratio)) > 1e-6:
        yield Finding(
            "grid",
            "error",
            f"a half range of {half:g} µm is not a multiple of the step of {step:g} µm",
            "compile the archive again",
        )
    # The plane in focus and the outermost one may both be off.
    beyond = np.abs(depth) > half + (0.5 + 2 * _SCATTER_STEPS) * step
    if beyond.any():
        yield Finding(
            "depth-beyond-range",
            "error",
            f"{count(int(beyond.sum()), 'depth')} beyond ±{half:g} µm in cell "
            f"{_ids(archive, beyond)}",
            "compile the archive again with a wider half range, or without these planes",
        )
    off = np.abs(depth - np.rint(depth / step) * step) > _SCATTER_STEPS * step
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
                f"{(~complete).sum()} of {count(archive.n_cells, 'cell')} lack some of the "
                f"{archive.n_classes} depths",
                "nothing, or take these cells out with `fgaf-data subset --without`",
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
    yield from _absent_classes(archive)
    counts = np.bincount(archive.depth_class, minlength=archive.n_classes)
    if counts.min() and counts.max() > _UNEVEN * counts.min():
        rare, common = (archive.class_depths_um[c] for c in (counts.argmin(), counts.argmax()))
        yield Finding(
            "class-balance",
            "warning",
            f"{count(int(counts.min()), 'patch')} at {rare:g} µm and {counts.max()} at "
            f"{common:g} µm",
            "add cells, or train with balanced classes",
        )


def _absent_classes(archive: Archive) -> Iterator[Finding]:
    absent = sorted(set(range(archive.n_classes)) - set(archive.depth_class.tolist()))
    if absent:
        yield Finding(
            "class-empty",
            "warning",
            f"no patch at depth {some(f'{archive.class_depths_um[c]:g} µm' for c in absent)}",
            "add cells, or compile with a smaller half range",
        )


def _constant(archive: Archive, rows: NDArray[np.intp]) -> Iterator[Finding]:
    if len(rows):
        yield Finding(
            "constant-image",
            "error",
            f"every pixel is the same in {count(len(rows), 'patch')}, of cell "
            f"{_ids(archive, rows)}",
            _TAKE_OUT,
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
            "no cell has a sample id, so no split can separate samples",
            "give --sample when recording or importing",
        )
    if archive.header.optics.pixel_size_um is None:
        yield Finding(
            "pixel-size", "note", "the pixel size is unknown", "give it when recording or importing"
        )


def _patches(
    archive: Archive, seen: PatchStatistics, copied: Pairs, alike: Pairs
) -> Iterator[Finding]:
    yield from _constant(archive, seen.constant)
    brightest = int(seen.brightest.max())
    if brightest in {2**bits - 1 for bits in (8, 10, 12, 14, 16)}:
        full = (seen.brightest == brightest) & (seen.at_brightest > _SATURATED_SHARE)
        saturated = np.setdiff1d(np.flatnonzero(full), seen.constant)
        if len(saturated):
            yield Finding(
                "saturated-image",
                "warning",
                f"more than {_SATURATED_SHARE:.0%} of the pixels are at {brightest} in "
                f"{count(len(saturated), 'patch')}, of cell {_ids(archive, saturated)}",
                "lower the exposure, or take these cells out with `fgaf-data subset --without`",
            )
    if len(copied):
        yield Finding(
            "duplicate-patch",
            "warning",
            f"{len(np.unique(copied))} patches are copies of each other, of cell "
            f"{_ids(archive, np.unique(copied))}",
            "take the copies out with `fgaf-data subset --without`",
        )
    if len(alike):
        named = [" and ".join(archive.cells.id[archive.cell[pair]]) for pair in alike]
        yield Finding(
            "near-duplicate",
            "warning",
            "patches of different cells show the same exposure, altered or turned: "
            f"{some(dict.fromkeys(named))}",
            "look at them, and take one of each out with `fgaf-data subset --without`",
        )
    suspects = label_suspects(archive, seen.sharpness)
    if suspects:
        named = [f"{archive.cells.id[cell]} (by {shift:+g} µm)" for cell, shift in suspects]
        yield Finding(
            "label-suspect",
            "warning",
            f"the sharpness of {len(suspects)} of {count(archive.n_cells, 'cell')} changes as if "
            f"their depths were others: {some(named)}",
            "look at them again, or take them out with `fgaf-data subset --without`",
        )


def _ids(archive: Archive, rows: NDArray[Any] | list[int]) -> str:
    return some(dict.fromkeys(archive.cells.id[archive.cell[rows]].tolist()))
