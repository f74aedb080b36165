"""Archives as one .npz in the layout of MedMNIST: ``train_images``, ``train_labels``, ..."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.files import publishing
from fgaf.base.workers.progress import advance
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.exporters.patches import BLOCK, side_rows
from fgaf.dataset.formats import NPZ_RECORD, NPZ_SIDES
from fgaf.dataset.record import archive_record

_WHEN: Final = (1980, 1, 1, 0, 0, 0)


def write_npz(
    archive: Archive,
    path: Path,
    split: str = DEFAULT_SPLIT,
    overwrite: bool = False,
) -> Path:
    """Write an archive as one .npz, a few patches in memory at a time.

    For every side of the split there are ``SIDE_images`` (n, S, S), ``SIDE_labels`` (n, 1) uint8,
    the depth class, ``SIDE_depth_um``, ``SIDE_cell`` and ``SIDE_row`` (n,), and where there are
    masks ``SIDE_masks`` (n, S, S) uint8, with SIDE one of train, val and test. ``fgaf`` is the
    record from which `import_npz` restores the archive. The
    same archive gives the same bytes.

    Parameters
    ----------
    archive
        In memory or open.
    path
        The file.
    split
        Name of the split.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        There is no such split, or the disk cannot be written.
    """
    sides = list(side_rows(archive, split))
    record = archive_record(archive)
    with (
        publishing(path, overwrite) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
    ):
        pictures = {"images": archive.images}
        if archive.masks is not None:
            pictures["masks"] = archive.masks
        for side, rows in sides:
            key = NPZ_SIDES[side]
            for name, each in pictures.items():
                for n in _write_pictures(file, f"{key}_{name}", each, rows):
                    advance(n / len(archive.cell) / len(pictures))
            _write(file, f"{key}_labels", archive.depth_class[rows, None].astype(np.uint8))
            _write(file, f"{key}_depth_um", archive.depth_um[rows])
            _write(file, f"{key}_cell", archive.cell[rows])
            _write(file, f"{key}_row", rows.astype(np.int64))
        _write(file, NPZ_RECORD, np.frombuffer(record.encode(), np.uint8))
    return path


def _entry(file: zipfile.ZipFile, name: str) -> IO[bytes]:
    info = zipfile.ZipInfo(f"{name}.npy", _WHEN)
    info.compress_type = zipfile.ZIP_DEFLATED
    return file.open(info, "w", force_zip64=True)


def _write_header(entry: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    described = {"descr": dtype.str, "fortran_order": False, "shape": tuple(map(int, shape))}
    np.lib.format.write_array_header_1_0(entry, described)


def _write_pictures(
    file: zipfile.ZipFile, name: str, pictures: Any, rows: NDArray[np.intp]
) -> Iterator[int]:
    """Yield how many pictures were written, some at a time."""
    with _entry(file, name) as entry:
        _write_header(entry, pictures.dtype, (len(rows), *pictures.shape[1:]))
        for start in range(0, len(rows), BLOCK):
            held = rows[start : start + BLOCK]
            entry.write(np.ascontiguousarray(pictures[held]).data)
            yield len(held)


def _write(file: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with _entry(file, name) as entry:
        np.lib.format.write_array(entry, np.ascontiguousarray(values), allow_pickle=False)
