"""System locks on open files: released when the program that holds them ends or is killed."""

from __future__ import annotations

import errno
import functools
import logging
import os
import sys
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

_FAR: Final = 1 << 30
"""Byte that Windows locks: far after the contents, which others must be able to read."""

_HELD: Final = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_LACKING: Final = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


def try_lock(handle: int) -> bool | None:
    """Lock an open file for this program alone, until the file is closed.

    Parameters
    ----------
    handle
        Descriptor of a file open for writing.

    Returns
    -------
    bool or None
        True if it is locked, False if another program holds it, None if the file system has no
        locks (some network drives): the first time a warning is printed.

    Raises
    ------
    OSError
        Locking failed for another reason.
    """
    try:
        _lock(handle)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if not lacks_locks(error):
            raise
        return None
    return True


def is_written(path: Path) -> bool:
    """Tell whether a program holds a lock on a file now."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return try_lock(handle) is False
    finally:
        os.close(handle)


def lacks_locks(error: OSError) -> bool:
    """Tell whether locking failed because the file system has no locks; print a warning once."""
    lacking = error.errno in _LACKING
    if lacking:
        _say_once()
    return lacking


def share_lock(handle: int) -> None:
    """Let other programs lock the file for reading; none can write to it."""
    if sys.platform != "win32":  # on Windows the locked byte is outside what readers read
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if not lacks_locks(error):
                raise


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@functools.cache
def _say_once() -> None:
    _log.warning(
        "warning: this file system has no file locks; do not let two programs write to one folder"
    )
