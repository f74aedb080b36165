"""Outputs that nobody named: the first free of NAME, NAME-2, NAME-3, said before work begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from fgaf.dataset.console import echo
from fgaf.dataset.errors import FgafError
from fgaf.dataset.files import names_in, reason
from fgaf.dataset.names import folded

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
    return next(
        each
        for each in numbered(path)
        if not (is_taken(each) or (beside and is_taken(each.with_suffix(beside))))
    )


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
    given: Path | None, usual: Path, overwrite: bool, as_json: bool, beside: str = ""
) -> Path:
    """Choose the file that a command writes, and say so where nobody named it.

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
    """
    if given is not None:
        return given
    return _said(usual if overwrite else free_path(usual, beside), as_json)


def output_folder(given: Path | None, usual: Path, overwrite: bool, as_json: bool) -> Path:
    """Choose the folder that a command writes, made at once; see `output_file`."""
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


def is_taken(path: Path) -> bool:
    """Tell whether a name is there, maybe in another case or way of writing."""
    return folded(path.name) in set(map(folded, names_in(path.parent)))
