"""A training in progress: the network, its optimiser and the history of its epochs."""

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fgaf.base.errors import FgafError
from fgaf.base.files import publishing
from fgaf.dataset.archive import Archive
from fgaf.dataset.storage.header import software
from fgaf.model.inference.checkpoint import Checkpoint, save_state
from fgaf.model.inference.images import Scale
from fgaf.model.inference.initial_weights import InitialWeights, facts
from fgaf.model.inference.predict import CHECKPOINT
from fgaf.model.networks.backbones import macs, parameters
from fgaf.model.networks.settings import TrainSettings, to_toml
from fgaf.model.training.compute import Compute
from fgaf.model.training.defaults import steps_per_epoch
from fgaf.model.training.optimise import (
    Average,
    learning_rate,
    new_optimizer,
    take_step,
)
from fgaf.model.training.parallel import DistributedContext
from fgaf.model.training.resume import SETTINGS
from fgaf.model.training.run_folder import BEST, HISTORY, LAST, Row, write_history
from fgaf.model.training.sides import TEST, TRAIN, VALIDATION, Data, load_sides
from fgaf.model.training.tasks.task import Outputs, Task

_log = logging.getLogger(__name__)

_AT_ONCE = 4096


def at_plateau(best_epoch: int, epochs: int) -> bool:
    """Whether validation was not better in the last fifth of a training.

    Parameters
    ----------
    best_epoch
        Number of the epoch with the best validation, counted from 1.
    epochs
        Number of epochs trained.
    """
    return 5 * (epochs - best_epoch) >= epochs


class Run:
    """A training in progress and its folder.

    Parameters
    ----------
    task
        What is learned, from which archive, with which settings.
    out
        The folder.
    machine
        Hardware settings.
    sides
        The patches of each subset of the split that has cells.
    scale
        Conversion of grey values to network input.
    team
        The processes that train together.

    Attributes
    ----------
    fresh
        Training cells of each epoch to come but the first; None: every epoch takes those of the
        archive.
    """

    def __init__(
        self,
        task: Task,
        out: Path,
        machine: Compute,
        sides: dict[int, Data],
        scale: Scale,
        team: DistributedContext,
    ) -> None:
        self.task, self.out = task, out
        self.archive, self.settings = archive, settings = task.archive, task.settings
        self.machine, self.sides, self.scale, self.team = machine, sides, scale, team
        torch.manual_seed(settings.seed)
        network = task.network()
        self.start = InitialWeights.load(settings.start)
        if self.start:
            self.start.apply(network, settings, archive.header)
        self.network = machine.place(network)
        self.average = Average(self.network, settings.ema) if settings.ema else None
        self.stepping = team.wrap(self.network)
        self.optimizer = new_optimizer(self.network, settings)
        self.steps = steps_per_epoch(len(sides[TRAIN].rows), settings)
        self.epoch = 0
        self.history: list[Row] = []
        self.fresh: Iterator[Archive] | None = None

    @property
    def used_network(self) -> nn.Module:
        """The network that is evaluated: the one with averaged weights, if any."""
        return self.average.network if self.average else self.network

    def train_epoch(self) -> None:
        """Train one epoch, validate, and write best, last and the history."""
        began, worked = time.perf_counter(), time.process_time()
        row = {"epoch": float(self.epoch + 1), **self._steps()}
        self.epoch += 1
        if self.team.leads:
            row |= self._validate()
        row["seconds"] = round(time.perf_counter() - began, 3)
        row["core_seconds"] = round(time.process_time() - worked, 3)
        self.history.append(self.team.share(row))
        if not self.team.leads:
            return
        figures = ", ".join(f"{name} = {value:.4g}" for name, value in row.items())
        _log.info("epoch %d of %d: %s", self.epoch, self.settings.epochs, figures)
        if VALIDATION in self.sides and self.best_epoch() == self.epoch:
            self._checkpoint().save(self.out / BEST)
        save_state(self.out / LAST, self._state())
        write_history(self.out / HISTORY, self.history)

    def best_epoch(self) -> int:
        """Number of the epoch with the best validation, counted from 1."""
        values = [row[self.task.criterion] for row in self.history]
        best = max(values) if self.task.highest_is_best else min(values)
        return values.index(best) + 1

    def stale(self) -> bool:
        """Whether `patience` epochs have passed without a better validation."""
        patience = self.settings.patience
        return bool(
            patience and VALIDATION in self.sides and self.epoch - self.best_epoch() >= patience
        )

    def out_of_time(self) -> bool:
        """Whether another epoch would end after the hours of the settings."""
        hours = self.settings.hours
        next_s = self.history[-1]["seconds"] if self.history else 0.0
        return bool(hours and self._used_s() + next_s > 3600 * hours)

    def restore(self, state: dict[str, Any]) -> None:
        """Resume a run that was stopped.

        Raises
        ------
        FgafError
            It was started on another archive, with other settings or on another device.
        """
        if state["archive_fingerprint"] != self.archive.fingerprint:
            raise FgafError(
                f"{self.out} was trained on another archive; resume with that one, "
                "or train into another folder"
            )
        started = TrainSettings().with_values(state["settings"])
        for key in state["settings"]:
            held, mine = getattr(started, key), getattr(self.settings, key)
            if mine != held:
                raise FgafError(
                    f"{self.out} was started with {key} = {held}, not {mine}; "
                    "resume with the same settings, or train into another folder"
                )
        self.epoch, self.history = state["epoch"], state["history"]
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.network.load_state_dict(state["average"])

    def write_settings(self) -> None:
        """Write the settings as TOML, for `--settings`."""
        if not self.team.leads:
            return
        with publishing(self.out / SETTINGS, overwrite=True) as part:
            part.write_text(to_toml(self.settings), encoding="utf-8")

    def finish(self) -> dict[str, Any]:
        """Choose and complete the weights, evaluate the test cells, write the checkpoint."""
        checkpoint = self._checkpoint()
        if self.settings.select == "best" and (self.out / BEST).is_file():
            checkpoint = Checkpoint.load(self.out / BEST)
        network = self.machine.place(checkpoint.network())
        tta = self.settings.tta

        def outputs_of(side: Data) -> Outputs:
            return self._outputs(network, side, tta)

        checkpoint = self.task.complete(checkpoint, self.sides, outputs_of, self.scale)
        test = self.sides[TEST]
        evidence = self.task.evidence(checkpoint, outputs_of(test), test)
        metrics = self.task.judge(evidence, test.rows)
        metrics |= self._facts(network, checkpoint)
        replace(checkpoint, metrics=metrics).save(self.out / CHECKPOINT)
        return metrics

    def _used_s(self) -> float:
        """Time that all epochs so far have taken."""
        return sum(row["seconds"] for row in self.history)

    def _training_side(self) -> Data:
        """Patches of this epoch."""
        if self.fresh is None or self.epoch == 0:
            return self.sides[TRAIN]
        archive, device = next(self.fresh), self.machine.device
        targets = type(self.task)(archive, self.settings).targets(device)
        return load_sides(archive, self.settings, targets, device)[0][TRAIN]

    def _steps(self) -> Row:
        side, settings = self._training_side(), self.settings
        all_steps = settings.epochs * self.steps
        begun: float = self.epoch * self.steps
        if settings.hours:
            begun = max(begun, self._used_s() / (3600 * settings.hours) * all_steps)
        mixed = np.random.SeedSequence([settings.seed, self.epoch]).generate_state(2)
        torch.manual_seed(int(mixed[0]))
        generator = torch.Generator(self.machine.device).manual_seed(int(mixed[1]))
        order = side.order(generator, settings.balance)
        self.network.train()
        total, credit, rate = 0.0, 0.0, 0.0
        for k, batch in enumerate(order.tensor_split(self.steps)):
            step = self.epoch * self.steps + k
            rate = learning_rate(min(begun + k, all_steps), all_steps, settings)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            images, targets = self.task.augment(
                self.scale(side.images[batch]), side.targets[batch], generator
            )
            images, targets = self.team.part(images), self.team.part(targets)
            classes = side.classes[self.team.part(batch)]
            loss, logits = take_step(
                self.stepping,
                self.optimizer,
                self.task,
                images,
                classes,
                targets,
                self.machine,
                share=self.team.size * len(images) / len(batch),
            )
            if self.average:
                self.average.update(self.network, step)
            total += loss * len(images)
            credit += self.task.credit(logits, classes, targets)
        n = len(side.rows)
        total, credit = self.team.sum([total, credit], self.machine.device)
        if not np.isfinite(total):
            raise self._diverged(self.epoch + 1)
        return {"lr": rate, "train_loss": total / n, self.task.credit_name: credit / n}

    def _outputs(self, network: nn.Module, side: Data, tta: bool) -> Outputs:
        """Logits of all patches of a subset, a few thousand in memory at a time."""
        for part in torch.split(torch.arange(len(side.rows)), _AT_ONCE):
            logits = self.task.logits(network, self.scale(side.images[part]), tta)
            if not logits.isfinite().all():  # the loss was still finite, the weights are not
                raise self._diverged(self.epoch)
            yield part, logits

    def _diverged(self, epoch: int) -> FgafError:
        return FgafError(
            f"the training diverged in epoch {epoch}; try a lower learning rate, "
            f"--set lr={self.settings.lr / 5:g}"
        )

    def _validate(self) -> Row:
        if VALIDATION not in self.sides:
            return {}
        side = self.sides[VALIDATION]
        return self.task.validate(self._outputs(self.used_network, side, tta=False), side)

    def _checkpoint(self) -> Checkpoint:
        header = self.archive.header
        return Checkpoint(
            settings=self.settings,
            weights={k: v.cpu().contiguous() for k, v in self.used_network.state_dict().items()},
            scale=self.scale,
            step_um=header.step_um,
            half_range_um=header.half_range_um,
            patch_px=header.patch_px,
            optics=header.optics,
            archive_name=header.name,
            archive_fingerprint=self.archive.fingerprint,
            epoch=self.epoch,
        )

    def _state(self) -> dict[str, Any]:
        return {
            "settings": asdict(self.settings),
            "archive_fingerprint": self.archive.fingerprint,
            "epoch": self.epoch,
            "history": self.history,
            "weights": self.network.state_dict(),
            "average": self.average.network.state_dict() if self.average else {},
            "optimizer": self.optimizer.state_dict(),
        }

    def _facts(self, network: nn.Module, checkpoint: Checkpoint) -> dict[str, Any]:
        split = self.archive.splits[self.settings.split]
        return {
            "task": self.settings.task,
            "split": self.settings.split,
            "seed": self.settings.seed,
            "backbone": self.settings.backbone,
            **self.task.facts(checkpoint),
            "epochs": checkpoint.epoch,
            "trained_epochs": self.epoch,
            **self._plateau(),
            **facts(self.start),
            "train_cells": int((split == TRAIN).sum()),
            "validation_cells": int((split == VALIDATION).sum()),
            "tta": self.settings.tta,
            "parameters": parameters(network),
            "macs": macs(network, self.archive.header.patch_px),
            "archive_fingerprint": self.archive.fingerprint,
            "software": software(),
            "machine": {**asdict(self.machine), "processes": self.team.size},
            "timing": {
                "train_s": round(sum(row["seconds"] for row in self.history), 2),
                "core_s": round(sum(row.get("core_seconds", 0.0) for row in self.history), 2),
                "patch_ms": self._patch_ms(network),
            },
        }

    def _plateau(self) -> dict[str, Any]:
        """The best epoch, and whether more epochs would be in vain; {} without validation."""
        if VALIDATION not in self.sides:
            return {}
        best = self.best_epoch()
        return {"best_epoch": best, "at_plateau": at_plateau(best, self.epoch)}

    def _patch_ms(self, network: nn.Module) -> float:
        """Median time of one patch through the network, milliseconds."""
        side = self.archive.header.patch_px
        x = torch.zeros(1, 1, side, side)
        times = []
        for _ in range(10):
            began = time.perf_counter()
            self.task.logits(network, x, tta=False)
            times.append(time.perf_counter() - began)
        return round(1e3 * sorted(times)[len(times) // 2], 2)
