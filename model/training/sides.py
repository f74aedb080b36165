"""The patches of each subset of a split as tensors, and their order in training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgaf.base.errors import SettingError
from fgaf.dataset.archive import Archive
from fgaf.dataset.splits.batches import BlockCache, CachedImages
from fgaf.dataset.splits.split import SIDES
from fgaf.model.inference.images import Scale
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.out_of_core import DiskImages

TRAIN, VALIDATION, TEST = range(len(SIDES))

Rows = npt.NDArray[np.intp]
Targets = Tensor | DiskImages


@dataclass(frozen=True)
class Data:
    """One subset of the split (train, validation or test) on the device.

    Attributes
    ----------
    images
        (N, S, S) grey values, in memory or left on disk.
    targets
        (N, ...) what the network is to learn, as `fgaf.model.training.tasks.task.Task.targets`
        gives it.
    classes
        (N,) depth classes.
    rows
        (N,) of the archive.
    """

    images: Tensor | DiskImages
    targets: Targets
    classes: Tensor
    rows: npt.NDArray[np.int64]

    def order(self, generator: torch.Generator, balance: bool) -> Tensor:
        """Draw the order of one epoch, (N,) indices.

        Parameters
        ----------
        generator
            Generator on the device of the data.
        balance
            Draw every class equally often, rarer ones repeatedly.

        Raises
        ------
        SettingError
            `balance` is set, and the patches are on disk.
        """
        if isinstance(self.images, DiskImages):
            if balance:
                raise SettingError(
                    "the patches of an archive this large are read from disk in a fixed order and "
                    "cannot be balanced; set balance=false"
                )
            return self.images.order(generator)
        n, device = len(self.classes), self.classes.device
        shuffled = torch.randperm(n, device=device, generator=generator)
        if not balance:
            return shuffled
        ranks = range(int(self.classes.max()) + 1)
        by_class = [shuffled[self.classes[shuffled] == k] for k in ranks]
        present = [members for members in by_class if len(members)]
        each = -(-n // len(present))
        drawn = torch.cat([members.repeat(-(-each // len(members)))[:each] for members in present])
        return drawn[torch.randperm(len(drawn), device=device, generator=generator)][:n]


def load_sides(
    archive: Archive, settings: TrainSettings, targets_of: Callable[[Rows], Targets], device: str
) -> tuple[dict[int, Data], Scale]:
    """Move each subset with cells to the device, and measure the scale of the training subset.

    The patches of an archive that is not read into memory stay on disk.

    Parameters
    ----------
    archive
        Patches, labels and splits.
    settings
        The split, and the preparation of patches.
    targets_of
        Gives the targets of some rows, on the device.
    device
        torch device of the patches.
    """
    side_of_row = archive.split_of_rows(settings.split)
    classes = torch.from_numpy(np.asarray(archive.depth_class, dtype=np.int64))
    images_of = patches_of(archive.images, device)
    rows_of = {side: np.flatnonzero(side_of_row == side) for side in (TRAIN, VALIDATION, TEST)}
    sides = {
        side: Data(images_of(rows), targets_of(rows), classes[rows].to(device), rows)
        for side, rows in rows_of.items()
        if rows.size
    }
    return sides, Scale.of(sides[TRAIN].images, settings.normalise)


def patches_of(images: Any, device: str) -> Callable[[Rows], Targets]:
    """Function that gives the images or masks of some rows on a device; those on disk stay there.

    Parameters
    ----------
    images
        (M, S, S) of an archive, in memory or on disk.
    device
        torch device of the patches.
    """
    if not isinstance(images, np.ndarray):
        cache = BlockCache(images)
        return lambda rows: DiskImages(CachedImages(cache, rows), device)
    if images.dtype != np.uint8:
        images = images.astype(np.float32)
    return lambda rows: torch.from_numpy(images[rows]).to(device)
