"""Shuffled batches from an archive larger than memory.

Reading one patch at a random position reads a whole chunk. So the file is read in blocks of some
hundred consecutive patches. A window is as many random blocks as fit into a given memory, and the
patches of a window are shuffled together. Each block is read once per pass. With 512 MB
and patches of 96 x 96 bytes, a batch is drawn from 57,000 patches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fgaf.dataset.archive import Archive

MEMORY_BYTES: Final = 512 * 2**20
"""Default memory for patches that are read before they are used."""
_BLOCK_ROWS: Final = 256


class BlockCache:
    """The most recently used blocks of images on disk.

    Parameters
    ----------
    images
        (M, S, S) HDF5 dataset or the like.
    memory_bytes
        Memory for the blocks, at least two of them; one more block while it is read.
    """

    def __init__(self, images: Any, memory_bytes: int = MEMORY_BYTES) -> None:
        chunk = (getattr(images, "chunks", None) or (1,))[0]
        self.images = images
        self.rows = min(len(images), chunk * max(1, round(_BLOCK_ROWS / chunk)))
        size = self.rows * int(np.prod(images.shape[1:])) * np.dtype(images.dtype).itemsize
        self.capacity = max(2, memory_bytes // max(size, 1))
        self._held: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def block(self, number: int) -> NDArray[Any]:
        """Return the patches of one block, (rows, S, S)."""
        if number in self._held:
            self._held.move_to_end(number)
        else:
            if len(self._held) >= self.capacity:
                self._held.popitem(last=False)
            start = number * self.rows
            self._held[number] = np.asarray(self.images[start : start + self.rows])
        return self._held[number]


class CachedImages:
    """Some rows of images on disk, read by blocks.

    Parameters
    ----------
    cache
        Cache of the images; several sides of a split share one.
    rows
        (N,) ascending rows.
    """

    def __init__(self, cache: BlockCache, rows: NDArray[np.intp]) -> None:
        self._cache, self._rows = cache, rows
        self.shape = (len(rows), *cache.images.shape[1:])
        self.dtype = np.dtype(cache.images.dtype)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return the (n, S, S) patches at a slice or an array of indices, in that order."""
        rows = self._rows[index]
        made = np.empty((len(rows), *self.shape[1:]), self.dtype)
        blocks, places = np.divmod(rows, self._cache.rows)
        numbers, first, which = np.unique(blocks, return_index=True, return_inverse=True)
        # In row order: rows of the ending window come before those of the next.
        for one in np.argsort(first):
            here = which == one
            made[here] = self._cache.block(int(numbers[one]))[places[here]]
        return made

    def order(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw a random order (N,) of all indices in which no block is read twice."""
        block = self._rows // self._cache.rows
        numbers, block = np.unique(block, return_inverse=True)
        window = rng.permutation(len(numbers))[block] // self._cache.capacity
        return np.lexsort((rng.random(len(block)), window))


def shuffled_batches(
    archive: Archive,
    rows: NDArray[np.intp],
    size: int = 64,
    seed: int = 0,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[tuple[NDArray[np.intp], NDArray[Any]]]:
    """Draw one shuffled pass over patches.

    Parameters
    ----------
    archive
        Open archive.
    rows
        (N,) ascending rows to draw, such as those of one side of a split.
    size
        Patches in a batch; the last one may have fewer.
    seed
        The same seed gives the same batches.
    memory_bytes
        See `BlockCache`.

    Yields
    ------
    rows : (n,) int
        Of the archive.
    images : (n, S, S)
        Their patches.
    """
    images = CachedImages(BlockCache(archive.images, memory_bytes), rows)
    order = images.order(np.random.default_rng(seed))
    for start in range(0, len(order), size):
        places = order[start : start + size]
        yield rows[places], images[places]
