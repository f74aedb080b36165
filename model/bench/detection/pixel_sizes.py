"""Pixel sizes of images: given, in a table, in the files, or guessed from the labels' boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fgaf.base.bounds import PixelUm, require
from fgaf.base.errors import FormatError, SettingError
from fgaf.dataset.importers.images import pixel_size_of
from fgaf.model.bench.detection.image_table import rows_by_image
from fgaf.model.bench.detection.labels import Labels

AUTO: Final = "auto"
BOX_PER_HEAD: Final = 1.5
"""Long side of a box relative to the head: boxes drawn by hand leave a margin round the head, and
often hold the neck (1.4 to 2 in public sets)."""
_ENOUGH_BOXES: Final = 5


@dataclass(frozen=True)
class LabelledImage:
    """An image with labels: its file, its rows and columns, its labels in pixels."""

    path: Path
    shape: tuple[int, int]
    labels: Labels


def sizes_of(
    images: Sequence[LabelledImage], stated: str | None, head_um: float, box_per_head: float
) -> tuple[list[float], str]:
    """Find the pixel size of every image, µm, and how it was found, in words.

    Parameters
    ----------
    images
        The images.
    stated
        A number in µm, the name of a CSV with columns image and pixel_size_um, ``auto`` for a
        guess from the boxes, or None for what the files say.
    head_um
        Length of a head, µm, for the guess.
    box_per_head
        Long side of a box, in head lengths, for the guess.

    Raises
    ------
    SettingError
        An image has no pixel size, or not a possible one.
    FormatError
        The table is wrong, or an image's file is damaged.
    """
    if stated == AUTO:
        how = (
            f"guessed from the labels: half of an image's boxes are longer than {box_per_head:g} "
            f"heads of {head_um:g} µm"
        )
        return _guessed(images, head_um * box_per_head), how
    number = _number(stated)
    if stated is not None and number is None:
        return _from_table(images, Path(stated)), f"from {stated}"
    sizes = [pixel_size_of(image.path, number) for image in images]
    unknown = [image.path for image, size in zip(images, sizes, strict=True) if size is None]
    if unknown:
        raise SettingError(
            f"{unknown[0]} does not say its pixel size: give --pixel-size in µm, a CSV with "
            f"columns image and pixel_size_um, or {AUTO} to guess it from the boxes"
        )
    return [size for size in sizes if size is not None], "from the image files" if (
        number is None
    ) else "given"


def _number(stated: str | None) -> float | None:
    try:
        size = float(stated or "")
    except ValueError:
        return None
    require(PixelUm, size, "--pixel-size")
    return size


def _from_table(images: Sequence[LabelledImage], table: Path) -> list[float]:
    rows = rows_by_image(table, [image.path for image in images], ["pixel_size_um"], whole=False)
    sizes = []
    for image in images:
        own = rows.get(image.path, [])
        if len(own) != 1:
            raise FormatError(
                f"{table} has {len(own) or 'no'} rows for {image.path}; it needs one for each image"
            )
        size = own[0].number("pixel_size_um")
        sizes.append(float(require(PixelUm, size, own[0].where)))
    return sizes


def _guessed(images: Sequence[LabelledImage], box_um: float) -> list[float]:
    """From an image's own boxes; where they are few, from those of its folder, or of all images.

    Only images of equal size are compared: they are likely from one microscope.
    """
    alike: dict[object, list[float]] = defaultdict(list)
    for image in images:
        for key in _kin(image):
            alike[key] += image.labels.long_side.tolist()
    sizes = []
    for image in images:
        own, *others = (alike[key] for key in _kin(image))
        sides = own if len(own) >= _ENOUGH_BOXES else next(filter(None, others), [])
        if not sides:
            raise SettingError(
                f"the pixel size of {image.path} cannot be guessed: no image of its size has "
                "boxes; give --pixel-size in µm"
            )
        size = box_um / float(np.median(sides))
        sizes.append(float(require(PixelUm, size, f"{image.path}: guessed pixel size")))
    return sizes


def _kin(image: LabelledImage) -> tuple[object, ...]:
    return image.path, (image.path.parent, image.shape), image.shape
