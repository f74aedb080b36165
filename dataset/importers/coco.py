"""Heads in COCO's format: polygons or run lengths of many images in one JSON file.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.dataset.importers.head_shapes import (
    AnnotatedImage,
    Head,
    head_of_polygons,
    heads_named,
)

_FOLDERS: Final = ("", "images", "../images")
"""Where images are, seen from the JSON file."""


def is_coco(path: Path) -> bool:
    """Whether a JSON file holds COCO annotations."""
    try:
        read = parse_json(read_bytes(path))
    except ValueError:
        return False
    return isinstance(read, dict) and {"images", "annotations"} <= set(read)


def read_coco(path: Path, labels: Sequence[str]) -> list[AnnotatedImage]:
    """Read a COCO file; images are beside it, or in the folder ``images``.

    Parameters
    ----------
    path
        The JSON file.
    labels
        Categories of heads; see `heads_named`.

    Raises
    ------
    FormatError
        It is not a COCO file, an image is missing, or the categories of heads are not clear.
    """
    try:
        read = parse_json(read_bytes(path))
        categories = {each["id"]: str(each["name"]) for each in read.get("categories", ())}
        images = {each["id"]: str(each["file_name"]) for each in read["images"]}
        listed: dict[Any, list[dict[str, Any]]] = {name: [] for name in images}
        for each in read["annotations"]:
            listed[each["image_id"]].append(dict(each))
        used = {_category(each, categories) for every in listed.values() for each in every}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path} is not a COCO file with images and annotations; export it again"
        ) from error
    wanted = heads_named(used, labels, path)
    return [
        AnnotatedImage(
            _image(path, name),
            path,
            partial(
                _heads,
                path,
                [each for each in listed[number] if _category(each, categories) in wanted],
            ),
        )
        for number, name in images.items()
    ]


def decode_rle(segmentation: Any, shape: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Decode run lengths: (Y, X), true on the object.

    The runs go down the columns, of background and object in turn. Compressed ones are text: each
    number in groups of five bits, the lowest first, and from the fourth on as the difference to the
    last but one.

    Parameters
    ----------
    segmentation
        ``{"size": [rows, columns], "counts": list or text}``.
    shape
        (Y, X) of the image.
    where
        File and annotation, for the error.

    Raises
    ------
    FormatError
        The size is not the image's, or the runs do not fill it.
    """
    try:
        rows, columns = (int(n) for n in segmentation["size"])
        counts = segmentation["counts"]
        runs = _runs(counts) if isinstance(counts, str) else [int(n) for n in counts]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FormatError(f"{where} is not run lengths of COCO; export it again") from error
    if (rows, columns) != shape:
        raise FormatError(
            f"{where} is of {rows} x {columns} pixels, its image {shape[0]} x {shape[1]}; give the "
            "annotations of this image"
        )
    if min(runs, default=0) < 0 or sum(runs) != rows * columns:
        raise FormatError(
            f"{where} has runs of {sum(runs)} pixels for {rows} x {columns}; export it again"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(columns, rows).T


def _runs(text: str) -> list[int]:
    runs: list[int] = []
    number = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    return runs


def _category(annotation: dict[str, Any], categories: dict[Any, str]) -> str:
    return categories.get(annotation.get("category_id"), str(annotation.get("category_id")))


def _image(path: Path, name: str) -> Path:
    for folder in _FOLDERS:
        if (image := path.parent / folder / name).is_file():
            return image
    raise FormatError(
        f"{path} is of the image {name}, which is neither beside it nor in the folder images; put "
        "it there"
    )


def _heads(path: Path, annotations: list[dict[str, Any]], shape: tuple[int, int]) -> list[Head]:
    heads = []
    for each in annotations:
        where = f"{path}: annotation {each.get('id')}"
        segmentation = each.get("segmentation")
        if isinstance(segmentation, dict):
            head = Head.of(decode_rle(segmentation, shape, where))
            if head is None:
                raise FormatError(f"{where} covers no pixel of its image; delete it")
        elif isinstance(segmentation, list) and segmentation:
            head = head_of_polygons(segmentation, shape, where, _pairs)
        else:
            raise FormatError(f"{where} has a box but no segmentation; outline it, or delete it")
        heads.append(head)
    return heads


def _pairs(numbers: Any) -> Any:
    return np.asarray(numbers, np.float64).reshape(-1, 2)
