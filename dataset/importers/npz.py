"""Archives from .npz files: exports of fgaf, and patch sets in MedMNIST's layout."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import FormatError, SettingError
from fgaf.base.inputs import require_file, require_stored
from fgaf.dataset.archive import Archive
from fgaf.dataset.formats import NPZ_RECORD, NPZ_SIDES
from fgaf.dataset.importers.labelled import Labelled, Say, archive_of, count_classes
from fgaf.dataset.importers.patches import PatchSettings
from fgaf.dataset.record import holds_masks, restore_archive

_SINGLE: Final = b"\x93NUMPY"
_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_DAMAGE: Final = (
    OSError,
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    NotImplementedError,
    RuntimeError,
)


def import_npz(
    path: Path, settings: PatchSettings | None = None, say: Say = lambda _line: None
) -> Archive:
    """Read an .npz as an archive.

    A file that `write_npz` made is restored as its original archive. Any other file holds
    ``SIDE_images`` (n, S, S) and ``SIDE_labels`` (n,) or (n, 1) for SIDE in train, val and test,
    or just ``images`` and ``labels``; the labels are depth classes, 0 the lowest plane, the middle
    one in focus. Such a file does not say which patches show one cell, so each patch counts as one
    cell; the provider's sides become the split "default".

    Parameters
    ----------
    path
        The file.
    settings
        Further metadata.
    say
        Prints a line that says what was assumed.

    Raises
    ------
    FormatError
        The file is not .npz or damaged, or arrays are missing or of the wrong type or shape; the
        message says which.
    SettingError
        The step is not given, or a setting does not apply to such a file.
    """
    settings = settings or PatchSettings()
    arrays = _read(path)
    if NPZ_RECORD in arrays:
        return _restored(path, arrays)
    if settings.sample_from or settings.cell_from:
        option = "--sample-from" if settings.sample_from else "--cell-from"
        raise SettingError(f"{option} reads file names, and {path} holds arrays; leave it out")
    parts = {side: f"{key}_" for side, key in NPZ_SIDES.items() if f"{key}_images" in arrays}
    if not parts and "images" in arrays:
        parts = {"": ""}
    if not parts:
        raise FormatError(
            f"{path} has no train_images, val_images, test_images or images (it has: "
            f"{', '.join(sorted(arrays)) or 'nothing'}); rename the arrays"
        )
    images, labels = [], []
    for prefix in parts.values():
        some, of_them = _labelled(path, arrays, prefix)
        images.append(some)
        labels.append(of_them)
    if len({(some.dtype, some.shape[1:]) for some in images}) > 1:
        raise FormatError(f"{path}: its sides differ in type or size; all patches must have one")
    depth_class = np.concatenate(labels)
    names = [
        f"{prefix}images/{k:0{len(str(len(some)))}}"
        for prefix, some in zip(parts.values(), images, strict=True)
        for k in range(len(some))
    ]
    numbers = [list(NPZ_SIDES).index(side) for side in parts if side]
    side = (
        np.repeat(np.array(numbers, np.int8), [len(some) for some in images]) if numbers else None
    )
    labelled = Labelled(
        path=path,
        images=np.concatenate(images),
        depth_class=depth_class,
        n_classes=count_classes(path, depth_class, settings.classes, say),
        name=[f"{path.name}/{name}" for name in names],
        cell=names,
        sample_id=[settings.sample_id] * len(names),
        side=side,
    )
    return archive_of(labelled, settings)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    require_file(path)
    try:
        with path.open("rb") as handle:
            if handle.read(len(_SINGLE)) == _SINGLE:
                raise FormatError(f"{path} is a single array; save images and labels as .npz")
            handle.seek(0)
            _require_held(path, handle)
            file = np.load(handle, allow_pickle=False)
            return {name: file[name] for name in file.files}
    except _DAMAGE as error:
        raise FormatError(
            f"{path} is damaged or not an .npz of plain arrays; copy it from its source again"
        ) from error


def _require_held(path: Path, handle: IO[bytes]) -> None:
    """Compare the arrays' declared sizes with the stored bytes, before memory is allocated."""
    with zipfile.ZipFile(handle) as archive:
        entries = archive.infolist()
        stored = min(sum(entry.compress_size for entry in entries), path.stat().st_size)
        require_stored(path, sum(entry.file_size for entry in entries), stored)
        for entry in entries:
            with archive.open(entry) as file:
                read = _HEADERS.get(np.lib.format.read_magic(file))
                if read is None:
                    raise ValueError("an array of an unknown version")
                shape, _, dtype = read(file)
                if dtype.hasobject:
                    raise ValueError("an array of objects")
                if file.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
                    raise FormatError(
                        f"{path}: {entry.filename} declares {dtype}{list(shape)}, and holds "
                        "another number of bytes; copy it from its source again"
                    )
    handle.seek(0)


def _labelled(
    path: Path, arrays: dict[str, NDArray[Any]], prefix: str
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    images = arrays[f"{prefix}images"]
    if f"{prefix}labels" not in arrays:
        raise FormatError(f"{path} has {prefix}images but no {prefix}labels; add them")
    labels = arrays[f"{prefix}labels"]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(images),) or labels.dtype.kind not in "ui":
        raise FormatError(
            f"{path}: {prefix}labels is {labels.dtype}{list(labels.shape)}, should be one whole "
            f"number for each of the {len(images)} images"
        )
    if images.ndim == 4 and images.shape[-1] in (3, 4):
        raise FormatError(f"{path}: {prefix}images are colour images; convert them to grey")
    if images.ndim != 3:
        raise FormatError(
            f"{path}: {prefix}images is {list(images.shape)}, should be (images, rows, columns)"
        )
    return images, labels.astype(np.int64)


def _restored(path: Path, arrays: dict[str, NDArray[Any]]) -> Archive:
    keys = [key for key in NPZ_SIDES.values() if f"{key}_images" in arrays]
    try:
        rows = np.concatenate([arrays[f"{key}_row"] for key in keys])
        images = np.concatenate([arrays[f"{key}_images"] for key in keys])
        record = arrays[NPZ_RECORD].tobytes().decode()
        masks = None
        if holds_masks(record, path):
            masks = np.concatenate([arrays[f"{key}_masks"] for key in keys])
        whole = np.array_equal(np.sort(rows), np.arange(len(images)))
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path} lacks arrays of the export; export it again") from error
    if not whole:
        raise FormatError(f"{path} lacks patches of the export; export it again")
    order = np.argsort(rows)
    if masks is not None and len(masks) == len(order):
        masks = masks[order]
    return restore_archive(record, images[order], path, masks)
