"""Methods of segmentation on whole fields in which only the centres of heads are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fgaf.curate.detection.resample import resampled
from fgaf.model.bench.detection.compare import paired_f1
from fgaf.model.bench.detection.fields import Fields
from fgaf.model.bench.detection.finders import Finds
from fgaf.model.bench.detection.judge import Judged, figures_of, judged
from fgaf.model.bench.segmentation.methods import Image, Mask, Method
from fgaf.model.bench.statistics import correct
from fgaf.model.inference.heads import HeadModel
from fgaf.model.metrics.heads import regions

Progress = Callable[[Sequence[Any]], Iterable[Any]]

_ALIKE: Final = 0.02
"""Relative difference of pixel sizes up to which a field is not resampled."""


def judge_fields(
    methods: Sequence[Method],
    fields: Fields,
    pixel_um: float,
    patch_px: int,
    least_px: int,
    head_um: float,
    progress: Progress = iter,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Search every field by every method; each region of a mask is a find.

    Parameters
    ----------
    methods
        The methods; the first is the one that the others are compared with.
    fields
        Images with labelled heads.
    pixel_um
        Side of a pixel of the archive, µm; fields are resampled to it.
    patch_px
        Side of a patch of the archive; a network sees tiles of this side.
    least_px
        Smaller regions are left out.
    head_um
        Length of a head, µm.
    progress
        Wraps the list of fields.

    Returns
    -------
    tuple
        What was searched; and for each method `fgaf.model.bench.detection.judge.figures_of` with
        `against_reference`, `fgaf.model.bench.detection.compare.paired_f1`, None for the first.
    """
    found: list[list[Judged]] = [[] for _ in methods]
    for field in progress(fields.fields):
        own = field.read()
        image = _resampled(own, field.pixel_size_um / pixel_um)
        per_row, per_column = np.array(own.shape) / image.shape
        for method, searched in zip(methods, found, strict=True):
            heads = regions(_mask(method, image, patch_px), least_px)
            y, x = (heads.y + 0.5) * per_row - 0.5, (heads.x + 0.5) * per_column - 0.5
            searched.append(judged(field, Finds(y, x, np.ones(len(heads))), head_um))
    rows = [figures_of(outcomes, 1.0, head_um) for outcomes in found]
    counts = [np.array([one.counts_at(1.0) for one in each], np.float64) for each in found]
    for row, own in zip(rows, counts, strict=True):
        row["against_reference"] = None if own is counts[0] else paired_f1(own, counts[0])
    correct([row["against_reference"] for row in rows[1:]])
    told = {
        "fields": len(fields.fields),
        "heads": fields.heads,
        "pixel_sizes": fields.pixel_sizes,
        "notices": list(fields.notices),
    }
    return told, rows


def _resampled(image: Image, zoom: float) -> Image:
    """The image with as many times more pixels along each side, (H, W) of the same type."""
    if abs(zoom - 1) <= _ALIKE:
        return image
    values = image.astype(np.float32)
    for axis, side in enumerate(image.shape):
        values = resampled(values, axis, max(1, round(side * zoom)), side)
    limits = np.iinfo(image.dtype)
    return np.asarray(values.round().clip(limits.min, limits.max).astype(image.dtype))


def _mask(method: Method, image: Image, patch_px: int) -> Mask:
    """Mask of a whole image, (H, W); a network sees as much around a pixel as in training."""
    if method.network is None:
        return method.segment(image)
    return in_tiles(method.network, image, patch_px)


def in_tiles(model: HeadModel, image: Image, side: int) -> Mask:
    """Segment an image in tiles that overlap by half, of which the middle is used.

    Grey values are normalised by the mean of what the network sees: in a tile it is that of the
    surroundings, as in training, whatever the light at other places.

    Parameters
    ----------
    model
        The network.
    image
        (H, W) integers.
    side
        Of a tile, pixels.

    Returns
    -------
    (H, W)
    """
    step, margin = side // 2, side // 4
    rest = side - step - margin
    rows, columns = (-(-length // step) for length in image.shape)
    below, right = (
        n * step - length for n, length in zip((rows, columns), image.shape, strict=True)
    )
    padded = np.pad(image, ((margin, rest + below), (margin, rest + right)), mode="symmetric")
    tiles = sliding_window_view(padded, (side, side))[::step, ::step]
    middle = slice(margin, margin + step)
    whole = np.vstack(
        [np.hstack(list(model.shares(row.copy())[:, middle, middle])) for row in tiles]
    )[: image.shape[0], : image.shape[1]]
    return np.asarray(whole >= model.card.threshold)
