"""Output folders are built beside their target and published: complete or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fgaf.base.errors import FgafError
from fgaf.base.files import cannot_write, making_folder, publish, require_new, scratch_folder

_MARKS: Final = ("fgaf.json", "zarr.json", ".zattrs")
"""A folder with one of these was written by an export, and another export may replace it."""


def require_new_folder(path: Path, overwrite: bool = False) -> None:
    """Refuse a folder that exists; with `overwrite`, one that no export wrote.

    Parameters
    ----------
    path
        The output.
    overwrite
        Whether a folder that an export wrote may be replaced.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false; an empty folder is allowed.
    SettingError
        Its name is invalid; see `fgaf.base.files.require_new`.
    FgafError
        `path` is a file, or a folder with other content, which is not deleted; or its parent
        cannot be made.
    """
    if path.is_dir() and not any(path.iterdir()):
        return
    require_new(path, overwrite)
    if path.exists() and not any((path / mark).is_file() for mark in _MARKS):
        raise FgafError(
            f"{path} is not a folder that an export wrote, and is not deleted; choose another name"
        )


@contextmanager
def publishing_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Build a folder beside `path` and publish it when the block succeeds.

    Parameters
    ----------
    path
        The target. Its parent is made if missing.
    overwrite
        Whether an earlier export at `path` may be replaced. When the new one is complete, the old
        one is renamed to ``.NAME.old`` and removed.

    Yields
    ------
    Path
        A temporary folder to write to. It is removed if the block fails.

    Raises
    ------
    ExistsError, SettingError, FgafError
        See `require_new_folder`; or the disk is full or cannot be written.
    """
    require_new_folder(path, overwrite)
    with making_folder(path.parent):
        try:
            with scratch_folder(path.parent) as scratch:
                part, old = scratch / "new.tmp", path.with_name(f".{path.name}.old")
                part.mkdir()
                yield part
                if path.exists():
                    publish(path, old)
                try:
                    publish(part, path)
                except OSError:
                    if old.exists():
                        publish(old, path)
                    raise
                shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise cannot_write(path, error) from error
