"""Patches with the outlines of the true and of the predicted masks, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from skimage.measure import find_contours

from fgaf.dataset.archive import Archive
from fgaf.dataset.storage.virtual_images import read_rows
from fgaf.model.bench.report.drawing import signed
from fgaf.model.bench.report.pictures import as_source
from fgaf.model.inference.heads import HeadModel
from fgaf.model.metrics.heads import compare

_CELLS: Final = (("worst", 0.0), ("median", 0.5), ("best", 1.0))
Tested = tuple[HeadModel, npt.NDArray[np.intp]]
"""A network, and the rows of an archive, of whole cells, that it was tested on."""
_MOST_PLANES: Final = 9
_AT_ONCE: Final = 1024


def examples(tested: Sequence[Tested], archive: Archive) -> list[dict[str, Any]]:
    """Draw the cells with the worst, the median and the best mean overlap.

    Parameters
    ----------
    tested
        Networks and what each was tested on.
    archive
        With masks.

    Returns
    -------
    list of dict
        Per cell `id`, `why`, `iou`, and `planes`: of each `src` (a data URL), `side`, `depth` as
        text, `iou`, `truth` and `found`, outlines as SVG paths.
    """
    ranked = []
    for model, rows in tested:
        overlaps = np.concatenate(
            [
                _overlaps(model, archive, some)
                for some in np.array_split(rows, 1 + len(rows) // _AT_ONCE)
            ]
        )
        for cell in np.unique(archive.cell[rows]):
            own = archive.cell[rows] == cell
            ranked.append((float(overlaps[own].mean()), int(cell), model, rows[own]))
    ranked.sort(key=lambda each: each[:2])
    places = {round(share * (len(ranked) - 1)): why for why, share in _CELLS}
    return [
        {
            "id": str(archive.cells.id[cell]),
            "why": why,
            "iou": mean,
            "planes": _planes(model, archive, rows),
        }
        for why, (mean, cell, model, rows) in (
            (why, ranked[place]) for place, why in places.items()
        )
    ]


def outlines(mask: npt.ArrayLike) -> Markup:
    """Outlines of a mask (H, W) as an SVG path, in pixels; pixel 0 reaches from 0 to 1."""
    padded = np.pad(np.asarray(mask, dtype=np.float64), 1)
    lines: list[npt.NDArray[np.float64]] = find_contours(padded, 0.5)  # type: ignore[no-untyped-call]
    paths = ("M" + "L".join(f"{x - 0.5:g} {y - 0.5:g}" for y, x in line) + "Z" for line in lines)
    return Markup("".join(paths))  # noqa: S704 - numbers


def _overlaps(model: HeadModel, archive: Archive, rows: npt.NDArray[np.intp]) -> Any:
    """Intersection over union of each row, 1 for two empty masks."""
    masks = _found(model, archive, rows)
    pairs = zip(masks, read_rows(archive.masks, rows), strict=True)
    results = [compare(mask, truth) for mask, truth in pairs]
    return np.array([r.overlap_px / r.union_px if r.union_px else 1.0 for r in results])


def _found(model: HeadModel, archive: Archive, rows: npt.NDArray[np.intp]) -> list[Any]:
    return [found.labels > 0 for found in model.regions(read_rows(archive.images, rows))]


def _planes(model: HeadModel, archive: Archive, rows: npt.NDArray[np.intp]) -> list[dict[str, Any]]:
    shown = rows[np.unique(np.linspace(0, len(rows) - 1, _MOST_PLANES).round().astype(int))]
    pixels = read_rows(archive.images, shown).astype(np.float64)
    low, high = np.percentile(pixels, [0.5, 99.5])
    grey = np.clip((pixels - low) / max(high - low, 1e-9), 0, 1)
    truth = read_rows(archive.masks, shown) > 0
    return [
        {
            "src": Markup(as_source((255 * picture).round().astype(np.uint8))),  # noqa: S704 - base64
            "side": picture.shape[0],
            "depth": signed(float(archive.depth_um[row])),
            "iou": float(overlap),
            "truth": outlines(real),
            "found": outlines(mask),
        }
        for row, picture, real, mask, overlap in zip(
            shown,
            grey,
            truth,
            _found(model, archive, shown),
            _overlaps(model, archive, shown),
            strict=True,
        )
    ]
