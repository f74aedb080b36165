"""Archives as WebDataset shards: plain tar files to train from over a network or a slow disk.

Format: https://github.com/webdataset/webdataset; members that differ only in their suffix are one
sample.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.base.errors import SettingError
from fgaf.base.workers.progress import advance
from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.exporters.patches import (
    BLOCK,
    PNG,
    exporting,
    patch_blocks,
    patch_columns,
    patch_names,
    png_of,
    png_of_mask,
    side_rows,
)
from fgaf.dataset.formats import mask_place
from fgaf.dataset.splits.batches import BlockCache, CachedImages, shuffled_batches

SHARD_PATCHES: Final = 10_000


def write_webdataset(
    archive: Archive,
    path: Path,
    split: str = DEFAULT_SPLIT,
    overwrite: bool = False,
    shard_patches: int = SHARD_PATCHES,
    seed: int = 0,
) -> Path:
    """Write an archive as ``SIDE-000000.tar``, ...: a PNG, its class and metadata for each patch.

    A sample is ``NAME.png``, ``NAME.cls``, the depth class in decimal, ``NAME.json``, and where
    there are masks ``NAME.mask.png``. The training side is shuffled, because shards are read in
    order; the other sides are not. ``fgaf.json`` beside the shards is the record from which
    `import_patches` restores the archive.

    Parameters
    ----------
    archive
        In memory or open.
    path
        The folder.
    split
        Name of the split.
    overwrite
        Whether an earlier export may be replaced.
    shard_patches
        Patches per shard; the last one has the rest.
    seed
        Seed of the order of the training side.

    Raises
    ------
    SettingError
        `shard_patches` is less than 1.
    ExistsError
        `path` exists and `overwrite` is false.
    FgafError
        There is no such split, or the disk cannot be written.
    """
    if shard_patches < 1:
        raise SettingError(f"--shard-patches {shard_patches}: give 1 or more")
    names, columns = patch_names(archive), patch_columns(archive)
    plain = {name: values.tolist() for name, values in columns.items()}
    with exporting(archive, path, overwrite) as (part, files):
        for side, rows in side_rows(archive, split):
            patches = _drawn(archive, rows, seed if side == "train" else None)
            for number in range(-(-len(rows) // shard_patches)):
                shard = f"{side}-{number:06d}.tar"
                with tarfile.open(part / shard, "w", format=tarfile.USTAR_FORMAT) as tar:
                    for row, patch, mask in islice(patches, shard_patches):
                        known = {name: values[row] for name, values in plain.items()}
                        _add(tar, f"{names[row]}{PNG}", png_of(patch))
                        _add(tar, f"{names[row]}.cls", str(known["depth_class"]).encode())
                        _add(tar, f"{names[row]}.json", json.dumps(known).encode())
                        files[row] = f"{shard}/{names[row]}{PNG}"
                        if mask is not None:
                            _add(tar, Path(mask_place(files[row])).name, png_of_mask(mask))
    return path


def _drawn(
    archive: Archive, rows: NDArray[np.intp], seed: int | None
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.uint8] | None]]:
    """Yield rows, patches and masks, shuffled if there is a seed; a large file is read once."""
    masks = archive.masks
    if masks is not None:
        masks = CachedImages(BlockCache(masks), np.arange(len(masks)))
    if seed is None:
        blocks = patch_blocks(archive, rows)
    else:
        blocks = shuffled_batches(archive, rows, BLOCK, seed)
    for drawn, patches in blocks:
        held = [None] * len(drawn) if masks is None else masks[drawn]
        yield from zip(drawn.tolist(), patches, held, strict=True)
        advance(len(drawn) / len(archive.cell))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
