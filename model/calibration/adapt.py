"""The weights of a network, adapted to planes whose depths are known but for each cell's focus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fgaf.base.errors import FgafError, SettingError
from fgaf.model.calibration.cells import Usable
from fgaf.model.calibration.offsets import Foci
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.images import Scale
from fgaf.model.inference.predict import network_logits
from fgaf.model.networks.augment import AugmentSettings, augment
from fgaf.model.networks.backbones import BACKBONES
from fgaf.model.networks.decode import class_probabilities, expected_depth
from fgaf.model.networks.losses import LossSettings, between, loss_function
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.compute import Compute
from fgaf.model.training.optimise import learning_rate, new_optimizer

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

_BEYOND = 0.5
"""Planes up to this many steps beyond the last class are learned too, as the last class."""


@dataclass(frozen=True)
class Planes:
    """The planes of all cells.

    Attributes
    ----------
    images
        (N, S, S) patches.
    height_um
        (N,) position of the drive less the focus of the cell by the focus rule.
    cell
        (N,) number of the cell.
    """

    images: npt.NDArray[Any]
    height_um: Floats
    cell: Integers

    @classmethod
    def of(cls, found: Usable) -> Planes:
        """The planes of the cells found.

        Parameters
        ----------
        found
            The cells.
        """
        cells = found.cells
        heights = [cell.z_um - one.focus_um for cell, one in zip(cells, found.foci, strict=True)]
        return cls(
            images=np.concatenate([cell.images for cell in cells]),
            height_um=np.concatenate(heights),
            cell=np.repeat(np.arange(len(cells)), [len(cell.z_um) for cell in cells]),
        )


class Adapter:
    """Adapts a network to some planes, again and again from the same start.

    Parameters
    ----------
    start
        Checkpoint to start from.
    planes
        To adapt to.
    settings
        Those of the start, with learning rate, batch, seed and the like of the adaptation.
    steps
        Steps of each adaptation.
    machine
        Where to compute.

    Attributes
    ----------
    scale
        Grey values of these planes to the network's input.
    turned
        Whether the network's depths are turned before it is adapted.

    Raises
    ------
    SettingError
        The start estimates no depth by classes.
    """

    def __init__(
        self,
        start: Checkpoint,
        planes: Planes,
        settings: TrainSettings,
        steps: int,
        machine: Compute,
    ) -> None:
        if settings.loss == "corn" or settings.head == "place":
            what = "loss = corn" if settings.loss == "corn" else "head = place"
            raise SettingError(
                f"a network trained with {what} cannot be calibrated; start from another"
            )
        self.start, self.planes, self.settings, self.steps = start, planes, settings, steps
        self.machine = machine
        self.turned = False
        self.scale = Scale.of(planes.images, settings.normalise)
        self._inputs = self.scale(planes.images)
        self._augmentation = settings.part(AugmentSettings)
        self._loss = loss_function(settings.part(LossSettings))

    def network(self) -> nn.Module:
        """Build the network of the start, turned if `turned`."""
        network = self.start.network()
        if self.turned:
            head = network.get_submodule(f"network.{BACKBONES[self.settings.backbone].head}")
            with torch.no_grad():
                for values in head.parameters():
                    values.copy_(values.flip(0))
        return self.machine.place(network)

    def adapt(self, rows: Integers, foci: Foci, seed: int) -> nn.Module:
        """Adapt the network to some planes.

        Parameters
        ----------
        rows
            Numbers of the planes.
        foci
            Where the focus of each cell lies.
        seed
            Of order, augmentation and dropout.

        Raises
        ------
        FgafError
            The adaptation diverged.
        """
        settings, network = replace(self.settings, seed=seed), self.network()
        optimizer = new_optimizer(network, settings)
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        targets, within = self._targets(rows, foci)
        order = torch.zeros(0, dtype=torch.long)
        total = 0.0
        for step in range(self.steps):
            while len(order) < settings.batch:
                order = torch.cat([order, within[torch.randperm(len(within), generator=generator)]])
            batch, order = order[: settings.batch], order[settings.batch :]
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, self.steps, settings)
            images = augment(self._inputs[batch], self._augmentation, generator)
            network.train()
            with self.machine.autocast():
                logits = network(self.machine.arrange(images.to(self.machine.device)))
                loss = self._loss(logits.float(), targets[batch].to(self.machine.device))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item()
        if not np.isfinite(total):
            raise FgafError(
                f"the adaptation diverged; lower the learning rate: --set lr={settings.lr / 5:g}"
            )
        return network.eval()

    def logits(self, network: nn.Module, rows: Integers, tta: bool) -> Tensor:
        """Logits (n, C) of some planes.

        Parameters
        ----------
        network
            The network.
        rows
            Numbers of the planes.
        tta
            Average the eight symmetries.
        """
        return network_logits(network, self._inputs[torch.from_numpy(rows)], tta)

    def depths(self, logits: Tensor) -> Floats:
        """Expected depth (n,), µm, of logits (n, C)."""
        p = class_probabilities(logits, self.settings.loss).numpy()
        return expected_depth(p, self.start.class_depths_um)

    def shares(self, depth_um: Floats) -> Tensor:
        """Shares (N, C) of the classes in depths (N,), µm."""
        grid = self.start.class_depths_um
        return between(torch.from_numpy((depth_um - grid[0]) / self.start.step_um), len(grid))

    def _targets(self, rows: Integers, foci: Foci) -> tuple[Tensor, Tensor]:
        """Targets (N, C) of all planes, and those of the rows that lie within the range."""
        depth = foci.depth_um(self.planes.height_um, self.planes.cell)
        most = self.start.half_range_um + _BEYOND * self.start.step_um
        within = rows[np.abs(depth[rows]) <= most]
        return self.shares(depth), torch.from_numpy(within)
