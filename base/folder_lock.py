"""One program per folder: a second program gets an error that says which one works there."""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from fgaf.base.errors import FgafError
from fgaf.base.files import cannot_write, making_folder, still_named
from fgaf.base.lock import try_lock

_log = logging.getLogger(__name__)

RUN_LOCK: Final = "run.lock"
"""Name of the lock file in a folder in which a program works."""


class LockedError(FgafError):
    """Another window or program uses the folder."""


class FolderLock:
    """A lock on a folder, held until `release` or the end of the process.

    The operating system locks an open file, so a killed process leaves no lock. The file's text
    about the holder is only for people.

    Parameters
    ----------
    path
        The lock's file; made if missing.
    refusal
        Message for a second program; ``{holder}`` is replaced by the holder.
    subject
        What is refused; by default the lock's folder.

    Raises
    ------
    LockedError
        Another program holds it; the message says who.
    FgafError
        The folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        refusal: str = "is in use by another program{holder}: wait for its end, or choose another "
        "folder",
        subject: Path | None = None,
    ) -> None:
        self.path = path
        self._handle: int | None = None
        try:
            free = self._take()
        except OSError as error:
            self.release()
            raise cannot_write(path, error) from error
        if not free:
            self.release()
            _log.debug("%s is locked by another program", path)
            raise LockedError(f"{subject or path.parent} {refusal.format(holder=_holder(path))}")
        _log.debug("locked %s", path)
        self._write_holder()

    def release(self) -> None:
        """Release the lock and keep the file; may be called again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def remove(self) -> None:
        """Release the lock and remove the file."""
        if os.name == "posix":  # while held: a program that opened it checks the name
            self.path.unlink(missing_ok=True)
        self.release()
        if os.name != "posix":
            with contextlib.suppress(OSError):  # another program opened it and owns it now
                self.path.unlink()

    def _take(self) -> bool:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        while True:
            self._handle = os.open(self.path, flags, 0o666)
            if try_lock(self._handle) is False:
                return False
            if still_named(self._handle, self.path):
                return True
            self.release()

    def _write_holder(self) -> None:
        holder = {
            "user": user_name(),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        }
        assert self._handle is not None  # noqa: S101 - for the type checker
        with contextlib.suppress(OSError):  # the lock holds on a full disk too
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, json.dumps(holder).encode())


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Keep a folder for this program while it works there.

    Parameters
    ----------
    folder
        Made with its parents; new folders that stay empty are removed again.

    Raises
    ------
    LockedError
        Another program works there; the message says who.
    FgafError
        The folder cannot be made or written.
    """
    with making_folder(folder):
        lock = FolderLock(folder / RUN_LOCK)
        try:
            yield
        finally:
            lock.remove()


def user_name() -> str:
    """Name of the user who is logged in; "someone" if unknown."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "someone"


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f" ({who['user']} on {who['host']}, process {who['process']}, since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
