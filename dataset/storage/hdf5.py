"""Opening of HDF5 files: those of fgaf are read, all others are refused with a one-line error."""

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

# Errors that h5py raises for a damaged file, depending on the damaged bytes.
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
    """Open a file of fgaf for reading; refuse all others in one line.

    Parameters
    ----------
    path
        The file.
    kind
        Expected value of the attribute ``format``.
    version
        Newest ``format_version`` this program reads.
    unfinished
        Whether it may be of a broken run, with space for images that were not taken.

    Raises
    ------
    FormatError
        It is missing, not HDF5, truncated, in use, of another format, or newer; or it refers to
        other files or stores less than it declares.
    """
    with open_hdf5(path, unfinished) as file:
        with reading(path):
            found = read_attribute(file, "format")
            stored = read_attribute(file, "format_version")
        if found != kind:
            what = f"format {found!r}" if isinstance(found, str) else "an HDF5 file of another kind"
            raise FormatError(f"{path} is not of format {kind!r} but {what}; give another file")
        if not isinstance(stored, int):
            raise FormatError(
                f"{path}: format_version is missing; copy the file from its source again"
            )
        if stored > version:
            raise FormatError(
                f"{path} has format version {stored}, this program reads up to {version}; "
                "update fgaf"
            )
        yield file


def format_of(path: Path | Url) -> str:
    """Read the format of a file of fgaf: its attribute ``format``.

    Raises
    ------
    FormatError
        It is missing, not HDF5, truncated, in use, or not a file of fgaf.
    """
    with open_hdf5(path) as file, reading(path):
        found = read_attribute(file, "format")
    if not isinstance(found, str):
        raise FormatError(f"{path} is an HDF5 file that fgaf did not write; give another file")
    return found


@contextmanager
def reading(path: object) -> Iterator[None]:
    """Replace HDF5's errors while reading by one line that says that the file is damaged.

    Raises
    ------
    FormatError
        Instead of the error raised in the block.
    """
    try:
        yield
    except DAMAGE as error:
        raise FormatError(
            f"{path} is damaged and cannot be read completely; copy it from its source again"
        ) from error


@contextmanager
def open_hdf5(path: Path | Url, unfinished: bool = False) -> Iterator[h5py.File]:
    """Open any HDF5 file for reading, unless it stores less than it declares; see `open_format`.

    Parameters
    ----------
    path
        The file, or its address.
    unfinished
        Whether it may be unfinished.

    Raises
    ------
    FormatError
        It is missing, not HDF5, truncated or in use; or it refers to other files or stores less
        than it declares.
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
            f"{path} is being written by another program; wait until it has finished"
        ) from error
    except OSError as error:
        raise FormatError(_cannot_open(path, error)) from error
    with file:
        _require_held(file, path, path.stat().st_size, unfinished)
        yield file


def _opened(path: Path) -> h5py.File:
    """Open with HDF5's own lock, or without it if the file system has no locks."""
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
        raise FormatError(
            f"{url} is not an HDF5 file, or is truncated; check the address"
        ) from error
    except ValueError as error:
        raise FormatError(
            f"{url} cannot be read in pieces, because its server does not support byte ranges; "
            "download it"
        ) from error


def _cannot_open(path: Path, error: OSError) -> str:
    with path.open("rb") as handle:
        start = handle.read(8)
    if start != b"\x89HDF\r\n\x1a\n":
        return f"{path} is not an HDF5 file; give a file that fgaf wrote"
    if "unable to lock file" in str(error):
        return f"{path} is being written by another program; wait until it has finished"
    return f"{path} is truncated or damaged and cannot be opened; copy it from its source again"
