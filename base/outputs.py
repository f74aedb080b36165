"""Outputs of commands: each has its name to itself from the start, and is said where nobody chose.

Where nobody named it, it is the first free of NAME, NAME-2, NAME-3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

import click

from fgaf.base.console import echo
from fgaf.base.errors import FgafError
from fgaf.base.files import (
    ALIVE,
    cannot_write,
    make_folder,
    names_in,
    reason,
    remove_empty,
    scratch_name,
)
from fgaf.base.folder_lock import FolderLock, LockedError
from fgaf.base.names import folded

_REFUSAL = "is being written by another program{holder}: wait for its end, or choose another name"
_DOUBLE = (".ome.zarr", ".ome.tif", ".ome.tiff", ".stack.h5")


def numbered(path: Path) -> Iterator[Path]:
    """Go through `path` itself, then NAME-2, NAME-3 and so on with the same ending."""
    lower = path.name.lower()
    ending = next((double for double in _DOUBLE if lower.endswith(double)), path.suffix)
    stem = path.name[: len(path.name) - len(ending)] if ending else path.name
    ending = path.name[len(stem) :]
    yield path
    for number in count(2):
        yield path.with_name(f"{stem}-{number}{ending}")


def free_path(path: Path, beside: str = "") -> Path:
    """Find the first of `numbered` names that nothing has.

    Parameters
    ----------
    path
        The name wanted.
    beside
        Another ending with which the name must be free too, such as ``.session``.

    Returns
    -------
    Path
        `path`, or the first of its numbered names that is not there.
    """
    return next(each for each in numbered(path) if _is_free(each, beside))


def claim_folder(path: Path) -> Path:
    """Make the first of `numbered` folders that nothing has.

    Two commands that are started at once get two folders.

    Parameters
    ----------
    path
        The name wanted.

    Raises
    ------
    FgafError
        The folder cannot be made.
    """
    for each in numbered(path):
        if is_taken(each):
            continue
        try:
            each.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise FgafError(
                f"cannot make the folder {each} ({reason(error)}); name another with --out"
            ) from error
        return each
    raise AssertionError("names never end")


def output_file(
    given: Path | None,
    usual: Path,
    overwrite: bool,
    as_json: bool,
    beside: str = "",
    *,
    shared: bool = False,
) -> Path:
    """Choose the file that a command writes, and say so where nobody named it.

    Until the command ends no other takes its name: one that is started meanwhile and needs no
    particular name gets the next.

    Parameters
    ----------
    given
        What the person named; taken as it is.
    usual
        The name otherwise: free, or `usual` itself when `overwrite` is set.
    overwrite
        Whether what is there may be replaced.
    as_json
        Whether standard output belongs to JSON; the line then goes to standard error.
    beside
        See `free_path`.
    shared
        Whether what the person named is a folder into which several commands may write at once.

    Raises
    ------
    LockedError
        Another program writes the file that was named.
    FgafError
        Its folder cannot be made or written.
    """
    if given is not None and shared:
        return given
    context = click.get_current_context()
    if given is not None:
        context.with_resource(claiming(given))
        return given
    if overwrite:
        context.with_resource(claiming(usual))
        return _said(usual, as_json)
    for path in numbered(usual):
        with ExitStack() as stack, suppress(LockedError):
            stack.enter_context(claiming(path))
            if _is_free(path, beside):
                context.with_resource(stack.pop_all())
                return _said(path, as_json)
    raise AssertionError("names never end")


@contextmanager
def claiming(path: Path) -> Iterator[None]:
    """Keep the name of a file for this program while it builds the file.

    Beside the file stands a hidden folder with a lock; that of a killed program is removed by the
    next one that writes there.

    Raises
    ------
    LockedError
        Another program has the name, or one that differs by case or way of writing only.
    FgafError
        The file's folder cannot be made or written.
    """
    name = folded(path.name).encode(errors="surrogateescape")
    place = path.parent / scratch_name(hashlib.sha256(name).hexdigest()[:16])
    made = [place, *make_folder(path.parent)]
    try:
        lock = _locked(place, path)
    except FgafError:
        remove_empty(made)
        raise
    try:
        yield
    finally:
        lock.remove()
        remove_empty(made)


def _locked(place: Path, path: Path) -> FolderLock:
    while True:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            return FolderLock(place / ALIVE, _REFUSAL, path)
        except LockedError:
            raise
        except FgafError as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # else its holder removed it
                raise


def output_folder(given: Path | None, usual: Path, overwrite: bool, as_json: bool) -> Path:
    """Choose the folder that a command writes, made at once; see `output_file`.

    Parameters
    ----------
    given
        The folder that the user named; None where there is none.
    usual
        The folder's name otherwise; the first free one like it is taken.
    overwrite
        Whether `usual` itself is taken although it is there.
    as_json
        Whether the result is printed as JSON, so that the line goes to stderr.
    """
    if given is not None:
        return given
    return _said(usual if overwrite else claim_folder(usual), as_json)


@contextmanager
def kept_if_used(folder: Path) -> Iterator[None]:
    """Remove a folder that was made for a command when the command fails before it writes."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it is not empty, or not there
            folder.rmdir()
        raise


def _said(path: Path, as_json: bool) -> Path:
    echo(f"writing {path}", err=as_json)
    return path


def _is_free(path: Path, beside: str) -> bool:
    return not (is_taken(path) or (beside and is_taken(path.with_suffix(beside))))


def is_taken(path: Path) -> bool:
    """Tell whether a name is there, maybe in another case or way of writing."""
    return folded(path.name) in set(map(folded, names_in(path.parent)))
