"""Restore archives from what fgaf exported: images, tar shards or parquet."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.base.extras import optional
from fgaf.base.inputs import (
    MOST_TEXT_BYTES,
    SPARE_BYTES,
    read_bytes,
    read_text,
    require_file,
    require_stored,
)
from fgaf.dataset.archive import Archive
from fgaf.dataset.formats import PARQUET, TAR, mask_place
from fgaf.dataset.importers.images import read_image
from fgaf.dataset.record import NAME, files_of, holds_masks, restore_archive


def is_export(folder: Path) -> bool:
    """Whether a folder contains the record of an exported archive."""
    return (folder / NAME).is_file()


def import_export(folder: Path) -> Archive:
    """Restore an archive from a folder of class folders, WebDataset shards or parquet files.

    Parameters
    ----------
    folder
        Folder that `export` wrote.

    Raises
    ------
    FormatError
        A file is missing, damaged or altered.
    FgafError
        The package pyarrow is missing.
    """
    path = folder / NAME
    require_file(path)
    most = MOST_TEXT_BYTES
    if path.stat().st_size > most:  # a record is smaller than its patches
        most = _stored_bytes(folder) - path.stat().st_size
    record = read_text(path, most)
    names = files_of(record, path)
    if not names:
        raise FormatError(f"{path} does not list the files of its patches; export it again")
    _require_inside(path, names)
    images = _pictures(folder, names, "image")
    masks = None
    if holds_masks(record, path):
        masks = _pictures(folder, [mask_place(name) for name in names], "mask")
    return restore_archive(record, images, path, masks)


def _pictures(folder: Path, names: Sequence[str], column: str) -> NDArray[Any]:
    """Read all patches, or all masks: (M, S, S)."""
    with ExitStack() as stack:
        read = _reader(folder, stack, column)
        first = read(names[0])
        if len(names) * first.nbytes > SPARE_BYTES:
            require_stored(folder, len(names) * first.nbytes, _stored_bytes(folder))
        pictures = np.empty((len(names), *first.shape), first.dtype)
        for k, name in enumerate(names):
            picture = read(name)
            if picture.shape != first.shape or picture.dtype != first.dtype:
                raise FormatError(
                    f"{folder / name} differs from the others in size or type; export it again"
                )
            pictures[k] = picture
    return pictures


def _require_inside(path: Path, names: Sequence[str]) -> None:
    """Refuse files outside the folder, and one file for two patches."""
    for name in names:
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name:
            raise FormatError(
                f"{path} names the file {name}, which is not in its folder; take the export from "
                "its source again"
            )
    if len(set(names)) < len(names):
        raise FormatError(f"{path} names a file for two patches; export it again")


def _stored_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _reader(folder: Path, stack: ExitStack, column: str) -> Callable[[str], NDArray[Any]]:
    @cache
    def opened_tar(file: str) -> tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]:
        require_file(folder / file)
        tar = tarfile.open(folder / file, "r:")  # noqa: SIM115 -- the stack closes it
        stack.enter_context(tar)
        plain = (member for member in tar if member.isreg() and not member.issparse())
        return tar, {member.name: member for member in plain}

    @cache
    def opened_column(file: str) -> Any:
        parquet = optional("pyarrow.parquet")
        require_file(folder / file)
        footer = parquet.read_metadata(folder / file)
        claimed = sum(footer.row_group(k).total_byte_size for k in range(footer.num_row_groups))
        require_stored(folder / file, claimed, (folder / file).stat().st_size)
        return parquet.read_table(folder / file, columns=[column])[column]

    def read(name: str) -> NDArray[Any]:
        place = PurePosixPath(name)
        above = place.parent.as_posix()
        try:
            if place.parent.suffix == TAR:
                tar, members = opened_tar(above)
                member = tar.extractfile(members[place.name])
                return _decoded(member.read() if member else b"")
            if place.parent.suffix == PARQUET:
                return _decoded(opened_column(above)[int(place.name)]["bytes"].as_py())
            if not (folder / name).is_file():
                raise KeyError(name)
            if column == "mask":
                return _decoded(read_bytes(folder / name))
            return read_image(folder / name)
        except (OSError, KeyError, IndexError, ValueError, SyntaxError, tarfile.TarError) as error:
            raise FormatError(
                f"{folder} lacks {name} of the export, or it is damaged; export it again"
            ) from error

    return read


def _decoded(data: bytes) -> NDArray[Any]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        require_stored("a patch of the export", image.width * image.height * 2, len(data))
        pixels = np.asarray(image)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
