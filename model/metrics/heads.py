"""Metrics of masks of heads: overlap, heads found, error of their centres, by distance from focus.

A truth mask numbers what its pixels show, 0 for no head, so that two heads that touch are told
apart. A head is found when the centre of a predicted region lies on it; of several such regions the
nearest counts, and the others are false, as are regions that lie on no head. Heads and regions
below a least area, such as those cut by the border, count neither way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fgaf.base.errors import FgafError
from fgaf.dataset.archive import Archive
from fgaf.model.metrics.intervals import (
    Floats,
    Integers,
    Interval,
    cell_draws,
    drawn_means,
    drawn_quantile,
    interval,
)


@dataclass(frozen=True)
class Regions:
    """The connected parts of a mask, largest first.

    Attributes
    ----------
    labels
        (H, W) number of each pixel's region, from 1 on; 0 outside.
    y, x
        (N,) centre of each region: the mean of its pixels.
    area_px
        (N,) pixels of each region.
    """

    labels: npt.NDArray[np.int32]
    y: Floats
    x: Floats
    area_px: Integers

    def __len__(self) -> int:
        return len(self.area_px)


def regions(mask: npt.ArrayLike, least_px: int = 1) -> Regions:
    """Divide a mask into its connected regions; pixels connect by their sides.

    Parameters
    ----------
    mask
        (H, W), positive on heads. Pixels of different values are never in one region.
    least_px
        Regions of fewer pixels are left out.
    """
    values = np.asarray(mask)
    labels, count = np.zeros(values.shape, dtype=np.int32), 0
    for value in np.unique(values[values > 0]):
        parts, found = ndimage.label(values == value)
        labels[parts > 0] = parts[parts > 0] + count
        count += found
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    kept = np.flatnonzero(area >= max(least_px, 1))
    kept = kept[np.argsort(-area[kept], kind="stable")]
    renumbered = np.zeros(count + 1, dtype=np.int32)
    renumbered[kept + 1] = np.arange(1, len(kept) + 1)
    labels = renumbered[labels]
    centres = ndimage.center_of_mass(labels > 0, labels, range(1, len(kept) + 1))
    y, x = np.array(centres, dtype=np.float64).reshape(-1, 2).T
    return Regions(labels, y, x, area[kept].astype(np.int64))


@dataclass(frozen=True)
class PatchResult:
    """The mask of one patch beside its truth.

    Attributes
    ----------
    overlap_px, predicted_px, true_px
        Pixels in both masks, in the predicted and in the true one.
    off_px
        Error of the centre of each head; NaN for a head that was not found.
    false_regions
        Predicted regions that are no head.
    """

    overlap_px: int
    predicted_px: int
    true_px: int
    off_px: tuple[float, ...]
    false_regions: int

    @property
    def union_px(self) -> int:
        """Pixels in either mask."""
        return self.predicted_px + self.true_px - self.overlap_px


def compare(mask: npt.ArrayLike, truth: npt.ArrayLike, least_px: int = 1) -> PatchResult:
    """Compare the mask of one patch with its truth.

    Parameters
    ----------
    mask
        (H, W) predicted, positive on heads.
    truth
        (H, W) true, 0 for no head; heads of different values are different heads.
    least_px
        Regions and heads of fewer pixels count neither as found nor as false.
    """
    predicted, real = np.asarray(mask) > 0, np.asarray(truth)
    every, heads = regions(real), regions(real, least_px)
    found = regions(predicted, least_px)
    off = np.full(len(heads), np.nan)
    false = 0
    rows, columns = np.rint(found.y).astype(int), np.rint(found.x).astype(int)
    for k, (row, column) in enumerate(zip(rows, columns, strict=True)):
        head = heads.labels[row, column] - 1
        if head < 0:
            false += not every.labels[row, column]
            continue
        away = float(np.hypot(found.y[k] - heads.y[head], found.x[k] - heads.x[head]))
        false += not np.isnan(off[head])
        off[head] = np.fmin(off[head], away)
    return PatchResult(
        overlap_px=int((predicted & (real > 0)).sum()),
        predicted_px=int(predicted.sum()),
        true_px=int((real > 0).sum()),
        off_px=tuple(off.tolist()),
        false_regions=int(false),
    )


def evaluate(
    results: Sequence[PatchResult],
    depth_um: npt.ArrayLike,
    cell: npt.ArrayLike,
    pixel_um: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Every metric of the masks of some patches.

    Parameters
    ----------
    results
        One per patch, N.
    depth_um
        (N,) depth of each patch's cell, µm, rounded to the planes that are to be told apart.
    cell
        (N,) the cell of each patch; intervals resample these.
    pixel_um
        Pixel in the specimen; None leaves out errors in µm.
    seed
        Seed of the bootstrap.

    Returns
    -------
    dict of JSON values.
        `iou` and `dice`, means over the patches with a head; `recall` of the heads; `precision` of
        the regions; `centre_median_px`, `centre_p95_px` of the heads found, and the same in `_um`;
        None where there is nothing to measure. `intervals`: for each [low, high], 95 % over cells,
        None with fewer than two cells. `n_cells`, `n_patches`, `n_heads`. `per_depth` and
        `per_distance` hold the same for each depth, and for each distance from focus.

    Raises
    ------
    FgafError
        No patches.
    """
    if not results:
        raise FgafError("no patches to evaluate: choose a split whose test side has cells")
    depths, cells = np.asarray(depth_um, dtype=np.float64), np.asarray(cell)

    def of(rows: npt.NDArray[np.intp]) -> dict[str, Any]:
        return _figures([results[row] for row in rows], cells[rows], pixel_um, seed)

    def by(column: str, values: Floats) -> list[dict[str, Any]]:
        return [
            {column: float(value), **of(np.flatnonzero(values == value))}
            for value in np.unique(values)
        ]

    return {
        **of(np.arange(len(results))),
        "per_depth": by("depth_um", depths),
        "per_distance": by("distance_um", np.abs(depths)),
    }


def judge(
    results: Sequence[PatchResult], archive: Archive, rows: npt.ArrayLike, seed: int = 0
) -> dict[str, Any]:
    """`evaluate` against an archive, by the depth class of each patch.

    Parameters
    ----------
    results
        One per patch.
    archive
        The archive that holds the `rows`.
    rows
        (N,) row numbers.
    seed
        Seed of the bootstrap.
    """
    index = np.asarray(rows, dtype=np.int64)
    depths = archive.class_depths_um[archive.depth_class[index]]
    pixel_um = archive.header.optics.pixel_size_um
    return evaluate(results, depths, archive.cell[index], pixel_um, seed)


def _figures(
    results: Sequence[PatchResult],
    cells: npt.NDArray[Any],
    pixel_um: float | None,
    seed: int,
) -> dict[str, Any]:
    members, cell_index = np.unique(cells, return_inverse=True)
    weights = cell_draws(members.size, seed)
    values: dict[str, float | None] = {}
    intervals: dict[str, Interval] = {}

    def put(key: str, value: float | None, span: Interval) -> None:
        values[key], intervals[key] = value, span

    def mean(key: str, column: Floats, of: Integers) -> None:
        if column.size:
            put(key, float(column.mean()), interval(drawn_means(column, of, weights)))
        else:
            put(key, None, None)

    with_head = np.array([r.true_px > 0 for r in results])
    areas = [(r.overlap_px, r.predicted_px + r.true_px) for r in results]
    overlap, total = np.array(areas, dtype=np.float64)[with_head].T
    mean("iou", overlap / (total - overlap), cell_index[with_head])
    mean("dice", 2 * overlap / total, cell_index[with_head])

    off = np.array([each for r in results for each in r.off_px], dtype=np.float64)
    of_head = np.repeat(cell_index, [len(r.off_px) for r in results])
    found = ~np.isnan(off)
    mean("recall", found.astype(np.float64), of_head)
    false = [r.false_regions for r in results]
    of_region = np.concatenate([of_head[found], np.repeat(cell_index, false)])
    right = np.concatenate([np.ones(found.sum()), np.zeros(sum(false))])
    mean("precision", right, of_region)

    for name, share in (("median", 0.5), ("p95", 0.95)):
        value, span = None, None
        if found.any():
            value = float(np.quantile(off[found], share))
            span = interval(drawn_quantile(off[found], of_head[found], weights, share))
        put(f"centre_{name}_px", value, span)
        if pixel_um is not None:
            scaled = None if span is None else [pixel_um * end for end in span]
            put(f"centre_{name}_um", None if value is None else pixel_um * value, scaled)
    return {
        **values,
        "intervals": intervals,
        "n_cells": int(members.size),
        "n_patches": len(results),
        "n_heads": len(off),
    }
