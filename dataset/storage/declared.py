"""Compare what an HDF5 file declares with what it stores, before anything is read.

A file of a few kilobytes can declare terabytes, and can refer to other files. Our files contain
only groups and datasets of numbers and text, all in the file itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import h5py

from fgaf.base.errors import FormatError
from fgaf.base.inputs import MOST_PACKED, SPARE_BYTES

_DEEPEST: Final = 4
_MOST_ITEMS: Final = 10_000
_NUMBERS: Final = "biufS"
_MOST_DEFLATED: Final = 1032
"""Largest expansion that deflate has, of equal bytes such as those of an empty mask."""


def require_held(file: h5py.File, path: object, size: int, unfinished: bool = False) -> None:
    """Refuse a file that refers to others, or that declares more than it holds.

    Parameters
    ----------
    file
        The file, open for reading; only its structure is read.
    path
        Its name, for the message.
    size
        Its size, in bytes.
    unfinished
        Whether only the first rows of chunked datasets must exist.

    Raises
    ------
    FormatError
        It contains links, virtual datasets, external storage, or values that are neither numbers
        nor text; or it stores much less than it declares.
    """
    declared = stored = expands = 0
    for found in _items(file, path):
        name = found.name
        if any(found.attrs.get_id(key).shape for key in found.attrs):
            raise FormatError(
                f"{path}: an attribute of {name} is a list; copy the file from its source again"
            )
        if isinstance(found, h5py.Group):
            continue
        settings = found.id.get_create_plist()
        if found.is_virtual or settings.get_external_count():
            raise FormatError(
                f"{path}: the values of {name} are in other files; copy them into this one"
            )
        kind = found.dtype
        if kind.kind not in _NUMBERS:
            raise FormatError(
                f"{path}: {name} has neither numbers nor text of fixed length; copy the "
                "file from its source again"
            )
        held = found.id.get_storage_size()
        shape = found.shape or ()
        declared += math.prod(shape[1:] if unfinished and found.chunks else shape) * kind.itemsize
        stored += held
        expands += held * (_MOST_DEFLATED if settings.get_nfilters() else 1)
        if held > size:
            raise FormatError(
                f"{path}: {name} declares {_bytes(held)} in a file of {_bytes(size)}; "
                "copy the file from its source again"
            )
    if declared > min(expands, size * MOST_PACKED) + SPARE_BYTES:
        raise FormatError(
            f"{path} declares {_bytes(declared)} but stores {_bytes(min(stored, size))}; "
            "copy the file from its source again"
        )


def _items(file: h5py.File, path: object) -> Iterator[h5py.Group | h5py.Dataset]:
    waiting: list[tuple[h5py.Group, int]] = [(file["/"], 0)]
    items = 0
    while waiting:
        group, depth = waiting.pop()
        yield group
        for name in group:
            items += 1
            if depth >= _DEEPEST or items > _MOST_ITEMS:
                raise FormatError(
                    f"{path} has more groups than any file of fgaf; give another file"
                )
            link = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(link, h5py.HardLink):
                raise FormatError(f"{path}: {where} is a link; copy its target into this file")
            item: Any = group[name]
            if isinstance(item, h5py.Group):
                waiting.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                yield item


def _bytes(n: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.4g} TB"
