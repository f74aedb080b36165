"""Whole files or none: outputs are built beside their target and published in one step."""

import errno
import hashlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fgaf.base.errors import ExistsError, FgafError, SettingError
from fgaf.base.lock import try_lock
from fgaf.base.names import alike, folded, require_distinct, require_portable

_log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_CAUSES = tuple(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EIO")
    if hasattr(errno, name)
)
_HERE = ("", ".", "..")
ALIVE = "lock"
"""File in a scratch folder that is locked while its maker lives."""
_LONG_AGO_S = 3600.0
_TRIES = 100
_RENAME_WAITS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0)
_HELD_ON_WINDOWS = (5, 32, 33)
"""ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION."""
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


def require_new(path: Path, overwrite: bool = False) -> None:
    """Refuse an output that exists, that has no good name, or whose folder cannot be made.

    Nothing is made yet.

    Parameters
    ----------
    path
        The output.
    overwrite
        Whether a file that is there may be replaced.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    SettingError
        Its name, or that of a folder to be made for it, is one that Windows forbids, or differs
        from a neighbour's by case or way of writing only.
    FgafError
        The folder of `path` cannot be created.
    """
    require_all_new([path], overwrite)


def require_all_new(paths: Iterable[Path], overwrite: bool = False) -> None:
    """Refuse outputs of which one is impossible, as `require_new`, or two have one name.

    Parameters
    ----------
    paths
        The outputs.
    overwrite
        Whether files that are there may be replaced.
    """
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)
    for folder, outputs in by_folder.items():
        _require_makeable(folder)
        require_distinct(path.name for path in outputs)
        for path in outputs:
            _require_free_name(path, overwrite)
        _require_no_twin(folder, {path.name for path in outputs})


def _require_free_name(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise ExistsError(f"{path} exists already; choose another name or pass --overwrite")
    if path.name not in _HERE:
        require_portable(path.name)


def names_in(folder: Path) -> set[str]:
    """Names of what lies in a folder; none where it is not there or does not tell."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _require_no_twin(folder: Path, names: set[str]) -> None:
    """Refuse names that are not in a folder, but for case or way of writing."""
    there = names_in(folder)
    twins = {folded(name): name for name in there}
    for name in sorted(names - there):
        if folded(name) in twins:
            raise SettingError(f"{folder}: {alike(name, twins[folded(name)])}")


def _require_makeable(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.is_dir():
            return
        if place.exists():
            raise _cannot_make(
                folder, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            )
        if place.name not in _HERE:
            require_portable(place.name)
            _require_no_twin(place.parent, {place.name})


@contextmanager
def making_folder(folder: Path) -> Iterator[None]:
    """Make a folder with its parents; when the block fails, those that stayed empty go again.

    Raises
    ------
    SettingError
        A folder to be made has a name that Windows forbids, or that differs from a neighbour's
        by case or way of writing only.
    FgafError
        It cannot be made.
    """
    made = make_folder(folder)
    try:
        yield
    except BaseException:
        remove_empty(made)
        raise


def make_folder(folder: Path) -> list[Path]:
    """Make a folder with its parents, and tell which of them were missing, the deepest first.

    Raises
    ------
    SettingError
        A folder to be made has a name that Windows forbids, or that differs from a neighbour's
        by case or way of writing only.
    FgafError
        It cannot be made.
    """
    _require_makeable(folder)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_make(folder, error) from error
    return missing


def remove_empty(made: Iterable[Path]) -> None:
    """Remove folders that `make_folder` made, as far as they are empty."""
    for folder in made:
        with suppress(OSError):
            folder.rmdir()


def _cannot_make(folder: Path, error: OSError) -> FgafError:
    return FgafError(f"cannot make the folder {folder} ({reason(error)}); choose another place")


def require_free(path: Path, n_bytes: int) -> None:
    """Refuse to start on a disk that cannot hold `n_bytes` more at `path`.

    Parameters
    ----------
    path
        The output.
    n_bytes
        Its size, bytes.

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


def publish(
    part: Path,
    target: Path,
    overwrite: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Give a finished, synced file or folder its name; the old one or the new, never a mixture.

    On Windows a file may be held for a moment by whoever looks at it, such as a virus scanner:
    the renaming is tried again for some seconds.

    Parameters
    ----------
    part, target
        What is finished, and its name.
    overwrite
        Whether a `target` that has come up meanwhile may be replaced.
    sleep
        Waits so many seconds.

    Raises
    ------
    FileExistsError
        `target` is there, and may not be replaced.
    OSError
        It cannot be renamed.
    """
    rename: Callable[[Path, Path], object] = (
        Path.replace if overwrite or part.is_dir() else _rename_to_new
    )
    for wait_s in (*_RENAME_WAITS_S, None):
        try:
            rename(part, target)
            break
        except OSError as error:
            if wait_s is None or getattr(error, "winerror", None) not in _HELD_ON_WINDOWS:
                raise
            _log.info("%s is held by another program; tried again in %g s", target, wait_s)
            sleep(wait_s)
    if os.name == "posix":  # the new name itself must survive a power loss
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise
        finally:
            os.close(folder)
    _log.info("published %s", target)


def _rename_to_new(part: Path, target: Path) -> None:
    """Rename to a name that is free; that of another's file is not taken, even if it comes now."""
    if os.name != "posix":
        part.rename(target)  # which refuses a name that is taken
        return
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError as error:  # no hard links in this file system
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        part.replace(target)
    else:
        part.unlink()


@contextmanager
def publishing(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Build a file in a folder beside `path` and publish it when the block ends well.

    Parameters
    ----------
    path
        The target. Its folder is made when missing.
    overwrite
        Whether an existing `path` may be replaced.

    Yields
    ------
    Path
        Where to write a new file. It is removed when the block fails.

    Raises
    ------
    ExistsError, SettingError
        See `require_new`.
    FgafError
        The folder cannot be made or written, or the disk is full.
    """
    require_new(path, overwrite)
    with making_folder(path.parent):
        try:
            with scratch_folder(path.parent) as folder:
                part = folder / (path.name + ".tmp")
                yield part
                sync(part)
                try:
                    publish(part, path, overwrite)
                except FileExistsError:
                    _require_free_name(path, overwrite)
                    raise
        except OSError as error:
            raise cannot_write(path, error) from error


@contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Make a folder in `place` for what is not finished; it is removed when the block ends.

    A lock in it tells that its maker is alive. What killed programs left in `place` is removed.

    Raises
    ------
    OSError
        It cannot be made.
    """
    _clean(place)
    folder, lock = _new_scratch(place)
    try:
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def scratch_name(mark: str) -> str:
    """Name of a hidden folder that is removed when its maker is dead."""
    return f".fgaf-{mark}.tmp"


def _new_scratch(place: Path) -> tuple[Path, int]:
    """Make a scratch folder and lock it; others may clean or remove `place` at the same time."""
    for _ in range(_TRIES):
        folder = place / scratch_name(secrets.token_hex(4))
        try:
            folder.mkdir()
            lock = os.open(folder / ALIVE, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        except FileNotFoundError:  # who made `place` has failed and removed it
            place.mkdir(parents=True, exist_ok=True)
            continue
        except OSError:
            remove_empty([folder])
            raise
        if try_lock(lock) is not False and still_named(lock, folder / ALIVE):
            return folder, lock
        os.close(lock)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))


def _clean(place: Path) -> None:
    """Remove the scratch folders of programs that are dead."""
    for folder in place.glob(scratch_name("*")):
        with suppress(OSError):
            _remove_dead(folder)


def _remove_dead(folder: Path) -> None:
    try:
        lock = os.open(folder / ALIVE, os.O_RDWR)
    except FileNotFoundError:  # its maker died, or is about to lock it
        if time.time() - folder.stat().st_mtime > _LONG_AGO_S:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        dead = try_lock(lock) is True
        if dead:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
    if dead:  # Windows keeps what is open
        shutil.rmtree(folder, ignore_errors=True)


def still_named(handle: int, path: Path) -> bool:
    """Tell whether an open file still has its name: another may have renamed or removed it.

    Parameters
    ----------
    handle
        Descriptor of the open file.
    path
        Its name when it was opened.
    """
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def write_text(path: Path, text: str, overwrite: bool = False) -> None:
    """Publish `text` (UTF-8) as the file `path`; see `publishing` for the errors.

    Parameters
    ----------
    path
        The file.
    text
        Its content.
    overwrite
        Whether a file that is there may be replaced.
    """
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
    """Say in one line why `path` could not be written.

    Parameters
    ----------
    path
        The file.
    error
        Why it failed.
    """
    return FgafError(f"cannot write {path} ({reason(error)}); choose another place or make room")


def reason(error: OSError) -> str:
    """Say what the system, or HDF5 on its behalf, gives as the cause of a failure."""
    for number in _CAUSES:
        if error.errno == number or f"errno = {number}," in str(error):
            return os.strerror(number)
    return error.strerror or str(error).splitlines()[0]


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.0f} MB"
