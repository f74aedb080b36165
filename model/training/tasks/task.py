"""A task: everything about a training that depends on what is learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fgaf.dataset.archive import Archive
from fgaf.model.inference.checkpoint import Checkpoint, build_network
from fgaf.model.inference.images import Scale
from fgaf.model.networks.augment import AugmentSettings
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.run_folder import Row
from fgaf.model.training.sides import Data, Rows, Targets

Outputs = Iterable[tuple[Tensor, Tensor]]
"""Indices of some patches of a side, (n,), and the network's logits for them, (n, ...)."""


class Task(ABC):
    """What a network learns from an archive, and how it is judged.

    Parameters
    ----------
    archive
        Patches, labels and splits.
    settings
        Resolved settings of the training.

    Attributes
    ----------
    criterion
        Column of the history, from validation, by which the best epoch is chosen.
    highest_is_best
        Whether its highest value is best, or its lowest.
    credit_name
        Column of the history with the mean credit in training; see `credit`.
    per_fold
        Metrics that a cross-validation lists for every fold.
    """

    criterion: ClassVar[str]
    highest_is_best: ClassVar[bool]
    credit_name: ClassVar[str]
    per_fold: ClassVar[tuple[str, ...]]

    def __init__(self, archive: Archive, settings: TrainSettings) -> None:
        self.archive, self.settings = archive, settings
        self.augmentation = settings.part(AugmentSettings)

    @staticmethod
    @abstractmethod
    def resolve(settings: TrainSettings, archive: Archive) -> TrainSettings:
        """Replace settings of zero by values for the archive and the initial weights.

        Parameters
        ----------
        settings
            Settings of the training.
        archive
            To train on.

        Raises
        ------
        FgafError
            The archive lacks what the task learns, or the settings do not suit it.
        """

    def network(self) -> nn.Module:
        """Build the untrained network."""
        return build_network(self.settings, self.archive.n_classes)

    @abstractmethod
    def targets(self, device: str) -> Callable[[Rows], Targets]:
        """Function that gives the targets of some rows of the archive, on the device."""

    @abstractmethod
    def example(self, n: int) -> tuple[Tensor, Tensor]:
        """Classes (n,) and targets of made-up patches, for timing a step."""

    def inputs(self, images: Tensor, classes: Tensor) -> tuple[Tensor, ...]:
        """What the network is called with in training: the images, unless it takes more.

        Parameters
        ----------
        images
            (B, 1, S, S) normalised.
        classes
            (B,) depth classes.
        """
        del classes
        return (images,)

    @abstractmethod
    def augment(
        self, images: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw one augmented copy of each patch, with its target.

        Parameters
        ----------
        images
            (B, 1, S, S) normalised.
        targets
            (B, ...).
        generator
            On the device of the images.
        """

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of a batch, a scalar.

        Parameters
        ----------
        logits
            (B, ...) of the network, float32.
        targets
            (B, ...).
        """

    @abstractmethod
    def credit(self, logits: Tensor, classes: Tensor, targets: Tensor) -> float:
        """Sum over a batch of what training reports of each patch, 0 to 1.

        Parameters
        ----------
        logits
            (B, ...).
        classes
            (B,) depth classes.
        targets
            (B, ...).
        """

    @abstractmethod
    def logits(self, network: nn.Module, x: Tensor, tta: bool) -> Tensor:
        """Evaluate a network: (N, ...) float32 on the CPU.

        Parameters
        ----------
        network
            On its device.
        x
            (N, 1, S, S) normalised.
        tta
            Average the eight symmetries.
        """

    @abstractmethod
    def validate(self, outputs: Outputs, side: Data) -> Row:
        """Columns of the history from the validation patches; among them the criterion.

        Parameters
        ----------
        outputs
            Of all patches of the side.
        side
            The validation patches.
        """

    @abstractmethod
    def complete(
        self,
        checkpoint: Checkpoint,
        sides: Mapping[int, Data],
        outputs_of: Callable[[Data], Outputs],
        scale: Scale,
    ) -> Checkpoint:
        """Add to a checkpoint what is found after the training, without the test cells.

        Parameters
        ----------
        checkpoint
            The chosen weights.
        sides
            The subsets of the split that have cells.
        outputs_of
            Evaluates them on a side.
        scale
            Conversion of grey values to network input.
        """

    @abstractmethod
    def evidence(self, checkpoint: Checkpoint, outputs: Outputs, side: Data) -> list[Any]:
        """What the metrics need of each patch, from the network's outputs.

        Parameters
        ----------
        checkpoint
            The completed checkpoint.
        outputs
            Of all patches of the side, in order.
        side
            The patches.

        Returns
        -------
        list
            One item per patch, for `judge`.
        """

    @abstractmethod
    def evidence_of(self, run: Path, rows: npt.NDArray[np.intp]) -> Iterator[Any]:
        """The same by a finished run, for some rows of the archive.

        Parameters
        ----------
        run
            Its folder.
        rows
            (N,) row numbers.
        """

    @abstractmethod
    def judge(self, evidence: Sequence[Any], rows: npt.ArrayLike) -> dict[str, Any]:
        """Metrics of patches, with intervals over cells.

        Parameters
        ----------
        evidence
            One item per patch.
        rows
            (N,) their rows in the archive.
        """

    @abstractmethod
    def facts(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Entries of `metrics.json` about the checkpoint that only this task has."""

    @abstractmethod
    def draw(self, history: Sequence[Row], metrics: dict[str, Any], out: Path) -> None:
        """Draw the pictures of the run.

        Parameters
        ----------
        history
            One row per epoch.
        metrics
            Of the test cells.
        out
            Folder of the run.
        """
