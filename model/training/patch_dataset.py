"""An archive as a PyTorch dataset, for other training loops."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fgaf.dataset.archive import DEFAULT_SPLIT, Archive
from fgaf.dataset.splits.batches import BlockCache, CachedImages
from fgaf.dataset.splits.subset_arrays import rows_of_side
from fgaf.dataset.storage.url import Location, location

_MEMORY_BYTES = 64 * 2**20


class PatchDataset(Dataset[tuple[Any, int]]):
    """Patches of one subset of a split and their depth classes, read on request.

    Each worker process of a `DataLoader` opens the file itself and caches up to 64 MB of it.

    Parameters
    ----------
    where
        The archive's file or address.
    side
        "train", "validation" or "test".
    split
        Name of the split.
    transform
        Applied to every patch, (1, S, S) float32 grey values.

    Attributes
    ----------
    classes
        Depth of every class in µm, ascending.
    targets
        (n,) class of every patch.

    Raises
    ------
    FormatError
        It is not an archive, or it is damaged.
    SettingError
        No such side.
    FgafError
        No such split.

    Examples
    --------
    >>> data = PatchDataset("dataset.h5")  # doctest: +SKIP
    >>> patch, depth_class = data[0]  # doctest: +SKIP
    """

    def __init__(
        self,
        where: Location,
        side: str = "train",
        split: str = DEFAULT_SPLIT,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        where = location(where)
        with Archive.open(where, whole=isinstance(where, Path)) as archive:
            self._rows = rows_of_side(archive, side, split)
            self.targets: list[int] = archive.depth_class[self._rows].tolist()
            self.classes: list[float] = archive.class_depths_um.tolist()
        self._where, self._transform = where, transform
        self._opened: tuple[ExitStack, CachedImages] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return one patch, (1, S, S) float32 or the result of the transform, and its class."""
        target = self.targets[index]
        patch = self._images()[np.array([index])].astype(np.float32)
        tensor = torch.from_numpy(patch)
        return (self._transform(tensor) if self._transform else tensor), target

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def close(self) -> None:
        """Close the file; it is opened again when a patch is requested."""
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None

    def _images(self) -> CachedImages:
        if self._opened is None:
            stack = ExitStack()
            archive = stack.enter_context(Archive.open(self._where))
            cache = BlockCache(archive.images, _MEMORY_BYTES)
            self._opened = stack, CachedImages(cache, self._rows)
        return self._opened[1]
