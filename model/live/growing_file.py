"""A file of HDF5 that grows during a run; it is readable at any time, also after a kill."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

import h5py
import numpy as np

from fgaf.base.errors import ExistsError, FgafError
from fgaf.base.files import cannot_write, publish, remove_empty, require_new, sync
from fgaf.base.lock import is_written
from fgaf.dataset.storage.deferred_error_file import DeferredErrorFile
from fgaf.dataset.storage.header import software, utc_now

Item = TypeVar("Item")

PART: Final = ".part"
_EVERY_S: Final = 0.5
_CHUNK: Final = 1024
_END_S: Final = 30.0


def require_free(path: Path, overwrite: bool) -> Path:
    """Refuse a file that is there or being written, before anything is opened or moved for it.

    Parameters
    ----------
    path
        The file.
    overwrite
        Whether one that is there may be replaced.

    Returns
    -------
    Its name while it is written.

    Raises
    ------
    FgafError
        It is there, or is being written, or a part of it is left.
    """
    require_new(path, overwrite)
    part = path.with_name(path.name + PART)
    if is_written(part):
        raise ExistsError(f"{part} is being written by another program; choose another name")
    if part.exists() and not overwrite:
        raise FgafError(f"{part} is left from a killed run; move it, or pass --overwrite")
    return part


class GrowingFile(ABC, Generic[Item]):
    """Writes items in its own thread, twice a second, with a flush each time.

    The file is ``NAME.part`` until the block ends without error: a killed run leaves it, and every
    HDF5 program can read it. A run without an item leaves nothing.

    Parameters
    ----------
    path
        The file. Its folder is made when missing.
    about
        Attributes of the file, such as the rig and the model.
    overwrite
        Replace a file that is there.

    Attributes
    ----------
    path, part
        The file, and its name while it is written.
    written
        Number of items written.

    Raises
    ------
    FgafError
        It exists, or cannot be written.
    """

    FORMAT: ClassVar[str]
    FORMAT_VERSION: ClassVar[int] = 1

    def __init__(self, path: Path, about: dict[str, Any], overwrite: bool = False) -> None:
        self.path, self.part = path, require_free(path, overwrite)
        self.written = 0
        self._waiting: list[Item] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._error: Exception | None = None
        self._disk, self._made = DeferredErrorFile.begin(self.part, overwrite)
        self._file = h5py.File(self._disk, "w")
        try:
            self._file.attrs.update(
                {
                    "format": self.FORMAT,
                    "format_version": self.FORMAT_VERSION,
                    "created_utc": utc_now(),
                }
                | {"software": software(), "complete": False}
                | about
            )
            self._create(self._file)
            self._file.flush()
            self._disk.check()
        except OSError as error:
            self._close()
            self._discard()
            raise cannot_write(self.part, error) from error
        self._thread = threading.Thread(target=self._run, name="file", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._wake.set()
        self._thread.join(_END_S)
        try:
            self._publish(whole=error is None)
        except FgafError:
            if error is None:  # the error that ended the run is more important
                raise

    @abstractmethod
    def _create(self, file: h5py.File) -> None:
        """Make the groups of a new file."""

    @abstractmethod
    def _add(self, file: h5py.File, items: list[Item]) -> None:
        """Write items."""

    def put(self, item: Item) -> None:
        """Queue one item; returns at once.

        Raises
        ------
        FgafError
            An earlier one could not be written.
        """
        self._check()
        with self._lock:
            self._waiting.append(item)

    @property
    def waiting(self) -> int:
        """Number of items that wait for the disk."""
        with self._lock:
            return len(self._waiting)

    def _publish(self, whole: bool) -> None:
        if self._thread.is_alive():
            raise FgafError(
                f"the disk of {self.part} has written nothing for {_END_S:g} s; write to a faster "
                "disk"
            )
        try:
            if self._error is None:
                self._file.attrs["complete"] = whole
        finally:
            self._close()
        if self.written == 0:
            self._discard()
        self._check()
        if self.written == 0:
            return
        try:
            self._disk.check()
            sync(self.part)
            publish(self.part, self.path)
        except OSError as failure:
            raise cannot_write(self.path, failure) from failure

    def _close(self) -> None:
        self._file.close()
        self._disk.close()

    def _discard(self) -> None:
        self.part.unlink()
        remove_empty(self._made)

    def _check(self) -> None:
        if self._error is not None:
            error = self._error
            cause = error if isinstance(error, OSError) else OSError(str(error))
            raise cannot_write(self.part, cause) from error

    def _run(self) -> None:
        while True:
            self._wake.wait(_EVERY_S)
            ended = self._ended
            with self._lock:
                items, self._waiting = self._waiting, []
            try:
                if items and self._error is None:
                    self._add(self._file, items)
                    self._file.flush()
                    self._disk.check()
                    self.written += len(items)
            except Exception as error:
                self._error = error
            if ended:
                return


def create_columns(file: h5py.File, group: str, columns: dict[str, Any]) -> None:
    """Make the empty columns of a table.

    Parameters
    ----------
    file
        The file.
    group
        Name of the table.
    columns
        Type of each column.
    """
    for name, kind in columns.items():
        file.create_dataset(f"{group}/{name}", (0,), kind, maxshape=(None,), chunks=(_CHUNK,))


def add_rows(file: h5py.File, group: str, rows: dict[str, list[Any]]) -> None:
    """Add rows to a table.

    Parameters
    ----------
    file
        The file.
    group
        Name of the table.
    rows
        Values of each column.
    """
    for name, values in rows.items():
        if not values:
            continue
        column = file[f"{group}/{name}"]
        begin = len(column)
        column.resize(begin + len(values), axis=0)
        column[begin:] = np.array(values, column.dtype)
