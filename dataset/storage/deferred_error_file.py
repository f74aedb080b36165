"""A file that accepts every write of HDF5 and reports errors of the disk later.

HDF5 does not survive a failed write: errors while a dataset is closed are lost, and a later flush,
close or open of the same file crashes the process (seen with HDF5 2.0 on a full disk). So HDF5
writes to this file object instead of a path. It stores the first error for the caller, and after an
error it accepts all data and writes nothing: the file on disk stays in the state of the last
successful flush.

It also syncs data to the disk during writing, not only at the end: little is lost in a power
failure, and the system's memory does not fill up.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import h5py

from fgaf.base.files import cannot_write, make_folder, remove_empty, still_named
from fgaf.base.lock import share_lock, try_lock

SYNC_BYTES, MOST_UNSYNCED_BYTES = 1 << 26, 1 << 28

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class DeferredErrorFile(io.RawIOBase):
    """A new file, locked as HDF5 would lock it, whose writes never raise.

    Data are synced in the background, `SYNC_BYTES` at a time; when a slow disk leaves
    `MOST_UNSYNCED_BYTES` in the system's memory, writing waits.

    Parameters
    ----------
    path
        The file.
    overwrite
        Whether an existing file may be emptied.

    Raises
    ------
    FileExistsError
        It exists and `overwrite` is false.
    BlockingIOError
        Another program writes it.
    OSError
        It cannot be opened.
    """

    @classmethod
    def begin(cls, path: Path, overwrite: bool) -> tuple[Self, list[Path]]:
        """Open a file in a folder that may be missing.

        Parameters
        ----------
        path, overwrite
            As for the class.

        Returns
        -------
        DeferredErrorFile, list of Path
            The file, and the folders that were made for it, the deepest first.

        Raises
        ------
        FgafError
            It cannot be opened, or a folder cannot be made; none is left.
        """
        made = make_folder(path.parent)
        try:
            return cls(path, overwrite), made
        except OSError as error:
            remove_empty(made)
            raise cannot_write(path, error) from error

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        flags = _FLAGS if overwrite else _FLAGS | os.O_EXCL
        self._file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
        self._error: OSError | None = None
        self._unsynced = 0
        self._syncing: Future[None] | None = None
        self._syncer = ThreadPoolExecutor(1, "disk syncer")
        try:
            handle = self._file.fileno()
            if try_lock(handle) is False or not still_named(handle, path):
                raise BlockingIOError(errno.EAGAIN, "another program is writing it", str(path))
            self._file.truncate(0)
        except OSError:
            self._file.close()
            raise

    def share(self) -> None:
        """Let other programs open the file for reading; none can write to it."""
        share_lock(self._file.fileno())

    def check(self) -> None:
        """Raise the first error of a write.

        Raises
        ------
        OSError
            The disk is full, was removed, ...
        """
        if self._error is not None:
            raise self._error

    def sync(self) -> None:
        """Force all written data to the disk (fsync).

        Raises
        ------
        OSError
            As `check`, or from this fsync.
        """
        self._unsynced = 0
        self._await_sync()
        self.check()
        os.fsync(self._file.fileno())

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; see `io.IOBase`.

        Parameters
        ----------
        offset
            Distance, bytes.
        whence
            Origin, such as `os.SEEK_SET`.
        """
        return self._file.seek(offset, whence)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read; see `io.RawIOBase`."""
        return self._file.readinto(buffer) or 0

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data`, or store the error."""
        left = memoryview(data).cast("B")
        whole = len(left)
        try:
            while left and self._error is None:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._error = error
        self._unsynced += whole
        if self._unsynced >= SYNC_BYTES:
            self._sync_behind()
        return whole

    def truncate(self, size: int | None = None, /) -> int:
        """Shorten or lengthen; see `io.IOBase`."""
        wanted = self._file.tell() if size is None else size
        try:
            # HDF5 truncates at every flush; the same length again would cost a journal entry.
            if self._error is None and os.fstat(self._file.fileno()).st_size != wanted:
                self._file.truncate(wanted)
        except OSError as error:
            self._error = error
        return wanted

    def close(self) -> None:
        """Close the file and release the lock."""
        if not self.closed:
            self._await_sync()
            self._syncer.shutdown()
            self._file.close()
        super().close()

    def _sync_behind(self) -> None:
        busy = self._syncing is not None and not self._syncing.done()
        if busy and self._unsynced < MOST_UNSYNCED_BYTES:
            return
        self._await_sync()
        self._unsynced = 0
        self._syncing = self._syncer.submit(os.fsync, self._file.fileno())

    def _await_sync(self) -> None:
        try:
            if self._syncing is not None:
                self._syncing.result()
        except OSError as error:
            self._error = self._error or error
        self._syncing = None


@contextmanager
def deferred_error_file(path: Path) -> Iterator[DeferredErrorFile]:
    """Write a new file that accepts all data, and raise the first write error at the end.

    Raises
    ------
    OSError
        The first error of the disk, after the block has ended.
    """
    disk = DeferredErrorFile(path)
    try:
        yield disk
    finally:
        disk.close()
    disk.check()


@contextmanager
def writing_hdf5(path: Path) -> Iterator[h5py.File]:
    """Build a new HDF5 file on a `DeferredErrorFile`.

    Yields
    ------
    h5py.File
        The file, empty.

    Raises
    ------
    OSError
        The first error of the disk, after the block has ended.
    """
    with deferred_error_file(path) as disk, h5py.File(disk, "w") as file:
        yield file
