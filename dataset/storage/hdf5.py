"""Opening of HDF5 files: ours are read, anything else is refused with one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import h5py

from fgaf.base.errors import FormatError
from fgaf.base.inputs import require_file
from fgaf.base.lock import lacks_locks
from fgaf.dataset.storage.attributes import read_attribute
from fgaf.dataset.storage.declared import require_held
from fgaf.dataset.storage.url import Url

# What h5py raises on a damaged file, depending on which bytes are hit.
DAMAGE = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    MemoryError,
)


@contextmanager
def open_format(
    path: Path | Url, kind: str, version: int, unfinished: bool = False
) -> Iterator[h5py.File]:
    """Open one of our files for reading, and refuse anything else in one line.

    Parameters
    ----------
    path
        The file.
    kind
        Expected value of the attribute ``format``.
    version
        Newest ``format_version`` this program reads.
    unfinished
        Whether a broken run may have left it, with room for images that were never taken.

    Raises
    ------
    FormatError
        Missing, no HDF5, truncated, in use, of another format, or newer; or it refers to other
        files or holds less than it declares.
    """
    with open_hdf5(path, unfinished) as file:
        with reading(path):
            found = read_attribute(file, "format")
            stored = read_attribute(file, "format_version")
        if found != kind:
            what = f"format {found!r}" if isinstance(found, str) else "an HDF5 file of another kind"
            raise FormatError(f"{path} is not of format {kind!r} but {what}; name another file")
        if not isinstance(stored, int):
            raise FormatError(f"{path}: format_version is missing; take the file again")
        if stored > version:
            raise FormatError(
                f"{path} has format version {stored}, this program reads up to {version}; "
                "update fgaf"
            )
        yield file


def format_of(path: Path | Url) -> str:
    """Find out which of our formats a file says it is: its attribute ``format``.

    Raises
    ------
    FormatError
        Missing, no HDF5, truncated, in use, or not one of ours.
    """
    with open_hdf5(path) as file, reading(path):
        found = read_attribute(file, "format")
    if not isinstance(found, str):
        raise FormatError(f"{path} is an HDF5 file that fgaf did not write; name another file")
    return found


@contextmanager
def reading(path: object) -> Iterator[None]:
    """Say in one line that a file is damaged where HDF5 stumbles over its contents.

    Raises
    ------
    FormatError
        In place of whatever the block raised on reading.
    """
    try:
        yield
    except DAMAGE as error:
        raise FormatError(
            f"{path} is damaged and cannot be read whole; take it from its source again"
        ) from error


@contextmanager
def open_hdf5(path: Path | Url, unfinished: bool = False) -> Iterator[h5py.File]:
    """Open any HDF5 file for reading that holds what it declares; see `open_format`.

    Parameters
    ----------
    path
        The file, or its address.
    unfinished
        Whether it may lack what a finished file has.

    Raises
    ------
    FormatError
        Missing, no HDF5, truncated or in use; or it refers to other files or holds less than it
        declares.
    """
    if isinstance(path, Url):
        with path.open() as remote, _remote_hdf5(path, remote) as file:
            _require_held(file, path, remote.seek(0, os.SEEK_END), unfinished)
            yield file
        return
    require_file(path)
    try:
        file = _opened(path)
    except BlockingIOError as error:
        raise FormatError(
            f"{path} is being written by another program; wait for its end"
        ) from error
    except OSError as error:
        raise FormatError(_cannot_open(path, error)) from error
    with file:
        _require_held(file, path, path.stat().st_size, unfinished)
        yield file


def _opened(path: Path) -> h5py.File:
    """Open with HDF5's own lock, and without it where the file system has none."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if isinstance(error, BlockingIOError) or not lacks_locks(error):
            raise
        return h5py.File(path, "r", locking=False)


def _require_held(file: h5py.File, path: Path | Url, size: int, unfinished: bool) -> None:
    with reading(path):
        require_held(file, path, size, unfinished)


def _remote_hdf5(url: Url, remote: IO[bytes]) -> h5py.File:
    try:
        return h5py.File(remote, "r")
    except OSError as error:
        raise FormatError(f"{url} is no HDF5 file, or truncated; check the address") from error
    except ValueError as error:
        raise FormatError(
            f"{url} cannot be read in pieces, its server knows no ranges; download it"
        ) from error


def _cannot_open(path: Path, error: OSError) -> str:
    with path.open("rb") as handle:
        start = handle.read(8)
    if start != b"\x89HDF\r\n\x1a\n":
        return f"{path} is not an HDF5 file; name a file that fgaf wrote"
    if "unable to lock file" in str(error):
        return f"{path} is being written by another program; wait for its end"
    return f"{path} is truncated or damaged and cannot be opened; take it from its source again"
