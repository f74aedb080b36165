"""Heads outlined in LabelMe: polygons in a JSON file beside each image.

Format: https://github.com/wkentaro/labelme
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

from fgaf.base.errors import FormatError
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.dataset.importers.head_shapes import (
    AnnotatedImage,
    Head,
    head_of_polygons,
    heads_named,
)


def read_labelme(
    files: Sequence[Path], labels: Sequence[str], folder: Path
) -> list[AnnotatedImage]:
    """Read LabelMe files; polygons of one `group_id` are one head.

    Parameters
    ----------
    files
        The JSON files.
    labels
        Labels of heads; see `heads_named`.
    folder
        Holds them, named in the error.

    Raises
    ------
    FormatError
        A file is not of LabelMe, its image is missing, or the labels of heads are not clear.
    """
    shapes = {file: _shapes(file) for file in files}
    used = (str(shape.get("label")) for each in shapes.values() for _, shape in each[1])
    wanted = heads_named(used, labels, folder)
    return [
        AnnotatedImage(image, file, partial(_heads, file, listed, wanted))
        for file, (image, listed) in shapes.items()
    ]


def _shapes(file: Path) -> tuple[Path, list[tuple[int, dict[str, Any]]]]:
    """The image of a file, and its shapes with their numbers, from 1."""
    try:
        read = parse_json(read_bytes(file))
        listed = list(enumerate(map(dict, read["shapes"]), 1))
        named = PureWindowsPath(str(read["imagePath"])).name
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{file} is not a LabelMe file (it has no shapes or no imagePath); name the folder of "
            "images with their masks"
        ) from error
    image = file.with_name(named)
    if not image.is_file():
        raise FormatError(f"{file} is of the image {named}, which is not beside it; put it there")
    return image, listed


def _heads(
    file: Path, shapes: list[tuple[int, dict[str, Any]]], wanted: set[str], shape: tuple[int, int]
) -> list[Head]:
    groups: dict[Any, list[tuple[int, Any]]] = {}
    for number, each in shapes:
        if str(each.get("label")) not in wanted:
            continue
        kind = each.get("shape_type") or "polygon"
        if kind != "polygon":
            raise FormatError(
                f"{file}: shape {number} is a {kind}; heads are polygons: outline it, or give it "
                "another label"
            )
        group = each.get("group_id")
        key = ("shape", number) if group is None else ("group", str(group))
        groups.setdefault(key, []).append((number, each.get("points")))
    return [
        head_of_polygons(
            [points for _, points in parts], shape, f"{file}: shape {parts[0][0]}", _as_listed
        )
        for parts in groups.values()
    ]


def _as_listed(points: Any) -> Any:
    return points
