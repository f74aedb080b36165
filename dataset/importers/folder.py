"""Folders of images, one per plane, read as a z-stack: numbered, or named by their depths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.console import count
from fgaf.base.errors import FormatError
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.dataset.importers.images import IMAGE_SUFFIXES, read_image
from fgaf.dataset.importers.ome import micrometres
from fgaf.dataset.importers.tiff_metadata import with_micromanager
from fgaf.dataset.importers.zstack import Heights, Series, ZStack

_METADATA: Final = "metadata.txt"
_BY_NAME: Final = "the files' names"
_DEPTH: Final = re.compile(r"([+-]?)(\d+(?:\.\d+)?)\s?(um|µm|μm|microns?|nm)(?![a-z])", re.I)
_NUMBER: Final = re.compile(r"([+-]?)(\d+)")


def depth_in_name(stem: str) -> float | None:
    """Read the depth with a unit in a file's name, µm, the last if there are several.

    Parameters
    ----------
    stem
        The name without its suffix, such as ``cell_z-1.5um``; None if it has no depth.
    """
    matches = list(_DEPTH.finditer(stem))
    if not matches:
        return None
    last = matches[-1]
    return float(last[1] + last[2]) * (micrometres(last[3]) or 1.0)


@contextmanager
def open_folder(folder: Path) -> Iterator[Series]:
    """Open a folder of images that is one stack; see `read_folder`."""
    yield Series(folder, lambda _: read_folder(folder))


def read_folder(folder: Path) -> ZStack:
    """Read the images of a folder, the lowest plane first if the names give the order.

    The names differ in one number. With a unit (``z-1.5um.png``) it is the position of the plane;
    without one it counts the planes without gap or repeat. A Micro-Manager ``metadata.txt``
    beside the images is read too, for the z step and each plane.

    Raises
    ------
    FormatError
        There are no images, the names have no such number, it has gaps or repeats, the images are
        not grey counts of one size, or the metadata.txt cannot be read.
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
    ordered = in_order(folder, names)
    files = tuple(folder / name for name in ordered.names)
    frames: list[NDArray[Any]] = []
    for file in files:
        frame = read_image(file)
        if frames and (frame.shape != frames[0].shape or frame.dtype != frames[0].dtype):
            raise FormatError(
                f"{file} is {_describe(frame)}, {files[0].name} is {_describe(frames[0])}; "
                "the planes of a stack must have one size and type"
            )
        frames.append(frame)
    kinds = sorted({file.suffix.lower().lstrip(".") for file in files})
    reader = f"folder of {'/'.join(kinds)}"
    stack = ZStack(path=folder, reader=reader, frames=np.stack(frames), files=files)
    recorded = _micromanager(folder / _METADATA)
    if recorded is not None:
        pages = [recorded.images.get(name, {}) for name in ordered.names]
        stack = replace(with_micromanager(stack, recorded.summary, pages), reader=reader)
    if ordered.z_um is None:
        return stack
    if stack.z_um is None:
        return replace(stack, z_um=ordered.z_um, z_source=_BY_NAME)
    return replace(stack, other_heights=(Heights(_BY_NAME, ordered.z_um),))


@dataclass(frozen=True)
class Ordered:
    """File names from the lowest plane up.

    Attributes
    ----------
    names
        The names.
    z_um
        (P,) positions in µm, if the names give them.
    """

    names: list[str]
    z_um: NDArray[np.float64] | None = None


def in_order(folder: Path, names: list[str]) -> Ordered:
    """Sort file names by the one number in which they differ.

    Parameters
    ----------
    folder
        Named in the error.
    names
        File names in the folder.

    Raises
    ------
    FormatError
        The names do not differ in exactly one number, a plane is missing or repeated, or only
        some names have a depth with a unit.
    """
    with_depth = [name for name in names if _DEPTH.search(Path(name).stem)]
    if with_depth:
        by_depth = _by_depth(folder, names, with_depth)
        if by_depth is not None:
            return by_depth
    return Ordered(_by_number(folder, names))


def _by_depth(folder: Path, names: list[str], with_depth: list[str]) -> Ordered | None:
    """Sort names by a depth with a unit; None if no such number varies."""
    matches = {name: list(_DEPTH.finditer(Path(name).stem)) for name in names}
    counts = {len(found) for found in matches.values()}
    if len(counts) > 1:
        without = next(name for name in names if len(matches[name]) < max(counts))
        raise FormatError(
            f"{folder}: {with_depth[0]} is named by a depth with a unit and {without} is not; name "
            "all planes alike"
        )
    columns = list(zip(*([m[0] for m in matches[name]] for name in names), strict=True))
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    if not varying:
        return None
    at = {name: matches[name][varying[0]] for name in names}
    stems = {name: Path(name).stem for name in names}
    rest = {stems[name][: m.start()] + "#" + stems[name][m.end() :] for name, m in at.items()}
    if len(varying) > 1 or len(rest) > 1:
        first, second = sorted(rest)[:2] if len(rest) > 1 else (names[0], names[-1])
        raise FormatError(
            f"{folder} mixes images named {first!r} and {second!r} (# a depth); keep one stack to "
            "a folder"
        )
    if all(m[1] == "-" for m in at.values()):
        raise FormatError(
            f"{folder}: every name has a - before its depth ({names[0]}), which may be a minus or "
            "a dash; write the depths as _2um, or number the images and give --step"
        )
    depth = {name: float(m[1] + m[2]) * (micrometres(m[3]) or 1.0) for name, m in at.items()}
    twice = [z for z, times in Counter(depth.values()).items() if times > 1]
    if twice:
        raise FormatError(
            f"{folder} has several images of {twice[0]:g} µm; keep one for each plane"
        )
    ordered = sorted(names, key=lambda name: depth[name])
    return Ordered(ordered, np.array([depth[name] for name in ordered]))


def _by_number(folder: Path, names: list[str]) -> list[str]:
    parts = {name: re.split(r"(\d+)", Path(name).stem) for name in names}
    texts = {tuple(part[0::2]) for part in parts.values()}
    if len(texts) > 1:
        signed = _by_signed_number(names)
        if signed is None:
            first, second = sorted("#".join(text) for text in texts)[:2]
            raise FormatError(
                f"{folder} mixes images named {first!r} and {second!r} (# a number); "
                "keep one stack to a folder"
            )
        _require_consecutive(folder, list(signed.values()))
        return sorted(names, key=lambda name: signed[name])
    numbers = {name: [int(digits) for digits in part[1::2]] for name, part in parts.items()}
    columns = list(zip(*numbers.values(), strict=True))
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    if len(varying) > 1:
        raise FormatError(
            f"{folder}: the names differ in {len(varying)} numbers ({names[0]} ... {names[-1]}), "
            "so which one counts the planes is not clear; keep one stack to a folder"
        )
    if not varying:
        raise FormatError(
            f"{folder}: no number in the names gives the order of the planes ({names[0]})"
        )
    _require_consecutive(folder, list(columns[varying[0]]))
    return sorted(names, key=lambda name: numbers[name][varying[0]])


def _by_signed_number(names: list[str]) -> dict[str, int] | None:
    """Find integers of which some have a sign, such as z-1, z0 and z1; None if there are none."""
    found: dict[str, int] = {}
    rests = set()
    for name in names:
        stem = Path(name).stem
        matches = list(_NUMBER.finditer(stem))
        if not matches:
            return None
        last = matches[-1]
        found[name] = int(last[1] + last[2])
        rests.add((stem[: last.start()], stem[last.end() :]))
    return found if len(rests) == 1 else None


def _require_consecutive(folder: Path, numbers: list[int]) -> None:
    counted = Counter(numbers)
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


@dataclass(frozen=True)
class _Recorded:
    """Metadata of a metadata.txt: for all images, and for each image by file name."""

    summary: Mapping[str, Any]
    images: Mapping[str, Mapping[str, Any]]


def _micromanager(path: Path) -> _Recorded | None:
    """Read the metadata.txt of Micro-Manager 1.4 (FrameKey-T-C-Z) or 2.0 (Metadata-FILE)."""
    if not path.is_file():
        return None
    try:
        metadata = parse_json(read_bytes(path))
    except ValueError as error:
        raise FormatError(
            f"{path} is damaged ({error}); copy it again, or move it out of the folder and give "
            "--step"
        ) from error
    if not isinstance(metadata, dict):
        return None
    summary = metadata.get("Summary")
    images = {}
    for key, value in metadata.items():
        if not isinstance(value, dict):
            continue
        if key.startswith("FrameKey-") and isinstance(value.get("FileName"), str):
            images[_base_name(value["FileName"])] = _plain(value)
        elif key.startswith("Metadata-"):
            images[_base_name(key.removeprefix("Metadata-"))] = _plain(value)
    return _Recorded(_plain(summary) if isinstance(summary, dict) else {}, images)


def _base_name(path: str) -> str:
    return re.split(r"[\\/]", path)[-1]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Extract the values from Micro-Manager 2's property maps."""
    return {
        key: value["scalar"] if isinstance(value, dict) and "scalar" in value else value
        for key, value in values.items()
    }


def _describe(frame: NDArray[Any]) -> str:
    return f"{frame.dtype} of {frame.shape[0]} x {frame.shape[1]} pixels"


def _list(numbers: list[int]) -> str:
    shown = ", ".join(str(n) for n in numbers[:5])
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
