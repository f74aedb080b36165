"""Heads as mask images: a PNG or TIFF beside each image."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fgaf.base.errors import FormatError
from fgaf.dataset.importers.head_shapes import AnnotatedImage, Head
from fgaf.dataset.importers.images import IMAGE_SUFFIXES, read_image

SUFFIXES: Final = ("_cp_masks", "_masks", "_mask", "-mask")
"""Ends of the names of mask images beside their image."""
FOLDERS: Final = ("masks", "mask", "labels")
"""Folders of mask images that have the names of their image."""
_KINDS: Final = (".png", ".tif", ".tiff", ".bmp")


def find_masks(folder: Path) -> list[AnnotatedImage]:
    """Pair the images of a folder with their masks.

    ``NAME.png`` belongs to ``NAME_mask.png`` beside it, or to ``masks/NAME.png``; images may be in
    a folder ``images``. Suffixes may differ.

    Parameters
    ----------
    folder
        Holds the images, and their masks.

    Raises
    ------
    FormatError
        A mask has no image, or an image several masks.
    """
    masks: dict[str, Path] = {}
    images: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        above = path.parent.relative_to(folder)
        ending = next((end for end in SUFFIXES if path.stem.endswith(end)), "")
        is_mask = bool(ending) or (above.name in FOLDERS)
        if above.name in (*FOLDERS, "images"):
            above = above.parent
        key = (above / path.stem.removesuffix(ending)).as_posix()
        other = (masks if is_mask else images).setdefault(key, path)
        if other is not path:
            raise FormatError(
                f"{path} and {other.name} are both {'masks' if is_mask else 'images'} named "
                f"{key}; keep one"
            )
    for key, mask in masks.items():
        if key not in images:
            raise FormatError(f"{mask} has no image {key}; put it beside it, or delete the mask")
    return [
        AnnotatedImage(images[key], mask, partial(read_heads, mask)) for key, mask in masks.items()
    ]


def read_heads(path: Path, shape: tuple[int, int]) -> list[Head]:
    """Read the heads of a mask image.

    A mask of two values has a head in each piece that touches no other, also not by a corner. One
    of more values numbers its heads, as Cellpose and napari do.

    Parameters
    ----------
    path
        The mask image; 0 is the background.
    shape
        (Y, X) of its image.

    Raises
    ------
    FormatError
        It is not a mask, or of another size.
    """
    from scipy.ndimage import label

    values = _read(path)
    if values.shape != shape:
        raise FormatError(
            f"{path} is {values.shape[0]} x {values.shape[1]} pixels, its image {shape[0]} x "
            f"{shape[1]}; give the mask of this image"
        )
    numbers = np.setdiff1d(np.unique(values), [0])
    touching = np.ones((3, 3), np.bool_)
    if len(numbers) == 1:
        values, found = label(values, touching)
        numbers = np.arange(1, found + 1)
    heads = []
    for number in numbers.tolist():
        mask = values == number
        if label(mask, touching)[1] > 1:
            raise FormatError(
                f"{path}: the value {number} is in several pieces; a mask has two values, or a "
                "number for each head: threshold it, and save it as PNG"
            )
        head = Head.of(mask)
        if head is not None:
            heads.append(head)
    return heads


def _read(path: Path) -> NDArray[Any]:
    if path.suffix.lower() not in _KINDS:
        raise FormatError(f"{path}: JPEG changes a mask's values; save it as PNG")
    if path.suffix.lower() == ".png":
        try:
            with Image.open(path) as image:
                if image.mode in ("P", "1"):
                    return np.asarray(image).astype(np.uint8)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise FormatError(f"{path} is damaged or not an image; save it again") from error
    return read_image(path)
