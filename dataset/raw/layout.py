"""Layout of a raw stack: its name, its format, its frames and the table of its planes."""

import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError, SettingError
from fgaf.dataset.storage.attributes import read_attribute
from fgaf.dataset.storage.columns import Schema, dataset_of, read_columns
from fgaf.dataset.storage.hdf5 import DAMAGE, open_format
from fgaf.dataset.storage.integrity import fingerprint_of
from fgaf.dataset.storage.url import Url

FORMAT, FORMAT_VERSION = "fgaf-raw", 2
SUFFIX = ".stack.h5"
PART = ".part"

PLANE_COLUMNS: Schema = {
    "z_requested_um": "<f8",
    "z_measured_um": "<f8",
    "time_device_ns": "<i8",
    "time_host_ns": "<i8",
    "frame_id": "<i8",
    "exposure_us": "<f8",
    "crc32": "<u4",
}
NOT_WRITTEN = -1
"""Frame number of a plane that was not written."""


def part_of(path: Path) -> Path:
    """Path of a stack while it is recorded: its ``.part``."""
    return path.with_name(path.name + PART)


def stack_of(part: Path) -> Path:
    """Path under which the planes of a ``.part`` are published.

    Raises
    ------
    SettingError
        The name does not end in ``.part``.
    """
    if not part.name.endswith(SUFFIX + PART):
        raise SettingError(
            f"{part} is not the file of a broken run; give one that ends in {SUFFIX}.part"
        )
    return part.with_name(part.name.removesuffix(PART))


def open_raw(path: Path | Url, unfinished: bool = False) -> AbstractContextManager[h5py.File]:
    """Open a raw stack's file for reading; see `open_format` for the errors.

    Parameters
    ----------
    path
        The file, or its address.
    unfinished
        Whether a broken run may have left it.
    """
    return open_format(path, FORMAT, FORMAT_VERSION, unfinished)


def content_of(path: Path) -> str:
    """Read the content's fingerprint in a stack's header, and nothing else; empty if there is none.

    Parameters
    ----------
    path
        Any file.
    """
    try:
        with h5py.File(path, "r") as file:
            return fingerprint_of(file) if read_attribute(file, "format") == FORMAT else ""
    except DAMAGE:
        return ""


def frames_of(file: h5py.File, path: Path | Url) -> h5py.Dataset:
    """Find the (P, Y, X) pixels.

    Parameters
    ----------
    file
        The open file.
    path
        Named in the error.

    Raises
    ------
    FormatError
        They are missing, or of another shape or type.
    """
    frames = dataset_of(file, "frames", path)
    if frames.ndim != 3 or frames.dtype not in (np.dtype("u1"), np.dtype("u2")):
        raise FormatError(
            f"{path}: /frames is {frames.dtype}{list(frames.shape or ())}, should be uint8 or "
            "uint16 (planes, rows, columns); copy the file from its source again"
        )
    return frames


def planes_of(file: h5py.File, n_planes: int, path: Path | Url) -> dict[str, NDArray[Any]]:
    """Read the table of planes: column name to array (P,), see `PLANE_COLUMNS`.

    Parameters
    ----------
    file
        The open file.
    n_planes
        P, the planes of its frames.
    path
        Named in the error.

    Raises
    ------
    FormatError
        It is missing, or a column is missing or of another length or type.
    """
    group = file.get("planes")
    if not isinstance(group, h5py.Group):
        raise FormatError(
            f"{path}: the table /planes is missing; copy the file from its source again"
        )
    return read_columns(group, PLANE_COLUMNS, n_planes, path)


def plane_crc32(pixels: int, row: Mapping[str, Any]) -> int:
    """Continue the checksum of a plane's pixels with its other columns, in their order.

    Parameters
    ----------
    pixels
        CRC-32 of the pixels.
    row
        Values of the columns; `crc32` is left out.
    """
    checksum = pixels
    for name, kind in PLANE_COLUMNS.items():
        if name != "crc32":
            checksum = zlib.crc32(np.asarray(row[name], kind).tobytes(), checksum)
    return checksum
