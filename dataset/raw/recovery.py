"""Publishes the planes of a raw stack that a broken run left."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from fgaf.base.errors import FgafError, FormatError
from fgaf.base.files import publishing, require_new
from fgaf.base.lock import is_written
from fgaf.dataset.raw.header import RawHeader
from fgaf.dataset.raw.layout import (
    NOT_WRITTEN,
    PART,
    SUFFIX,
    frames_of,
    open_raw,
    plane_crc32,
    planes_of,
    stack_of,
)
from fgaf.dataset.raw.writer import RawWriter
from fgaf.dataset.storage.checksums import RowSums
from fgaf.dataset.storage.hdf5 import reading
from fgaf.dataset.storage.header import read_header


@dataclass(frozen=True)
class Recovery:
    """Result of `recover`."""

    path: Path
    planes: int
    planned: int


def recover(part: Path, overwrite: bool = False) -> Recovery:
    """Publish the planes that a broken run left in its ``.part``, marked incomplete.

    Each plane is checked against its checksum; the first missing or damaged one, in the order in
    which they were taken, ends the stack.
    The ``.part`` is removed only when the recovered file is published.

    Parameters
    ----------
    part
        The file that the run left.
    overwrite
        Whether an existing stack may be replaced.

    Raises
    ------
    FormatError
        Not the ``.part`` of a raw stack, damaged, or still being written.
    FgafError
        It has no complete plane, or the target exists.
    """
    target = stack_of(part)
    require_new(target, overwrite)
    with open_raw(part, unfinished=True) as file, publishing(target, overwrite) as work:
        with reading(part):
            frames = frames_of(file, part)
            planned = frames.shape[0]
            header = read_header(file, RawHeader, part)
            columns = planes_of(file, planned, part)
            held = _held(frames, columns, part)
        if not held:
            raise FgafError(f"{part} has no complete plane; delete it and take the stack again")
        header = header.model_copy(update={"complete": len(held) == header.planned_planes})
        shape = (len(held), *frames.shape[1:])
        compress = frames.compression is not None
        with RawWriter(
            target, header, shape, frames.dtype, overwrite, scratch=work, compress=compress
        ) as writer:
            for number, plane in enumerate(held):
                values = {name: columns[name][plane].item() for name in columns if name != "crc32"}
                writer.write(number, frames[plane], **values)
            writer.seal()
    part.unlink()
    return Recovery(target, len(held), header.planned_planes)


def broken_runs(folder: Path) -> list[Path]:
    """List the ``.part`` files that no program is writing; `recover` publishes their planes."""
    return [part for part in sorted(folder.glob(f"*{SUFFIX}{PART}")) if not is_written(part)]


def _held(frames: h5py.Dataset, columns: dict[str, NDArray[Any]], path: Path) -> range:
    """Complete planes, from the first one taken up to the first that is incomplete or damaged."""
    planes, ids = range(frames.shape[0]), columns["frame_id"]
    downwards = ids[-1] != NOT_WRITTEN and not NOT_WRITTEN < ids[0] <= ids[-1]
    held = 0
    for plane in planes[::-1] if downwards else planes:
        if not _is_whole(plane, frames, columns, path):
            break
        held += 1
    return planes[len(planes) - held :] if downwards else planes[:held]


def _is_whole(
    plane: int, frames: h5py.Dataset, columns: dict[str, NDArray[Any]], path: Path
) -> bool:
    row = {name: columns[name][plane] for name in columns}
    if row["frame_id"] == NOT_WRITTEN:
        return False
    try:
        with reading(path):
            pixels = RowSums.of(frames[plane]).crc32
    except FormatError:  # an incomplete block of compressed pixels cannot be read
        return False
    return bool(plane_crc32(pixels, row) == row["crc32"])
