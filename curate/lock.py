"""One writer per session: a lock that the system gives back when its holder ends, however."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Final

from fgaf.dataset.errors import FgafError
from fgaf.dataset.files import cannot_write

_FAR: Final = 1 << 30
"""Byte that Windows locks: far behind the text, which must stay readable for others."""


class LockedError(FgafError):
    """Another window or program has the session; it can only be looked at."""


class FolderLock:
    """A lock on a folder, held until `release` or the end of the process.

    The lock is the system's, on an open file: a killed process leaves none behind. What the file
    says about the holder is only for people.

    Parameters
    ----------
    path
        The lock's file; made when missing, and left where it is.

    Raises
    ------
    LockedError
        Another holds it; the line says who.
    FgafError
        The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            self._handle: int | None = os.open(path, flags, 0o666)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            _lock(self._handle)
        except OSError as error:
            self.release()
            if not isinstance(error, BlockingIOError | PermissionError):
                raise cannot_write(path, error) from error
            raise LockedError(
                f"{path.parent} is open in another window{_holder(path)}: decide there, or close "
                "it; here the session can only be looked at"
            ) from error
        holder = {
            "user": user_name(),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        }
        with contextlib.suppress(OSError):  # a full disk is no reason not to hold it
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, json.dumps(holder).encode())

    def release(self) -> None:
        """Give it back; may be called again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def user_name() -> str:
    """Name of the person logged in; "someone" where the system does not tell."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "someone"


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f" ({who['user']} on {who['host']}, process {who['process']}, since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
