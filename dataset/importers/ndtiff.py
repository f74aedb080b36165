"""Micro-Manager's NDTiff: a folder of TIFFs whose images are found through ``NDTiff.index``.

Format: https://github.com/micro-manager/NDTiffStorage. An entry of the index is the length of its
axes, the axes as JSON, the length of the file's name, the name, and eight numbers of 32 bits:
offset, width, height, type and compression of the pixels; offset, length and compression of the
metadata.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.base.inputs import parse_json, read_bytes
from fgaf.dataset.importers.ome import integer, number, positive
from fgaf.dataset.importers.pixels import colour_error
from fgaf.dataset.importers.zstack import (
    AXES,
    Claim,
    Series,
    ZStack,
    complete,
    filled_up,
    micromanager_claims,
    positions_of,
)

_INDEX: Final = "NDTiff.index"
_FULL: Final = "Full resolution"
_RGB: Final = 2
_MOST_INDEX_BYTES: Final = 1 << 30
_BITS: Final = {0: 8, 1: None, 3: 10, 4: 12, 5: 14, 6: 11}
_MAGIC: Final = 483729
_SUMMARY: Final = 2355492


@dataclass(frozen=True)
class _Image:
    """One entry of the index."""

    axes: dict[str, int | str]
    file: str
    offset: int
    width: int
    height: int
    kind: int
    compression: int
    metadata_offset: int
    metadata_length: int
    metadata_compression: int


def ndtiff_folder(path: Path) -> Path | None:
    """Find the folder with the index: the folder itself or its full resolution, else None."""
    return next((p for p in (path, path / _FULL) if (p / _INDEX).is_file()), None)


@contextmanager
def open_ndtiff(path: Path) -> Iterator[Series]:
    """Open an NDTiff dataset.

    Raises
    ------
    FormatError
        The dataset is damaged, has colours, other axes than z, time, position and channel, a
        single plane, or missing images.
    """
    folder = ndtiff_folder(path)
    if folder is None:
        raise FormatError(f"{path} has no {_INDEX}; name the folder of an NDTiff dataset")
    images = _index(folder)
    values: dict[str, list[int | str]] = {}
    for image in images:
        for axis, value in image.axes.items():
            if value not in values.setdefault(axis, []):
                values[axis].append(value)
    for named in values.values():
        if all(isinstance(value, int) for value in named):
            named.sort(key=int)
    several = {axis: len(named) for axis, named in values.items() if len(named) > 1}
    odd = sorted(set(several) - {*AXES, "z"})
    if odd or several.get("z", 1) < 2:
        shown = ", ".join(f"{axis}: {n}" for axis, n in several.items()) or "one image"
        raise FormatError(f"{path} is not a z-stack of two or more planes ({shown})")
    if any(image.kind == _RGB for image in images):
        raise colour_error(path)
    by_axes = {frozenset(image.axes.items()): image for image in images}
    yield Series(
        path,
        partial(_read, folder, values, by_axes),
        {axis: several[axis] for axis in AXES if axis in several},
    )


def _index(folder: Path) -> list[_Image]:
    data = read_bytes(folder / _INDEX, _MOST_INDEX_BYTES)
    found, at = [], 0
    try:
        while at < len(data):
            axes, at = _text(data, at)
            if not axes:
                break
            file, at = _text(data, at)
            found.append(_Image(parse_json(axes), file, *struct.unpack_from("<8I", data, at)))
            at += 32
    except (struct.error, ValueError, TypeError) as error:
        raise FormatError(f"{folder / _INDEX} is damaged; copy the dataset again") from error
    if not found:
        raise FormatError(f"{folder / _INDEX} lists no images; copy the dataset again")
    for image in found:
        if Path(image.file).name != image.file or "\\" in image.file:
            raise FormatError(
                f"{folder / _INDEX} names the file {image.file}, which is not beside it; copy the "
                "dataset again"
            )
    if any(image.compression or image.metadata_compression for image in found):
        raise FormatError(f"{folder} is compressed; save it uncompressed")
    return found


def _text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", data, at)
    end = at + 4 + length
    if end > len(data):
        raise ValueError("the index ends within an entry")
    return data[at + 4 : end].decode(), end


def _read(
    folder: Path,
    values: dict[str, list[int | str]],
    by_axes: Mapping[frozenset[tuple[str, int | str]], _Image],
    index: Mapping[str, int],
) -> ZStack:
    fixed = {axis: named[index.get(axis, 0)] for axis, named in values.items() if axis != "z"}
    wanted = [frozenset((fixed | {"z": z}).items()) for z in values["z"]]
    absent = [z for z, key in zip(values["z"], wanted, strict=True) if key not in by_axes]
    if absent:
        where = ", ".join(f"{axis} {value}" for axis, value in fixed.items())
        raise FormatError(
            f"{folder} lacks z index {absent[0]}{f' of {where}' if where else ''}; the recording "
            "is not complete: --take another, or record it again"
        )
    numbered = [z for z in values["z"] if isinstance(z, int)]
    gaps = sorted(set(range(min(numbered), max(numbered) + 1)) - set(numbered)) if numbered else []
    if gaps:
        raise FormatError(
            f"{folder} has no image of z index {gaps[0]}, between {numbered[0]} and {numbered[-1]}"
            "; the recording is not complete: record it again"
        )
    images = [by_axes[key] for key in wanted]
    planes = [_plane(folder, image) for image in images]
    if len({(plane.shape, plane.dtype) for plane in planes}) > 1:
        raise FormatError(f"{folder} has planes of different sizes or types; they must be equal")
    pages = [_metadata(folder, image) for image in images]
    summary = _summary(folder / images[0].file)
    steps, pixels = micromanager_claims(summary)
    own = positive(pages[0].get("PixelSizeUm"))
    if own is not None:
        pixels = (Claim("NDTiff PixelSizeUm", own), *pixels)
    elapsed = complete([number(page.get("ElapsedTime-ms")) for page in pages])
    exposed = complete([_first(page, "Exposure-ms", "Exposure") for page in pages])
    z = filled_up([_first(page, "ZPositionUm", "ZPosition_um_Intended") for page in pages])
    return ZStack(
        path=folder,
        reader="NDTiff",
        frames=np.stack(planes),
        files=tuple(dict.fromkeys(folder / image.file for image in images)),
        steps_um=steps,
        pixel_sizes_um=pixels,
        bit_depth=integer(pages[0].get("BitDepth")) or _BITS.get(images[0].kind),
        time_ns=None if elapsed is None else np.rint(elapsed * 1e6).astype(np.int64),
        exposure_us=None if exposed is None else exposed * 1e3,
        **positions_of(z, "NDTiff ZPositionUm"),
    )


def _plane(folder: Path, image: _Image) -> NDArray[Any]:
    dtype = np.dtype("u1" if image.kind == 0 else "<u2")
    count = image.width * image.height
    data = _bytes(folder / image.file, image.offset, count * dtype.itemsize)
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("=")).reshape(image.height, -1)


def _metadata(folder: Path, image: _Image) -> dict[str, Any]:
    data = _bytes(folder / image.file, image.metadata_offset, image.metadata_length)
    try:
        read = parse_json(data)
    except ValueError as error:
        raise FormatError(f"{folder / image.file} is damaged; copy the dataset again") from error
    return read if isinstance(read, dict) else {}


def _summary(file: Path) -> dict[str, Any]:
    magic, _, _, mark, length = struct.unpack("<5I", _bytes(file, 8, 20))
    if magic != _MAGIC or mark != _SUMMARY:
        return {}
    try:
        read = parse_json(_bytes(file, 28, length))
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _bytes(file: Path, offset: int, length: int) -> bytes:
    if not file.is_file():
        raise FormatError(f"{file} is missing beside its index; copy the whole folder")
    if offset + length > file.stat().st_size:
        raise FormatError(f"{file} is truncated; copy the dataset again")
    with file.open("rb") as handle:
        handle.seek(offset)
        return handle.read(length)


def _first(page: Mapping[str, Any], *names: str) -> float | None:
    return next((v for name in names if (v := number(page.get(name))) is not None), None)
