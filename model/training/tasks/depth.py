"""The task of estimating depth: a class of each patch, and the expected depth in µm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fgaf.dataset.archive import Archive
from fgaf.dataset.storage.virtual_images import read_rows
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.images import Scale
from fgaf.model.inference.out_of_distribution import learn
from fgaf.model.inference.predict import Predictor, network_logits
from fgaf.model.metrics.depth import better_than_chance, judge
from fgaf.model.networks.augment import augment
from fgaf.model.networks.decode import class_probabilities, expected_depth, fit_temperature
from fgaf.model.networks.losses import LossSettings, between, loss_function
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training import plots
from fgaf.model.training.defaults import resolve_settings
from fgaf.model.training.run_folder import Row
from fgaf.model.training.sides import TRAIN, VALIDATION, Data, Rows, Targets
from fgaf.model.training.tasks.task import Outputs, Task

_AT_ONCE = 4096


class DepthTask(Task):
    """Depth classes, and the expected depth over their probabilities."""

    criterion: ClassVar = "val_expected_mae_um"
    highest_is_best: ClassVar = False
    credit_name: ClassVar = "train_top1"
    per_fold: ClassVar = ("n_cells", "train_cells", "top1", "mae_um", "expected_mae_um")

    def __init__(self, archive: Archive, settings: TrainSettings) -> None:
        super().__init__(archive, settings)
        self._loss = loss_function(settings.part(LossSettings))

    @staticmethod
    def resolve(settings: TrainSettings, archive: Archive) -> TrainSettings:
        """See `fgaf.model.training.defaults.resolve_settings`."""
        return resolve_settings(settings, archive)

    def targets(self, device: str) -> Callable[[Rows], Targets]:
        """Classes (n,), or with `targets = "between"` shares of them, (n, C)."""
        archive = self.archive
        targets = torch.from_numpy(np.asarray(archive.depth_class, dtype=np.int64))
        if self.settings.targets == "between":
            places = (archive.depth_um - archive.class_depths_um[0]) / archive.header.step_um
            targets = between(torch.from_numpy(np.asarray(places)), archive.n_classes)
        return lambda rows: targets[rows].to(device)

    def example(self, n: int) -> tuple[Tensor, Tensor]:
        """Every class in turn."""
        classes = torch.arange(n) % self.archive.n_classes
        return classes, classes

    def inputs(self, images: Tensor, classes: Tensor) -> tuple[Tensor, ...]:
        """The images, and their classes for CrossNorm."""
        return images, classes

    def augment(
        self, images: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Depths stay what they are."""
        return augment(images, self.augmentation, generator), targets

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss selected by the settings."""
        return self._loss(logits, targets)

    def credit(self, logits: Tensor, classes: Tensor, targets: Tensor) -> float:
        """Patches whose class is right."""
        del targets
        if self.settings.loss == "corn":
            logits = class_probabilities(logits, "corn")
        return float((logits.argmax(dim=1) == classes).sum())

    def logits(self, network: nn.Module, x: Tensor, tta: bool) -> Tensor:
        """Logits of the classes, (N, outputs)."""
        return network_logits(network, x, tta)

    def validate(self, outputs: Outputs, side: Data) -> Row:
        """Cross-entropy, top-1 and error of the expected depth."""
        classes = side.classes.cpu()
        p = class_probabilities(_joined(outputs), self.settings.loss)
        grid, labels = self.archive.class_depths_um, self.archive.depth_um[side.rows]
        return {
            "val_loss": float(-p.gather(1, classes[:, None]).clamp_min(1e-12).log().mean()),
            "val_top1": float((p.argmax(dim=1) == classes).double().mean()),
            "val_expected_mae_um": float(np.abs(expected_depth(p.numpy(), grid) - labels).mean()),
        }

    def complete(
        self,
        checkpoint: Checkpoint,
        sides: Mapping[int, Data],
        outputs_of: Callable[[Data], Outputs],
        scale: Scale,
    ) -> Checkpoint:
        """Fit the temperature, and learn the range of training patches."""
        if VALIDATION not in sides:
            return checkpoint
        held = sides[VALIDATION]
        assert isinstance(held.targets, Tensor)  # noqa: S101 - see `targets`
        logits = _joined(outputs_of(held))
        temperature = fit_temperature(logits, held.targets.cpu(), self.settings.loss)
        familiar = learn(self.settings, scale, sides[TRAIN].images, held.images)
        return replace(checkpoint, temperature=temperature, familiar=familiar)

    def evidence(self, checkpoint: Checkpoint, outputs: Outputs, side: Data) -> list[Any]:
        """Probabilities (C,) of each patch."""
        del side
        logits = _joined(outputs)
        p = class_probabilities(logits, self.settings.loss, checkpoint.temperature)
        return list(p.numpy())

    def evidence_of(self, run: Path, rows: npt.NDArray[np.intp]) -> Iterator[Any]:
        """Probabilities (C,) of each row."""
        predictor = Predictor.load(run)
        for some in np.array_split(rows, 1 + len(rows) // _AT_ONCE):
            yield from predictor.probabilities(read_rows(self.archive.images, some))

    def judge(self, evidence: Sequence[Any], rows: npt.ArrayLike) -> dict[str, Any]:
        """`fgaf.model.metrics.depth.judge`, and whether it is better than chance."""
        metrics = judge(np.stack(evidence), self.archive, rows, seed=self.settings.seed)
        return metrics | {"better_than_chance": better_than_chance(metrics)}

    def facts(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Module and temperature."""
        return {"fgaf": self.settings.fgaf, "temperature": checkpoint.temperature}

    def draw(self, history: Sequence[Row], metrics: dict[str, Any], out: Path) -> None:
        """Learning curves, confusion matrix, reliability and errors over depth."""
        plots.plot_history(history, _PANELS, out / "history.png")
        plots.plot_confusion(metrics, out / "confusion.png")
        plots.plot_reliability(metrics, out / "reliability.png")
        plots.plot_depths(metrics, out / "depths.png")


_PANELS: tuple[plots.Panel, ...] = (
    plots.Panel("loss", (("train_loss", "training"), ("val_loss", "validation (cross-entropy)"))),
    plots.Panel("top-1", (("train_top1", "training, augmented"), ("val_top1", "validation")), 1.0),
    plots.Panel(
        "mean error of the expected depth (µm)", (("val_expected_mae_um", "validation"),), None
    ),
)


def _joined(outputs: Outputs) -> Tensor:
    """Logits of all patches, (N, outputs)."""
    return torch.cat([logits for _, logits in outputs])
