"""Training: one archive, one loop, one folder that holds all of the run.

The whole set is one tensor in memory; batches are drawn from it and augmented on it. Every
epoch draws from generators seeded by (seed, epoch), so that a run that was killed resumes
from its last epoch and ends with the same numbers as the unbroken one.
"""

import csv
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from math import ceil, cos, pi
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fgaf.dataset import console
from fgaf.dataset.archive import Archive
from fgaf.dataset.errors import ExistsError, FgafError
from fgaf.dataset.files import publishing
from fgaf.dataset.header import software
from fgaf.model.augment import AugmentSettings, augment
from fgaf.model.backbones import BACKBONES, macs, parameters
from fgaf.model.checkpoint import Checkpoint, build_network, load_state, save_state
from fgaf.model.decode import class_probabilities, expected_depth, fit_temperature
from fgaf.model.images import Scale
from fgaf.model.losses import LossSettings, loss_function
from fgaf.model.metrics import judge
from fgaf.model.plots import plot_confusion, plot_history, plot_reliability
from fgaf.model.predict import CHECKPOINT, network_logits
from fgaf.model.settings import TrainSettings, to_toml

BEST, LAST = "best.pt", "last.pt"
METRICS, HISTORY, SETTINGS = "metrics.json", "history.csv", "settings.toml"
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
)
"""Everything a run writes into its folder."""

TRAIN, VALIDATION, TEST = 0, 1, 2

_EPOCHS, _STEPS, _SMALL_PX = 30, 600, 64

Row = dict[str, float]
Bar = Callable[[Iterable[int], str, int], Iterator[int]]


@dataclass(frozen=True)
class Machine:
    """What the steps run on: device, processor threads, bfloat16 or not."""

    device: str
    threads: int
    bf16: bool

    @contextmanager
    def used(self) -> Iterator[None]:
        """Set the number of threads inside the block."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def autocast(self) -> Any:
        """Compute in bfloat16 inside the block where that is chosen."""
        return torch.autocast(self.device, torch.bfloat16) if self.bf16 else nullcontext()


@dataclass(frozen=True)
class Data:
    """One side of the split on the device: patches (N, 1, S, S), classes (N,), archive rows."""

    images: Tensor
    classes: Tensor
    rows: npt.NDArray[np.int64]


def train(
    archive: Archive,
    settings: TrainSettings,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    pictures: bool = True,
    progress: Bar = console.progress,
) -> dict[str, Any]:
    """Train a depth classifier and judge it on the test cells.

    Parameters
    ----------
    archive : labelled patches with the split that the settings name
    settings : everything else
    out : folder of the run; holds the files listed in `FILES` afterwards
    resume : go on from the last epoch in `out`, or start where there is none
    overwrite : replace the run in `out`
    pictures : draw the learning curves, confusion matrix and reliability too
    progress : wraps the epochs, as `fgaf.dataset.console.progress`

    Returns
    -------
    dict
        What `metrics.json` holds: `fgaf.model.metrics.judge` of the test cells, and of the
        run: split, seed, backbone, fgaf, parameters, macs, cells of each side, temperature, ...

    Raises
    ------
    FgafError
        No cells to train on or to test on; a run in `out` already; a run that was started
        with other settings or another archive; a training that diverged.
    """
    _check_archive(archive, settings)
    _check_folder(out, resume, overwrite)
    started = time.perf_counter()
    settings = settle(settings, archive)
    machine = choose_machine(archive, settings)
    with machine.used():
        sides, scale = _load(archive, settings, machine)
        run = _Run(archive, settings, out, machine, sides, scale)
        if resume and (out / LAST).is_file():
            run.restore(load_state(out / LAST))
        run.write_settings()
        left = range(run.epoch, settings.epochs)
        for _ in progress(left, f"training {settings.backbone}", len(left)):
            run.train_epoch()
            if run.stale():
                break
        metrics = run.finish()
    if pictures:
        plot_history(run.history, out / "history.png")
        plot_confusion(metrics, out / "confusion.png")
        plot_reliability(metrics, out / "reliability.png")
    metrics["timing"]["total_s"] = round(time.perf_counter() - started, 2)
    _write_json(out / METRICS, metrics)
    return metrics


def settle(settings: TrainSettings, archive: Archive) -> TrainSettings:
    """Replace the zeros that stand for "what suits the archive" by numbers."""
    stride: Literal[1, 2] = 1 if archive.header.patch_px < _SMALL_PX else 2
    patches = int((archive.split_of_rows(settings.split) == TRAIN).sum())
    epochs = max(_EPOCHS, ceil(_STEPS / _steps_per_epoch(patches, settings)))
    return replace(
        settings,
        stem_stride=settings.stem_stride or stride,
        epochs=settings.epochs or epochs,
    )


def choose_machine(archive: Archive, settings: TrainSettings) -> Machine:
    """Pick device, threads and precision: as set, else as suits the backbone, else by timing."""
    cores = os.cpu_count() or 1
    threads = settings.threads or min(BACKBONES[settings.backbone].threads, cores)
    if torch.cuda.is_available():
        return Machine("cuda", threads, settings.precision != "fp32")
    if settings.precision != "auto":
        return Machine("cpu", threads, settings.precision == "bf16")
    counts = [settings.threads] if settings.threads else sorted({1, cores})
    candidates = [Machine("cpu", n, bf16) for n in counts for bf16 in (False, True)]
    return min(candidates, key=lambda machine: _step_seconds(machine, archive, settings))


def learning_rate(step: int, total: int, settings: TrainSettings) -> float:
    """Rate of one step: a linear rise over `warmup` and a cosine to zero, or constant."""
    if settings.schedule == "constant":
        return settings.lr
    rise = max(1, round(settings.warmup * total))
    if step < rise:
        return settings.lr * (0.04 + 0.96 * step / rise)
    return settings.lr * 0.5 * (1 + cos(pi * (step - rise) / max(1, total - rise)))


class Average:
    """An exponential average of a network's weights, short-memoried while it is young."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = deepcopy(network).requires_grad_(False)
        self.decay = decay

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0."""
        keep = min(self.decay, (1 + step) / (10 + step))
        fresh = network.state_dict()
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(fresh[name], 1 - keep)
            else:
                value.copy_(fresh[name])


class _Run:
    """A training in progress and its folder."""

    def __init__(
        self,
        archive: Archive,
        settings: TrainSettings,
        out: Path,
        machine: Machine,
        sides: dict[int, Data],
        scale: Scale,
    ) -> None:
        self.archive, self.settings, self.out = archive, settings, out
        self.machine, self.sides, self.scale = machine, sides, scale
        self.loss = loss_function(_loss_settings(settings))
        self.augmentation = _augment_settings(settings)
        torch.manual_seed(settings.seed)
        self.network = _on(machine, build_network(settings, archive.n_classes))
        self.average = Average(self.network, settings.ema) if settings.ema else None
        self.optimizer = _optimizer(self.network, settings)
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
        row |= self._validate()
        row["seconds"] = round(time.perf_counter() - began, 3)
        self.history.append(row)
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
        mine = asdict(self.settings)
        for key, value in state["settings"].items():
            if mine.get(key) != value:
                raise FgafError(
                    f"{self.out} was started with {key} = {value}, not {mine.get(key)}; "
                    "resume with the same settings, or train into another folder"
                )
        self.epoch, self.history = state["epoch"], state["history"]
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.network.load_state_dict(state["average"])

    def write_settings(self) -> None:
        """Write the settings as TOML, ready for `--settings`."""
        with publishing(self.out / SETTINGS, overwrite=True) as part:
            part.write_text(to_toml(self.settings), encoding="utf-8")

    def finish(self) -> dict[str, Any]:
        """Choose the weights, fit the temperature, judge the test cells, write the checkpoint."""
        checkpoint = self._checkpoint()
        if self.settings.select == "best" and (self.out / BEST).is_file():
            checkpoint = Checkpoint.load(self.out / BEST)
        network = _on(self.machine, checkpoint.network())
        loss = self.settings.loss
        if VALIDATION in self.sides:
            held = self.sides[VALIDATION]
            logits = network_logits(network, held.images, self.settings.tta)
            temperature = fit_temperature(logits, held.classes.cpu(), loss)
            checkpoint = replace(checkpoint, temperature=temperature)
        test = self.sides[TEST]
        logits = network_logits(network, test.images, self.settings.tta)
        p = class_probabilities(logits, loss, checkpoint.temperature).numpy()
        metrics = judge(p, self.archive, test.rows, seed=self.settings.seed)
        metrics |= self._facts(network, checkpoint)
        replace(checkpoint, metrics=metrics).save(self.out / CHECKPOINT)
        return metrics

    def _steps(self) -> Row:
        side, settings = self.sides[TRAIN], self.settings
        mixed = np.random.SeedSequence([settings.seed, self.epoch]).generate_state(2)
        torch.manual_seed(int(mixed[0]))
        generator = torch.Generator(self.machine.device).manual_seed(int(mixed[1]))
        order = torch.randperm(len(side.rows), device=self.machine.device, generator=generator)
        self.network.train()
        total, right, rate = 0.0, 0.0, 0.0
        for k, batch in enumerate(order.tensor_split(self.steps)):
            step = self.epoch * self.steps + k
            rate = learning_rate(step, settings.epochs * self.steps, settings)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            classes = side.classes[batch]
            images = augment(side.images[batch], self.augmentation, generator)
            loss, logits = _step(
                self.network, self.optimizer, self.loss, images, classes, self.machine
            )
            if self.average:
                self.average.update(self.network, step)
            total += loss * len(batch)
            right += float((_decided(logits, settings.loss) == classes).sum())
        n = len(side.rows)
        if not np.isfinite(total):
            raise FgafError(
                f"the training diverged in epoch {self.epoch + 1}; try a lower rate, "
                f"--set lr={settings.lr / 5:g}"
            )
        return {"lr": rate, "train_loss": total / n, "train_top1": right / n}

    def _validate(self) -> Row:
        if VALIDATION not in self.sides:
            return {}
        side = self.sides[VALIDATION]
        logits = network_logits(self.used_network, side.images, tta=False)
        classes = side.classes.cpu()
        p = class_probabilities(logits, self.settings.loss)
        grid = self.archive.class_depths_um
        labels = grid[classes.numpy()]
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
            "train_cells": int((split == TRAIN).sum()),
            "validation_cells": int((split == VALIDATION).sum()),
            "temperature": checkpoint.temperature,
            "tta": self.settings.tta,
            "parameters": parameters(network),
            "macs": macs(network, self.archive.header.patch_px),
            "archive_fingerprint": self.archive.fingerprint,
            "software": software(),
            "machine": asdict(self.machine),
            "timing": {
                "train_s": round(sum(row["seconds"] for row in self.history), 2),
                "patch_ms": _patch_ms(network, self.archive.header.patch_px),
            },
        }


def _steps_per_epoch(patches: int, settings: TrainSettings) -> int:
    return max(1, round(patches / settings.batch))


def _check_archive(archive: Archive, settings: TrainSettings) -> None:
    where = archive.path or "the archive"
    if archive.n_cells == 0:
        raise FgafError(f"{where} holds no cells; curate some first")
    if archive.n_cells == 1:
        raise FgafError(f"{where} holds one cell; training and testing need two or more")
    sides = archive.split_of_rows(settings.split)
    for side, name in ((TRAIN, "training"), (TEST, "test")):
        if not (sides == side).any():
            raise FgafError(
                f"split {settings.split!r} of {where} has no {name} cells; "
                "make another with `fgaf-data split`"
            )
    if (sides == TRAIN).sum() < 2:
        raise FgafError(f"{where} has one training patch; add cells")


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


def _load(
    archive: Archive, settings: TrainSettings, machine: Machine
) -> tuple[dict[int, Data], Scale]:
    """Put each side that has cells on the device, scaled by the training side."""
    side_of_row = archive.split_of_rows(settings.split)
    images = np.asarray(archive.images)
    scale = Scale.of(images[side_of_row == TRAIN], settings.normalise)
    classes = torch.from_numpy(np.asarray(archive.depth_class, dtype=np.int64))
    sides = {}
    for side in (TRAIN, VALIDATION, TEST):
        rows = np.flatnonzero(side_of_row == side)
        if rows.size:
            sides[side] = Data(
                scale(images[rows]).to(machine.device), classes[rows].to(machine.device), rows
            )
    return sides, scale


def _on(machine: Machine, network: nn.Module) -> nn.Module:
    placed: nn.Module = network.to(machine.device).to(memory_format=torch.channels_last)
    return placed


def _optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        network.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov and settings.momentum > 0,
        weight_decay=settings.weight_decay,
    )


def _step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    classes: Tensor,
    machine: Machine,
) -> tuple[float, Tensor]:
    """Take one optimiser step; return the loss and the (B, outputs) logits."""
    images = images.contiguous(memory_format=torch.channels_last)
    with machine.autocast():
        logits = network(images, classes)
        loss = loss_of(logits.float(), classes)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item(), logits.detach()


def _decided(logits: Tensor, loss: Literal["corn"] | str) -> Tensor:
    if loss == "corn":
        return class_probabilities(logits, "corn").argmax(dim=1)
    return logits.argmax(dim=1)


def _step_seconds(machine: Machine, archive: Archive, settings: TrainSettings) -> float:
    """Time a training step on this machine setting: the faster of two, after two to warm up."""
    side = archive.header.patch_px
    with machine.used():
        network = _on(machine, build_network(settings, archive.n_classes))
        optimizer = _optimizer(network, settings)
        loss_of = loss_function(_loss_settings(settings))
        images = torch.randn(settings.batch, 1, side, side)
        classes = torch.arange(settings.batch) % archive.n_classes
        times = []
        for _ in range(4):
            began = time.perf_counter()
            _step(network, optimizer, loss_of, images, classes, machine)
            times.append(time.perf_counter() - began)
    return min(times[2:])


def _patch_ms(network: nn.Module, side: int) -> float:
    """Median time of one patch through the network, milliseconds."""
    x = torch.zeros(1, 1, side, side)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        network_logits(network, x, tta=False)
        times.append(time.perf_counter() - began)
    return round(1e3 * sorted(times)[len(times) // 2], 2)


def _loss_settings(settings: TrainSettings) -> LossSettings:
    return LossSettings(
        loss=settings.loss,
        wloss_normalise=settings.wloss_normalise,
        smoothing=settings.smoothing,
        rps_weight=settings.rps_weight,
        soft_width=settings.soft_width,
    )


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
    with publishing(path, overwrite=True) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
