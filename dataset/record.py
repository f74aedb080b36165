"""All metadata of a raw stack or an archive as JSON, stored inside other formats.

OME-TIFF, OME-Zarr, npz and similar formats store pixels, step and optics, but not the other
metadata. The exporters write this record beside the pixels, and the importers restore from it, so
that a stack or an archive gets its original checksum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.base.inputs import parse_json
from fgaf.dataset import archive as archives, raw
from fgaf.dataset.archive import CELL_COLUMNS, ROW_COLUMNS, Archive, ArchiveHeader, Cells
from fgaf.dataset.raw import PLANE_COLUMNS, RawHeader, RawStack
from fgaf.dataset.storage.checksums import Digest
from fgaf.dataset.storage.columns import TEXT, Schema

NAME: Final = "fgaf.json"
"""Name of the file that holds an archive's record in a folder of exported patches."""
_ROWS: Final = {**ROW_COLUMNS, "true_depth_um": "<f8"}
_PLANES: Final = {name: kind for name, kind in PLANE_COLUMNS.items() if name != "crc32"}
_MASKS: Final = "masks_sha256"
_BLOCK: Final = 64


def stack_record(stack: RawStack) -> str:
    """Record of a raw stack: all metadata, and a checksum of the pixels."""
    return _dump(
        {
            "format": raw.FORMAT,
            "format_version": raw.FORMAT_VERSION,
            "header": stack.header.model_dump(),
            "planes": _columns(_PLANES, stack.planes),
            "pixels_sha256": digest_of(stack.frames),
        }
    )


def restore_stack(
    record: str, frames: NDArray[Any]
) -> tuple[RawHeader, dict[str, NDArray[Any]]] | None:
    """Restore a raw stack's header and plane columns from its record.

    Parameters
    ----------
    record
        Output of `stack_record`.
    frames
        (P, Y, X) pixels stored with it.

    Returns
    -------
    tuple or None
        Header, and column name to (P,) array. None if another program changed the pixels since the
        record was written: the record may then be wrong.
    """
    try:
        read = parse_json(record)
        if read["format"] != raw.FORMAT or read["format_version"] > raw.FORMAT_VERSION:
            return None
        if read["pixels_sha256"] != digest_of(frames):
            return None
        planes = _arrays(_PLANES, read["planes"], len(frames))
        return RawHeader.model_validate(read["header"]), planes
    except (ValueError, KeyError, TypeError):
        return None


def archive_record(archive: Archive, files: Sequence[str] = ()) -> str:
    """Record of an archive: all metadata, and a checksum of the pixels.

    Parameters
    ----------
    archive
        In memory or open.
    files
        M names of the patches' files, if each patch has one.
    """
    return _dump(
        {
            "format": archives.FORMAT,
            "format_version": archive.format_version,
            "header": archive.header.model_dump(),
            "rows": _columns(_ROWS, archive.__dict__),
            "cells": _columns(CELL_COLUMNS, archive.cells.__dict__),
            "splits": {name: sides.tolist() for name, sides in archive.splits.items()},
            "history": list(archive.history),
            "pixels_sha256": digest_of(archive.images),
            "files": list(files),
        }
        | ({} if archive.masks is None else {_MASKS: digest_of(archive.masks)})
    )


def files_of(record: str, path: object) -> list[str]:
    """Names of the files that hold the patches of an archive's record.

    Parameters
    ----------
    record
        The record, JSON.
    path
        Its source, named in the error.

    Raises
    ------
    FormatError
        It is not a record of an archive.
    """
    files = _archive_record(record, path).get("files")
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise FormatError(f"{path} does not list the files of its patches; export it again")
    return files


def holds_masks(record: str, path: object) -> bool:
    """Whether an archive's record is of patches with masks.

    Parameters
    ----------
    record
        The record, JSON.
    path
        Its source, named in the error.

    Raises
    ------
    FormatError
        It is not a record of an archive.
    """
    return _MASKS in _archive_record(record, path)


def restore_archive(
    record: str, images: NDArray[Any], path: object, masks: NDArray[Any] | None = None
) -> Archive:
    """Restore an archive from its record, its patches and their masks.

    Parameters
    ----------
    record
        Output of `archive_record`.
    images
        (M, S, S) patches, in the order of the archive's rows.
    path
        Source of the record, for the error.
    masks
        (M, S, S) masks in the same order, if it `holds_masks`.

    Raises
    ------
    FormatError
        The record is damaged or of a newer version, or the patches or masks were changed after it
        was written.
    """
    read = _archive_record(record, path)
    if read.get("pixels_sha256") != digest_of(images):
        raise FormatError(
            f"{path}: the images are not those that were exported (their checksum differs); copy "
            "them again, or delete the record to import them by their names and labels only"
        )
    if read.get(_MASKS) != (None if masks is None else digest_of(masks)):
        raise FormatError(
            f"{path}: the masks are not those that were exported (their checksum differs); copy "
            "them again"
        )
    try:
        rows: dict[str, Any] = _arrays(_ROWS, read["rows"], len(images))
        cells = Cells.from_columns(_arrays(CELL_COLUMNS, read["cells"], len(read["cells"]["id"])))
        return Archive(
            header=ArchiveHeader.model_validate(read["header"]),
            images=images,
            masks=masks,
            cells=cells,
            splits={name: np.array(sides, np.int8) for name, sides in read["splits"].items()},
            history=tuple(map(str, read.get("history", ()))),
            **rows,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_record(path) from error


def digest_of(pixels: Any) -> str:
    """SHA-256 of images (N, Y, X) as in our files: of type, shape and values."""
    digest = Digest(np.dtype(pixels.dtype), tuple(int(n) for n in pixels.shape))
    for start in range(0, len(pixels), _BLOCK):
        digest.update(pixels[start : start + _BLOCK])
    return digest.hexdigest()


def _archive_record(record: str, path: object) -> dict[str, Any]:
    try:
        read = parse_json(record)
        known = read["format"] == archives.FORMAT
        version = read["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_record(path) from error
    if not known or not isinstance(version, int):
        raise _no_record(path)
    if version > archives.FORMAT_VERSION:
        raise FormatError(
            f"{path} has format version {version}, this program reads up to "
            f"{archives.FORMAT_VERSION}; update fgaf"
        )
    return dict(read)


def _no_record(path: object) -> FormatError:
    return FormatError(
        f"{path} is not the record of an exported archive, or is damaged; export it again"
    )


def _columns(schema: Schema, values: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        name: [str(v) for v in values[name]] if kind == TEXT else _numbers(values[name])
        for name, kind in schema.items()
        if values.get(name) is not None
    }


def _numbers(values: Any) -> list[Any]:
    """Numbers as JSON, which has no NaN."""
    return [None if v != v else v for v in np.asarray(values).tolist()]


def _arrays(schema: Schema, columns: Mapping[str, Any], length: int) -> dict[str, Any]:
    found = {}
    for name, kind in schema.items():
        if name not in columns and name == "true_depth_um":
            continue
        values = columns[name]
        if len(values) != length:
            raise ValueError(f"{name} has {len(values)} values, not {length}")
        plain = values if kind == TEXT else [math.nan if v is None else v for v in values]
        found[name] = np.array(plain, dtype=object if kind == TEXT else kind)
    return found


def _dump(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False)
