"""Archives too large for memory: patches stay on disk and are read when training needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.batches import CachedImages
from fgaf.dataset.storage.integrity import Bar

IN_MEMORY_BYTES = 2 * 10**9
"""Archives with more bytes of patches than this stay on disk; training on disk takes
`fgaf.dataset.splits.batches.MEMORY_BYTES` for them, whatever their size."""


@contextmanager
def opened(
    path: Path, in_memory_bytes: int = IN_MEMORY_BYTES, progress: Bar = iter
) -> Iterator[Archive]:
    """Open an archive, verify its checksums, and read its patches if they fit in memory.

    Parameters
    ----------
    path
        The archive.
    in_memory_bytes
        Patches of up to this many bytes are read into memory.
    progress
        Wraps the blocks that are compared with their checksums.

    Raises
    ------
    FormatError
        As `fgaf.dataset.Archive.read`.
    """
    with Archive.open(path, whole=True, progress=progress) as archive:
        size = int(np.prod(archive.images.shape)) * archive.images.dtype.itemsize
        yield archive.loaded() if size <= in_memory_bytes else archive


class DiskImages:
    """Patches of one side of the split, on disk; indexed like a tensor.

    Parameters
    ----------
    images
        The patches of that side.
    device
        Device of the patches after reading.
    """

    def __init__(self, images: CachedImages, device: str) -> None:
        self._images, self._device = images, device

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Tensor:
        """Read (n, S, S) patches: uint8 as they are, 16 bit as float32."""
        places = index.cpu().numpy() if isinstance(index, Tensor) else index
        patches = self._images[places]
        if patches.dtype != np.uint8:
            patches = patches.astype(np.float32)
        return torch.from_numpy(patches).to(self._device)

    def order(self, generator: torch.Generator) -> Tensor:
        """Draw the order of one epoch, (N,) indices that can be read almost sequentially."""
        seed = torch.randint(2**62, (1,), device=generator.device, generator=generator)
        order = self._images.order(np.random.default_rng(int(seed)))
        return torch.from_numpy(order).to(self._device)
