"""Output files are built beside their target and published in one step: complete or not at all."""

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
"""File in a scratch folder that is locked while the program that made it runs."""
_TRIES = 100
_RENAME_WAITS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0)
_HELD_ON_WINDOWS = (5, 32, 33)
"""ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION."""
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


def require_new(path: Path, overwrite: bool = False) -> None:
    """Refuse an output that exists, that has an invalid name, or whose folder cannot be made.

    Nothing is made yet.

    Parameters
    ----------
    path
        The output.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    SettingError
        Its name, or that of a folder to be made for it, is one that Windows forbids, or differs
        from a neighbour's by case or Unicode form only.
    FgafError
        The folder of `path` cannot be created.
    """
    require_all_new([path], overwrite)


def require_all_new(paths: Iterable[Path], overwrite: bool = False) -> None:
    """Refuse outputs if `require_new` refuses one of them, or if two have the same name.

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
    """Names of the entries of a folder; none if it does not exist or cannot be listed."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _require_no_twin(folder: Path, names: set[str]) -> None:
    """Refuse names that differ from one in the folder only by case or Unicode form."""
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
    """Make a folder with its parents; if the block fails, those still empty are removed.

    Raises
    ------
    SettingError
        A folder to be made has a name that Windows forbids, or that differs from a neighbour's
        by case or Unicode form only.
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
    """Make a folder with its parents, and return those that were missing, the deepest first.

    Raises
    ------
    SettingError
        A folder to be made has a name that Windows forbids, or that differs from a neighbour's
        by case or Unicode form only.
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
    """Remove the folders that `make_folder` made, if they are empty."""
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
            "free some space or choose another disk"
        )


def free_bytes(path: Path) -> int:
    """Free bytes on the disk of `path`, which need not exist."""
    folder = next(place for place in (path, *path.parents) if place.exists())
    return shutil.disk_usage(folder).free


def sync(path: Path) -> None:
    """Force a written file onto the disk (fsync)."""
    # Windows flushes only through a handle opened for writing.
    with path.open("r+b") as handle:
        os.fsync(handle.fileno())


def publish(
    part: Path,
    target: Path,
    overwrite: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Give a finished, synced file or folder its name, in one atomic step.

    On Windows another program, such as a virus scanner, may hold a file for a moment: the renaming
    is tried again for some seconds.

    Parameters
    ----------
    part, target
        The finished file or folder, and its final name.
    overwrite
        Whether a `target` that was made meanwhile may be replaced.
    sleep
        Function that waits for a number of seconds.

    Raises
    ------
    FileExistsError
        `target` exists and may not be replaced.
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
    """Rename to a free name; never replace another file, even one made at this moment."""
    if os.name != "posix":
        part.rename(target)  # refuses a name in use
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
    """Build a file in a folder beside `path` and publish it when the block succeeds.

    Parameters
    ----------
    path
        The target. Its folder is made if missing.
    overwrite
        Whether an existing `path` may be replaced.

    Yields
    ------
    Path
        Where to write the new file. It is removed if the block fails.

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
    """Make a folder in `place` for unfinished files; it is removed when the block ends.

    A lock in it shows that this program runs. Scratch folders of killed programs are removed.

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
        _remove(folder)


def scratch_name(mark: str) -> str:
    """Name of a hidden folder that is removed if the program that made it has ended."""
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
        except FileNotFoundError:  # the program that made `place` failed and removed it
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
    """Remove the scratch folders of programs that have ended."""
    for folder in place.glob(scratch_name("*")):
        with suppress(OSError):
            _remove_dead(folder)


def _remove_dead(folder: Path) -> None:
    try:
        lock = os.open(folder / ALIVE, os.O_RDWR)
    except FileNotFoundError:
        # Killed before it made the lock, or after it removed the rest. A program that is about to
        # make the lock makes another folder.
        with suppress(OSError):
            folder.rmdir()
        return
    try:
        dead = try_lock(lock) is True
        if dead:
            _remove(folder)
    finally:
        os.close(lock)
    if dead:  # Windows keeps open files
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a scratch folder, its lock last: what a killed program leaves of it shows that."""
    for path in sorted(folder.glob("*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != ALIVE:
            with suppress(OSError):
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def still_named(handle: int, path: Path) -> bool:
    """Tell whether an open file still has its name: another program may have renamed or removed it.

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
        Whether an existing file may be replaced.
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
    return FgafError(
        f"cannot write {path} ({reason(error)}); choose another place or free some space"
    )


def reason(error: OSError) -> str:
    """Say which cause of a failure the system, or HDF5, reports."""
    for number in _CAUSES:
        if error.errno == number or f"errno = {number}," in str(error):
            return os.strerror(number)
    return error.strerror or str(error).splitlines()[0]


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.0f} MB"
