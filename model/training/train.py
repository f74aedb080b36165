"""Training: one archive, one loop, one folder that holds all of the run.

The whole set is one tensor in memory; batches are drawn from it and augmented on it. Every
epoch draws from generators seeded by (seed, epoch), so that a run that was killed resumes
from its last epoch and ends with the same numbers as the unbroken one. Under `torchrun` several
processes take their parts of every batch (`fgaf.model.training.parallel`).
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fgaf.base import console
from fgaf.base.csv_tables import write_table
from fgaf.base.errors import ExistsError, FgafError, SettingError
from fgaf.base.files import publishing
from fgaf.base.folder_lock import working_in
from fgaf.dataset.archive import Archive
from fgaf.dataset.storage.header import software
from fgaf.model.inference.checkpoint import Checkpoint, build_network, load_state, save_state
from fgaf.model.inference.images import Scale, shine
from fgaf.model.inference.initial_weights import InitialWeights, facts
from fgaf.model.inference.out_of_distribution import learn
from fgaf.model.inference.predict import CHECKPOINT, network_logits
from fgaf.model.metrics import better_than_chance, judge
from fgaf.model.networks.augment import AugmentSettings, augment
from fgaf.model.networks.backbones import macs, parameters
from fgaf.model.networks.decode import class_probabilities, expected_depth, fit_temperature
from fgaf.model.networks.settings import RANDOM, TrainSettings, to_toml
from fgaf.model.training.compute import Compute, choose_compute
from fgaf.model.training.fit import require_cells, require_fit
from fgaf.model.training.optimise import (
    Average,
    learning_rate,
    new_loss,
    new_optimizer,
    step_seconds,
    take_step,
)
from fgaf.model.training.parallel import DistributedContext, distributed_context
from fgaf.model.training.plots import plot_confusion, plot_depths, plot_history, plot_reliability
from fgaf.model.training.resume import METRICS, SETTINGS
from fgaf.model.training.sides import TEST, TRAIN, VALIDATION, Data, load_sides

_log = logging.getLogger(__name__)

BEST, LAST = "best.pt", "last.pt"
HISTORY = "history.csv"
FILES = (
    CHECKPOINT,
    BEST,
    LAST,
    METRICS,
    HISTORY,
    SETTINGS,
    "history.png",
    "confusion.png",
    "reliability.png",
    "depths.png",
)
"""Everything a run writes into its folder."""

_VIEW, _LEAST_VIEW_PX = 0.5, 48
_FEWEST_PX, _SMALL_PX, _AT_ONCE = 8, 64, 4096

Row = dict[str, float]
Bar = Callable[[Iterable[int], str, int], Iterator[int]]


def train(
    archive: Archive,
    settings: TrainSettings,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    pictures: bool = True,
    checked: bool = False,
    progress: Bar = console.progress,
) -> dict[str, Any]:
    """Train a depth classifier and judge it on the test cells.

    Parameters
    ----------
    archive
        Labelled patches with the split that the settings name.
    settings
        Everything else.
    out
        Folder of the run; holds the files listed in `FILES` afterwards.
    resume
        Go on from the last epoch in `out`, or start where there is none.
    overwrite
        Replace the run in `out`.
    pictures
        Draw the learning curves, confusion matrix and reliability too.
    checked
        `fgaf.model.training.fit.require_fit` has passed the archive already.
    progress
        Wraps the epochs, as `fgaf.base.console.progress`.

    Returns
    -------
    dict
        What `metrics.json` holds: `fgaf.model.metrics.judge` of the test cells, and of the
        run: split, seed, backbone, fgaf, parameters, macs, cells of each side, temperature, ...

    Raises
    ------
    FgafError
        No cells to train on or to test on; patches that show nothing; a run in `out` already, or
        another program at work there; a run that was started with other settings or another
        archive; a training that diverged.
    """
    require_cells(archive, settings.split)
    if not checked:
        require_fit(archive)
    with distributed_context() as team, working_in(out) if team.leads else nullcontext():
        if team.leads:
            _check_folder(out, resume, overwrite)
        return team.share(_train(archive, settings, out, team, resume, pictures, progress))


def _train(
    archive: Archive,
    settings: TrainSettings,
    out: Path,
    team: DistributedContext,
    resume: bool,
    pictures: bool,
    progress: Bar,
) -> dict[str, Any]:
    """Train in a folder that is free for it; the metrics, for the leader only."""
    started = time.perf_counter()
    settings = resolve_settings(settings, archive)
    if settings.batch < team.size:
        raise SettingError(f"batch = {settings.batch} gives {team.size} processes less than one")
    side, n_classes = archive.header.patch_px, archive.n_classes
    machine = team.share(
        choose_compute(settings, lambda m: step_seconds(m, settings, side, n_classes))
    )
    _log.info("%s, %d processes", machine, team.size)
    _log.debug("settings:\n%s", to_toml(settings))
    with machine.used():
        sides, scale = load_sides(archive, settings, machine.device)
        run = _Run(archive, settings, out, machine, sides, scale, team)
        state = load_state(out / LAST) if team.leads and resume and (out / LAST).is_file() else None
        if state := team.share(state):
            run.restore(state)
            _log.info("goes on after epoch %d of %s", run.epoch, out)
        run.write_settings()
        left = range(run.epoch, settings.epochs)
        for _ in progress(left, f"training {settings.backbone}", len(left)):
            run.train_epoch()
            if run.stale():
                _log.info("no better for %d epochs: the training ends", settings.patience)
                break
        if not team.leads:
            return {}
        metrics = run.finish()
    if pictures:
        plot_history(run.history, out / "history.png")
        plot_confusion(metrics, out / "confusion.png")
        plot_reliability(metrics, out / "reliability.png")
        plot_depths(metrics, out / "depths.png")
    metrics["timing"]["total_s"] = round(time.perf_counter() - started, 2)
    _write_json(out / METRICS, metrics)
    return metrics


@dataclass(frozen=True)
class _Schedule:
    """What zeros in the settings stand for: epochs, or more for so many steps, and the rate."""

    epochs: int
    steps: int
    lr: float


_FROM_RANDOM = _Schedule(epochs=60, steps=600, lr=0.05)
_FROM_TRAINED = _Schedule(epochs=30, steps=300, lr=0.01)


def default_preset(archive: Archive, start: str) -> str:
    """Name the preset for an archive where nobody names one, for weights that start so.

    Parameters
    ----------
    archive
        Whose patches decide.
    start
        The setting of that name: where the weights come from.
    """
    return "fluorescence" if start == RANDOM and shine(archive.images) else "default"


def resolve_settings(settings: TrainSettings, archive: Archive) -> TrainSettings:
    """Replace the zeros that stand for "what suits the archive and the start" by numbers.

    Parameters
    ----------
    settings
        Settings of the training.
    archive
        To train on.

    Raises
    ------
    FgafError
        The start cannot be read, or hardly a pixel is left to look at.
    """
    view, stride = _looking(settings, archive.header.patch_px)
    patches = int((archive.split_of_rows(settings.split) == TRAIN).sum())
    schedule = _FROM_RANDOM if settings.start == RANDOM else _FROM_TRAINED
    epochs = max(schedule.epochs, ceil(schedule.steps / _steps_per_epoch(patches, settings)))
    return replace(
        settings,
        view=view,
        stem_stride=stride,
        epochs=settings.epochs or epochs,
        lr=settings.lr or schedule.lr,
    )


def _looking(settings: TrainSettings, side: int) -> tuple[float, Literal[1, 2]]:
    """Find how much of a patch to look at, and how finely."""
    start = InitialWeights.load(settings.start)
    its = start.checkpoint.settings if start and start.checkpoint else None
    suiting_view = (its.view or 1.0) if its else 1.0
    if start is None:
        suiting_view = min(1.0, max(_VIEW, _LEAST_VIEW_PX / side))
    view = settings.view or suiting_view
    seen_px = round(view * side)
    if seen_px < min(side, _FEWEST_PX):
        raise SettingError(
            f"view = {view:g} leaves {seen_px} of {side} px to look at; "
            f"give {_FEWEST_PX / side:.2g} or more"
        )
    fine = seen_px <= _SMALL_PX or (its is not None and its.stem_stride == 1)
    return view, settings.stem_stride or (1 if fine else 2)


class _Run:
    """A training in progress and its folder."""

    def __init__(
        self,
        archive: Archive,
        settings: TrainSettings,
        out: Path,
        machine: Compute,
        sides: dict[int, Data],
        scale: Scale,
        team: DistributedContext,
    ) -> None:
        self.archive, self.settings, self.out = archive, settings, out
        self.machine, self.sides, self.scale, self.team = machine, sides, scale, team
        self.loss = new_loss(settings)
        self.augmentation = _augment_settings(settings)
        torch.manual_seed(settings.seed)
        network = build_network(settings, archive.n_classes)
        self.start = InitialWeights.load(settings.start)
        if self.start:
            self.start.apply(network, settings, archive.header)
        self.network = machine.place(network)
        self.average = Average(self.network, settings.ema) if settings.ema else None
        self.stepping = team.wrap(self.network)
        self.optimizer = new_optimizer(self.network, settings)
        self.steps = _steps_per_epoch(len(sides[TRAIN].rows), settings)
        self.epoch = 0
        self.history: list[Row] = []

    @property
    def used_network(self) -> nn.Module:
        """The network the run is judged by: the averaged one where there is one."""
        return self.average.network if self.average else self.network

    def train_epoch(self) -> None:
        """Train one epoch, validate, and write best, last and the history."""
        began = time.perf_counter()
        row = {"epoch": float(self.epoch + 1), **self._steps()}
        self.epoch += 1
        if self.team.leads:
            row |= self._validate()
        row["seconds"] = round(time.perf_counter() - began, 3)
        self.history.append(self.team.share(row))
        if not self.team.leads:
            return
        figures = ", ".join(f"{name} = {value:.4g}" for name, value in row.items())
        _log.info("epoch %d of %d: %s", self.epoch, self.settings.epochs, figures)
        if VALIDATION in self.sides and self.best_epoch() == self.epoch:
            self._checkpoint().save(self.out / BEST)
        save_state(self.out / LAST, self._state())
        _write_history(self.out / HISTORY, self.history)

    def best_epoch(self) -> int:
        """Number of the epoch with the least validation error, counted from 1."""
        errors = [row["val_expected_mae_um"] for row in self.history]
        return errors.index(min(errors)) + 1

    def stale(self) -> bool:
        """Tell whether `patience` epochs have passed without a better validation."""
        patience = self.settings.patience
        return bool(
            patience and VALIDATION in self.sides and self.epoch - self.best_epoch() >= patience
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where a killed run stood.

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
        begun = TrainSettings().with_values(state["settings"])
        for key in state["settings"]:
            held, mine = getattr(begun, key), getattr(self.settings, key)
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
        """Write the settings as TOML, ready for `--settings`."""
        if not self.team.leads:
            return
        with publishing(self.out / SETTINGS, overwrite=True) as part:
            part.write_text(to_toml(self.settings), encoding="utf-8")

    def finish(self) -> dict[str, Any]:
        """Choose the weights, fit the temperature, judge the test cells, write the checkpoint."""
        checkpoint = self._checkpoint()
        if self.settings.select == "best" and (self.out / BEST).is_file():
            checkpoint = Checkpoint.load(self.out / BEST)
        network = self.machine.place(checkpoint.network())
        loss = self.settings.loss
        if VALIDATION in self.sides:
            held = self.sides[VALIDATION]
            logits = self._logits(network, held, self.settings.tta)
            temperature = fit_temperature(logits, held.targets.cpu(), loss)
            training = self.sides[TRAIN].images
            familiar = learn(self.settings, self.scale, training, held.images)
            checkpoint = replace(checkpoint, temperature=temperature, familiar=familiar)
        test = self.sides[TEST]
        logits = self._logits(network, test, self.settings.tta)
        p = class_probabilities(logits, loss, checkpoint.temperature).numpy()
        metrics = judge(p, self.archive, test.rows, seed=self.settings.seed)
        metrics |= {"better_than_chance": better_than_chance(metrics)}
        metrics |= self._facts(network, checkpoint)
        replace(checkpoint, metrics=metrics).save(self.out / CHECKPOINT)
        return metrics

    def _steps(self) -> Row:
        side, settings = self.sides[TRAIN], self.settings
        mixed = np.random.SeedSequence([settings.seed, self.epoch]).generate_state(2)
        torch.manual_seed(int(mixed[0]))
        generator = torch.Generator(self.machine.device).manual_seed(int(mixed[1]))
        order = side.order(generator, settings.balance)
        self.network.train()
        total, right, rate = 0.0, 0.0, 0.0
        for k, batch in enumerate(order.tensor_split(self.steps)):
            step = self.epoch * self.steps + k
            rate = learning_rate(step, settings.epochs * self.steps, settings)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            images = augment(self.scale(side.images[batch]), self.augmentation, generator)
            mine = self.team.part(batch)
            classes = side.classes[mine]
            loss, logits = take_step(
                self.stepping,
                self.optimizer,
                self.loss,
                self.team.part(images),
                classes,
                side.targets[mine],
                self.machine,
                share=self.team.size * len(mine) / len(batch),
            )
            if self.average:
                self.average.update(self.network, step)
            total += loss * len(mine)
            right += float((_decided(logits, settings.loss) == classes).sum())
        n = len(side.rows)
        total, right = self.team.sum([total, right], self.machine.device)
        if not np.isfinite(total):
            raise self._diverged(self.epoch + 1)
        return {"lr": rate, "train_loss": total / n, "train_top1": right / n}

    def _logits(self, network: nn.Module, side: Data, tta: bool) -> Tensor:
        """Of all patches of a side, (N, outputs), some thousand in memory at a time."""
        parts = torch.split(torch.arange(len(side.rows)), _AT_ONCE)
        logits = torch.cat(
            [network_logits(network, self.scale(side.images[part]), tta) for part in parts]
        )
        if not logits.isfinite().all():  # the loss was still a number, the weights are none
            raise self._diverged(self.epoch)
        return logits

    def _diverged(self, epoch: int) -> FgafError:
        return FgafError(
            f"the training diverged in epoch {epoch}; try a lower rate, "
            f"--set lr={self.settings.lr / 5:g}"
        )

    def _validate(self) -> Row:
        if VALIDATION not in self.sides:
            return {}
        side = self.sides[VALIDATION]
        logits = self._logits(self.used_network, side, tta=False)
        classes = side.classes.cpu()
        p = class_probabilities(logits, self.settings.loss)
        grid, labels = self.archive.class_depths_um, self.archive.depth_um[side.rows]
        return {
            "val_loss": float(-p.gather(1, classes[:, None]).clamp_min(1e-12).log().mean()),
            "val_top1": float((p.argmax(dim=1) == classes).double().mean()),
            "val_expected_mae_um": float(np.abs(expected_depth(p.numpy(), grid) - labels).mean()),
        }

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
            "split": self.settings.split,
            "seed": self.settings.seed,
            "backbone": self.settings.backbone,
            "fgaf": self.settings.fgaf,
            "epochs": checkpoint.epoch,
            **facts(self.start),
            "train_cells": int((split == TRAIN).sum()),
            "validation_cells": int((split == VALIDATION).sum()),
            "temperature": checkpoint.temperature,
            "tta": self.settings.tta,
            "parameters": parameters(network),
            "macs": macs(network, self.archive.header.patch_px),
            "archive_fingerprint": self.archive.fingerprint,
            "software": software(),
            "machine": {**asdict(self.machine), "processes": self.team.size},
            "timing": {
                "train_s": round(sum(row["seconds"] for row in self.history), 2),
                "patch_ms": _patch_ms(network, self.archive.header.patch_px),
            },
        }


def _steps_per_epoch(patches: int, settings: TrainSettings) -> int:
    return max(1, round(patches / settings.batch))


def _check_folder(out: Path, resume: bool, overwrite: bool) -> None:
    old = [out / name for name in FILES if (out / name).exists()]
    if resume:
        return
    if old and not overwrite:
        raise ExistsError(
            f"{out} holds a training run already; choose another folder, or pass --resume "
            "or --overwrite"
        )
    for path in old:
        path.unlink()


def _decided(logits: Tensor, loss: str) -> Tensor:
    if loss == "corn":
        return class_probabilities(logits, "corn").argmax(dim=1)
    return logits.argmax(dim=1)


def _patch_ms(network: nn.Module, side: int) -> float:
    """Median time of one patch through the network, milliseconds."""
    x = torch.zeros(1, 1, side, side)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        network_logits(network, x, tta=False)
        times.append(time.perf_counter() - began)
    return round(1e3 * sorted(times)[len(times) // 2], 2)


def _augment_settings(settings: TrainSettings) -> AugmentSettings:
    return AugmentSettings(
        turns=settings.turns,
        shift_px=settings.shift_px,
        gain=settings.gain,
        offset=settings.offset,
        noise=settings.noise,
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with publishing(path, overwrite=True) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_history(path: Path, history: list[Row]) -> None:
    with (
        publishing(path, overwrite=True) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        write_table(file, list(history[0]), (row.values() for row in history))
