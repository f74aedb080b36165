"""Outputs of commands: each name is reserved from the start, and printed if the user chose none.

If the user names no output, it is the first free name of NAME, NAME-2, NAME-3.
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
    """Yield `path` itself, then NAME-2, NAME-3 and so on with the same suffix."""
    lower = path.name.lower()
    ending = next((double for double in _DOUBLE if lower.endswith(double)), path.suffix)
    stem = path.name[: len(path.name) - len(ending)] if ending else path.name
    ending = path.name[len(stem) :]
    yield path
    for number in count(2):
        yield path.with_name(f"{stem}-{number}{ending}")


def free_path(path: Path, beside: str = "") -> Path:
    """Find the first free name of `numbered`.

    Parameters
    ----------
    path
        The name wanted.
    beside
        Another suffix with which the name must be free too, such as ``.session``.

    Returns
    -------
    Path
        `path`, or the first of its numbered names that does not exist.
    """
    return next(each for each in numbered(path) if _is_free(each, beside))


def claim_folder(path: Path) -> Path:
    """Make a folder at the first free name of `numbered`.

    Two commands started at the same time get two folders.

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
    """Choose the file that a command writes, and print its name if the user gave none.

    The name is reserved until the command ends: another command started meanwhile without a name
    of its own gets the next name.

    Parameters
    ----------
    given
        The name that the user gave; used as it is.
    usual
        The default name; the first free one like it, or `usual` itself if `overwrite` is set.
    overwrite
        Whether an existing file may be replaced.
    as_json
        Whether the result is printed as JSON; the line then goes to stderr.
    beside
        See `free_path`.
    shared
        Whether `given` is a folder into which several commands may write at the same time.

    Raises
    ------
    LockedError
        Another program writes the given file.
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
    """Reserve the name of a file for this program while it builds the file.

    The lock is in a hidden folder beside the file; the next program that writes there removes the
    folder of a killed program.

    Raises
    ------
    LockedError
        Another program has reserved the name, or one that differs only by case or Unicode form.
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
    """Choose and make the folder that a command writes; see `output_file`.

    Parameters
    ----------
    given
        The folder that the user named, or None.
    usual
        The default name; the first free one like it is used.
    overwrite
        Whether `usual` itself is used although it exists.
    as_json
        Whether the result is printed as JSON; the line then goes to stderr.
    """
    if given is not None:
        return given
    return _said(usual if overwrite else claim_folder(usual), as_json)


@contextmanager
def kept_if_used(folder: Path) -> Iterator[None]:
    """Remove a folder that was made for a command if the command fails before it writes."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it is not empty, or does not exist
            folder.rmdir()
        raise


def _said(path: Path, as_json: bool) -> Path:
    echo(f"writing {path}", err=as_json)
    return path


def _is_free(path: Path, beside: str) -> bool:
    return not (is_taken(path) or (beside and is_taken(path.with_suffix(beside))))


def is_taken(path: Path) -> bool:
    """Tell whether a name exists, perhaps in another case or Unicode form."""
    return folded(path.name) in set(map(folded, names_in(path.parent)))
