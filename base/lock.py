"""Locks of the system on open files: given back when their holder ends, however it ends."""

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
"""Byte that Windows locks: far behind the contents, which must stay readable for others."""

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
        True when it is locked, False when another holds it, None where the file system has no
        locks (some network drives): the first time that is said, and one goes on without.

    Raises
    ------
    OSError
        Something else went wrong.
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
    """Tell whether a program holds a file locked at this moment."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return try_lock(handle) is False
    finally:
        os.close(handle)


def lacks_locks(error: OSError) -> bool:
    """Tell whether locking failed because the file system has no locks; says so, once."""
    lacking = error.errno in _LACKING
    if lacking:
        _say_once()
    return lacking


def share_lock(handle: int) -> None:
    """Let others lock the file for reading too, while none can write to it."""
    if sys.platform != "win32":  # there, the locked byte is in no reader's way
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
        "warning: this file system has no file locks; let no two programs write into one folder"
    )
