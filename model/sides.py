"""The patches of an archive as tensors by the sides of its split, and the order to draw them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fgaf.dataset.archive import Archive
from fgaf.dataset.split import SIDES
from fgaf.model.images import Scale
from fgaf.model.losses import between
from fgaf.model.settings import TrainSettings

TRAIN, VALIDATION, TEST = range(len(SIDES))


@dataclass(frozen=True)
class Data:
    """One side of the split on the device.

    Attributes
    ----------
    images
        (N, S, S) grey values.
    targets
        (N,) classes or (N, C) shares of them, what the loss aims at.
    classes
        (N,)
    rows
        (N,) of the archive.
    """

    images: Tensor
    targets: Tensor
    classes: Tensor
    rows: npt.NDArray[np.int64]

    def order(self, generator: torch.Generator, balance: bool) -> Tensor:
        """Draw the order of one epoch, (N,) indices.

        Parameters
        ----------
        generator : of the device of the data
        balance : every class equally often, the rarer ones repeatedly
        """
        n, device = len(self.classes), self.classes.device
        shuffled = torch.randperm(n, device=device, generator=generator)
        if not balance:
            return shuffled
        present = [shuffled[self.classes[shuffled] == k] for k in self.classes.unique()]
        each = -(-n // len(present))
        drawn = torch.cat([members.repeat(-(-each // len(members)))[:each] for members in present])
        return drawn[torch.randperm(len(drawn), device=device, generator=generator)][:n]


def load_sides(
    archive: Archive, settings: TrainSettings, device: str
) -> tuple[dict[int, Data], Scale]:
    """Put each side that has cells on the device, and measure the scale of the training side."""
    side_of_row = archive.split_of_rows(settings.split)
    images = np.asarray(archive.images)
    if images.dtype != np.uint8:
        images = images.astype(np.float32)
    scale = Scale.of(images[side_of_row == TRAIN], settings.normalise)
    classes = torch.from_numpy(np.asarray(archive.depth_class, dtype=np.int64))
    targets = classes
    if settings.targets == "between":
        places = (archive.depth_um - archive.class_depths_um[0]) / archive.header.step_um
        targets = between(torch.from_numpy(np.asarray(places)), archive.n_classes)
    sides = {}
    for side in (TRAIN, VALIDATION, TEST):
        rows = np.flatnonzero(side_of_row == side)
        if rows.size:
            columns = torch.from_numpy(images[rows]), targets[rows], classes[rows]
            sides[side] = Data(*(column.to(device) for column in columns), rows)
    return sides, scale
