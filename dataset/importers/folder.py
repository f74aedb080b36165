"""Folders of numbered images, one per plane, read as a z-stack."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.console import count
from fgaf.dataset.errors import FormatError
from fgaf.dataset.importers.images import IMAGE_SUFFIXES, read_image
from fgaf.dataset.importers.zstack import Claim, Series, ZStack, micromanager_claims
from fgaf.dataset.inputs import parse_json, read_bytes


@contextmanager
def open_folder(folder: Path) -> Iterator[Series]:
    """Open a folder of numbered images, which is one stack; see `read_folder`."""
    yield Series(folder, lambda _: read_folder(folder))


def read_folder(folder: Path) -> ZStack:
    """Read the images of a folder in the order of their numbers, the lowest plane first.

    The names differ in one number, which counts the planes without gap or repeat. A Micro-Manager
    ``metadata.txt`` beside the images is read for the z step.

    Raises
    ------
    FormatError
        No images, no such number, gaps or repeats in it, or images that are no grey counts of
        one size.
    """
    names = sorted(
        p.name
        for p in folder.iterdir()
        if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
    )
    if len(names) < 2:
        raise FormatError(
            f"{folder} holds {count(len(names), 'image')}; a stack is two or more numbered images "
            f"({', '.join(IMAGE_SUFFIXES)})"
        )
    files = tuple(folder / name for name in in_order(folder, names))
    frames: list[NDArray[Any]] = []
    for file in files:
        frame = read_image(file)
        if frames and (frame.shape != frames[0].shape or frame.dtype != frames[0].dtype):
            raise FormatError(
                f"{file} is {_describe(frame)}, {files[0].name} is {_describe(frames[0])}; "
                "the planes of a stack are alike"
            )
        frames.append(frame)
    steps, pixel_sizes = _micromanager_claims(folder / "metadata.txt")
    kinds = sorted({file.suffix.lower().lstrip(".") for file in files})
    return ZStack(
        path=folder,
        reader=f"folder of {'/'.join(kinds)}",
        frames=np.stack(frames),
        files=files,
        steps_um=steps,
        pixel_sizes_um=pixel_sizes,
    )


def in_order(folder: Path, names: list[str]) -> list[str]:
    """Sort file names by the one number in which they differ.

    Raises
    ------
    FormatError
        The names do not differ in exactly one number, or it leaves out or repeats a plane.
    """
    parts = {name: re.split(r"(\d+)", Path(name).stem) for name in names}
    texts = {tuple(part[0::2]) for part in parts.values()}
    if len(texts) > 1:
        first, second = sorted("#".join(text) for text in texts)[:2]
        raise FormatError(
            f"{folder} mixes images named {first!r} and {second!r} (# a number); "
            "keep one stack to a folder"
        )
    numbers = {name: [int(digits) for digits in part[1::2]] for name, part in parts.items()}
    columns = list(zip(*numbers.values(), strict=True))
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    if len(varying) > 1:
        raise FormatError(
            f"{folder}: the names differ in {len(varying)} numbers ({names[0]} ... {names[-1]}), "
            "so which one counts the planes is not clear; keep one stack to a folder"
        )
    if not varying:
        raise FormatError(f"{folder}: no number in the names tells the planes' order ({names[0]})")
    counted = Counter(columns[varying[0]])
    twice = sorted(n for n, times in counted.items() if times > 1)
    if twice:
        raise FormatError(
            f"{folder} has several images numbered {_list(twice)}; keep one for each plane"
        )
    gaps = sorted(set(range(min(counted), max(counted) + 1)) - set(counted))
    if gaps:
        raise FormatError(
            f"{folder} has no image numbered {_list(gaps)}; add the missing planes, or number the "
            "images without gaps if none is missing"
        )
    return sorted(names, key=lambda name: numbers[name][varying[0]])


def _micromanager_claims(path: Path) -> tuple[tuple[Claim, ...], tuple[Claim, ...]]:
    if not path.is_file():
        return (), ()
    try:
        summary = parse_json(read_bytes(path)).get("Summary", {})
    except (ValueError, AttributeError):
        return (), ()
    return micromanager_claims(summary)


def _describe(frame: NDArray[Any]) -> str:
    return f"{frame.dtype} of {frame.shape[0]} x {frame.shape[1]} pixels"


def _list(numbers: list[int]) -> str:
    shown = ", ".join(str(n) for n in numbers[:5])
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
