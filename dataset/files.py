"""Whole files or none: outputs are built beside their target and published in one step."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fgaf.dataset.errors import ExistsError, FgafError

_BLOCK = 1 << 20
_CAUSES = tuple(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EIO")
    if hasattr(errno, name)
)


def require_new(path: Path, overwrite: bool = False) -> None:
    """Refuse an output that exists, or whose folder cannot be made.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        The folder of `path` cannot be created.
    """
    if path.exists() and not overwrite:
        raise ExistsError(f"{path} exists already; choose another name or pass --overwrite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FgafError(
            f"cannot make the folder {path.parent} ({reason(error)}); choose another place"
        ) from error


def require_free(path: Path, n_bytes: int) -> None:
    """Refuse to start on a disk that cannot hold `n_bytes` more at `path`.

    Raises
    ------
    FgafError
        The disk of `path` has less than `n_bytes` free.
    """
    free = free_bytes(path)
    if free < n_bytes:
        raise FgafError(
            f"{path} needs {_megabytes(n_bytes)} and its disk has {_megabytes(free)} free; "
            "make room or choose another disk"
        )


def free_bytes(path: Path) -> int:
    """Bytes free on the disk on which `path` is or would be."""
    folder = next(place for place in (path, *path.parents) if place.exists())
    return shutil.disk_usage(folder).free


def sync(path: Path) -> None:
    """Force a written file onto the disk (fsync)."""
    # Windows flushes only through a handle that may write.
    with path.open("r+b") as handle:
        os.fsync(handle.fileno())


def publish(part: Path, target: Path) -> None:
    """Give a finished, synced file its name; the old file or the new one, never a mixture."""
    part.replace(target)
    if os.name == "posix":  # the new name itself must survive a power loss
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def publishing(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Build a file beside `path` and publish it when the block ends well.

    Parameters
    ----------
    path
        The target. Its folder is made when missing.
    overwrite
        Whether an existing `path` may be replaced.

    Yields
    ------
    Path
        A temporary file in the folder of `path` to write to. It is removed when the block fails.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        The folder cannot be made or written, or the disk is full.
    """
    require_new(path, overwrite)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        part = Path(name)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield part
        _open_permissions(part)
        sync(part)
        publish(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str, overwrite: bool = False) -> None:
    """Publish `text` (UTF-8) as the file `path`; see `publishing` for the errors."""
    with publishing(path, overwrite) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def cannot_write(path: Path, error: OSError) -> FgafError:
    """Say in one line why `path` could not be written."""
    return FgafError(f"cannot write {path} ({reason(error)}); choose another place or make room")


def reason(error: OSError) -> str:
    """Say what the system, or HDF5 on its behalf, gives as the cause of a failure."""
    for number in _CAUSES:
        if error.errno == number or f"errno = {number}," in str(error):
            return os.strerror(number)
    return error.strerror or str(error).splitlines()[0]


def _open_permissions(part: Path) -> None:
    """Temporary files are private; a published one gets the permissions any new file would."""
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.0f} MB"
