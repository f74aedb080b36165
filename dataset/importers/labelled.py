"""Patches with one depth label each, as an archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgaf.base.errors import FormatError, SettingError
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive, ArchiveHeader, Cells
from fgaf.dataset.importers.patches import METHOD, PatchSettings
from fgaf.dataset.importers.pixels import check_pixels
from fgaf.dataset.importers.zstack import Claim, settle
from fgaf.dataset.splits.split import SIDES, make_split
from fgaf.dataset.storage.header import utc_now

Say = Callable[[str], None]


@dataclass(frozen=True)
class Labelled:
    """Patches with labels, in any order.

    Attributes
    ----------
    path
        Their source, named in errors.
    images
        (M, S, S) uint8 or uint16.
    depth_class
        (M,) class of each, 0 the lowest plane.
    n_classes
        Number of classes, odd: the middle one is in focus.
    name, cell, sample_id
        M names of the patches, of their cells, and of their samples.
    side
        (M,) 0 train, 1 validation, 2 test; None if the provider gave no split.
    """

    path: Path
    images: NDArray[Any]
    depth_class: NDArray[np.int64]
    n_classes: int
    name: Sequence[str]
    cell: Sequence[str]
    sample_id: Sequence[str]
    side: NDArray[np.int8] | None


def count_classes(path: Path, labels: ArrayLike, classes: int | None, say: Say) -> int:
    """Count the classes of labels that start at 0, of which the middle one is in focus.

    Parameters
    ----------
    path
        The source of the labels, named in errors.
    labels
        Whole numbers.
    classes
        Number of classes given by the user; None to count the labels. If the outermost classes
        have no patch, the labels alone would shift the middle.
    say
        Prints a line that says what was assumed.

    Raises
    ------
    FormatError
        An inner class has no patch, or the number of classes is even, so that none is the middle.
    SettingError
        `classes` is even, or not larger than every label.
    """
    found = np.unique(np.asarray(labels))
    shown = ", ".join(str(k) for k in found[:12])
    if classes is not None:
        if classes < 3 or classes % 2 == 0:
            raise SettingError(
                f"--classes {classes}: give an odd number from 3 on, the middle one is in focus"
            )
        if found[0] < 0 or found[-1] >= classes:
            raise SettingError(
                f"--classes {classes}: {path} has the classes {shown}, which are not all from 0 to "
                f"{classes - 1}"
            )
        return classes
    if not np.array_equal(found, np.arange(len(found))):
        raise FormatError(
            f"{path} has the classes {shown}: depth classes are numbered from 0, the lowest plane, "
            "without gaps; if some have no patch, give their number with --classes"
        )
    if len(found) % 2 == 0:
        raise FormatError(
            f"{path} has {len(found)} classes, an even number, so none is the middle one in focus; "
            "an archive has as many depths above focus as below; if the outermost have no patch, "
            "give their number with --classes"
        )
    say(
        f"{path}: {len(found)} classes are assumed, as many as have patches, with class "
        f"{len(found) // 2} in focus; if an outermost class is empty, give their number with "
        "--classes"
    )
    return len(found)


def archive_of(labelled: Labelled, settings: PatchSettings, claim: Claim | None = None) -> Archive:
    """Make an archive of labelled patches.

    Parameters
    ----------
    labelled
        The patches.
    settings
        Further metadata.
    claim
        The step between classes, if the labels give it.

    Returns
    -------
    Archive
        With the provider's split as "default", or a new one.

    Raises
    ------
    FormatError
        Patches are not square, or a cell has two patches of one depth, of two samples or on two
        sides.
    SettingError
        The step is unknown or contradicted.
    """
    path, images = labelled.path, labelled.images
    check_pixels(path, images.dtype)
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        shape = " x ".join(str(n) for n in images.shape[1:])
        raise FormatError(f"{path} holds images of {shape} pixels; patches are square and grey")
    given = Claim("--step", settings.step_um) if settings.step_um is not None else None
    step = settle("step of the classes", path, [claim] if claim else [], given)
    if step is None:
        raise SettingError(
            f"{path} does not contain the step of its classes; give it with --step (µm)"
        )
    ids, cell = np.unique(np.asarray(labelled.cell, str), return_inverse=True)
    order = np.lexsort((labelled.depth_class, cell))
    cell, depth_class = cell[order], labelled.depth_class[order]
    twice = np.flatnonzero((np.diff(cell) == 0) & (np.diff(depth_class) == 0))
    if len(twice):
        a, b = (labelled.name[order[twice[0] + k]] for k in (0, 1))
        raise FormatError(
            f"{path}: {a} and {b} are of one cell and one depth; separate cells with --cell-from, "
            "or keep one of the two"
        )
    first = np.searchsorted(cell, np.arange(len(ids)))
    sample = np.asarray(labelled.sample_id, dtype=object)[order]
    _require_one(path, "samples", sample, cell, first, ids)
    half = labelled.n_classes // 2
    side = images.shape[1]
    cells = Cells.from_columns(
        {
            "id": ids,
            "source": [labelled.name[k] for k in order[first]],
            "source_sha256": [""] * len(ids),
            "sample_id": sample[first],
            "field": [""] * len(ids),
            "focus_um": np.zeros(len(ids)),
            "focus_plane": np.full(len(ids), half),
            "annotator": [settings.annotator] * len(ids),
            "labelled_utc": [utc_now()] * len(ids),
            "method": [METHOD] * len(ids),
            "confidence": np.ones(len(ids)),
        }
    )
    center = np.full(len(cell), side // 2, dtype=np.int32)
    if labelled.side is None:
        sides = make_split(cells, center, center, cell, side, seed=settings.seed).sides
    else:
        given_side = labelled.side[order]
        names = np.array(SIDES, dtype=object)[given_side]
        _require_one(path, "sides of the split", names, cell, first, ids)
        sides = given_side[first].astype(np.int8)
    return Archive(
        header=ArchiveHeader.new(
            step_um=step.value,
            half_range_um=half * step.value,
            patch_px=side,
            optics=settings.optics,
            name=settings.name,
            description=settings.description,
            license=settings.license,
        ),
        images=images[order],
        depth_um=(depth_class - half).astype(np.float64) * step.value,
        plane=depth_class.astype(np.int32),
        cell=cell.astype(np.int32),
        center_y=center,
        center_x=center.copy(),
        cells=cells,
        splits={DEFAULT_SPLIT: sides},
    )


def _require_one(
    path: Path,
    what: str,
    values: NDArray[Any],
    cell: NDArray[np.intp],
    first: NDArray[np.intp],
    ids: NDArray[Any],
) -> None:
    other = np.flatnonzero(values != values[first][cell])
    if len(other):
        k = other[0]
        a, b = values[first][cell[k]], values[k]
        raise FormatError(
            f"{path}: the cell {ids[cell[k]]} is on two {what}, {a!r} and {b!r}; separate cells "
            "with --cell-from"
        )
