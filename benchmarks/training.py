"""Training throughput of ResNet-18 with FGAF: what the data cost, and a plain loop beside it.

    python benchmarks/training.py

Three loops take turns, a few steps each, so that whatever else the machine does meets all:

constant   the training step on one random batch that never changes: no data at all
training   the same step, its batches drawn, scaled and augmented as `fgaf-train` does
plain      DataLoader with workers, per-image torchvision transforms, fp32, default threads
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from fgaf.acquire.simulation.cells import simulate_cells
from fgaf.dataset.archive import Archive
from fgaf.model.inference.checkpoint import build_network
from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.compute import Compute, choose_compute
from fgaf.model.training.defaults import resolve_settings
from fgaf.model.training.optimise import new_optimizer, step_seconds, take_step
from fgaf.model.training.sides import TRAIN, load_sides
from fgaf.model.training.tasks import DepthTask, Task

Step = Callable[[], None]
STEPS = 6
REST_S = 1.5
"""After each turn: the plain loop's workers fill their queues in it, not in another's turn."""
SETTINGS = TrainSettings(backbone="resnet18", batch=64, precision="auto")


class PerImage(Dataset[tuple[Tensor, int]]):
    """One patch at a time, as a plain loop would read it."""

    def __init__(self, archive: Archive) -> None:
        rows = np.flatnonzero(archive.split_of_rows() == TRAIN)
        self.images, self.classes = archive.images[rows], archive.depth_class[rows]
        self.change = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomHorizontalFlip(),
                transforms.RandomVerticalFlip(),
                transforms.RandomCrop(96, padding=6, padding_mode="reflect"),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.1]),
            ]
        )

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(self.images[index]), int(self.classes[index])


def machine_of(task: Task) -> Compute:
    """The machine setting that `--precision auto` chooses here."""
    return choose_compute(task.settings, lambda m: step_seconds(m, task))


def constant_step(task: Task, machine: Compute) -> Step:
    """The training step alone."""
    network = machine.place(task.network()).train()
    optimizer = new_optimizer(network, task.settings)
    images = torch.randn(task.settings.batch, 1, 96, 96, device=machine.device)
    classes, targets = (each.to(machine.device) for each in task.example(task.settings.batch))

    def step() -> None:
        take_step(network, optimizer, task, images, classes, targets, machine)

    return step


def training_step(task: Task, machine: Compute) -> Step:
    """The training step on the archive's patches, as `fgaf.model.training.train` feeds it."""
    settings, targets_of = task.settings, task.targets(machine.device)
    network = machine.place(task.network()).train()
    optimizer = new_optimizer(network, settings)
    sides, scale = load_sides(task.archive, settings, targets_of, machine.device)
    data, generator = sides[TRAIN], torch.Generator(machine.device).manual_seed(0)

    def batches() -> Iterator[Tensor]:
        while True:
            order = data.order(generator, balance=False)
            yield from order[: len(order) // settings.batch * settings.batch].split(settings.batch)

    order = batches()

    def step() -> None:
        batch = next(order)
        images, targets = task.augment(scale(data.images[batch]), data.targets[batch], generator)
        take_step(network, optimizer, task, images, data.classes[batch], targets, machine)

    return step


def plain_step(settings: TrainSettings, archive: Archive, workers: int) -> Step:
    """A training step as most first scripts have it."""
    network = build_network(settings, archive.n_classes).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    loader = DataLoader(
        PerImage(archive), settings.batch, shuffle=True, num_workers=workers, drop_last=True
    )

    def batches() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    order = batches()

    def step() -> None:
        images, classes = next(order)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), classes).backward()
        optimizer.step()

    return step


def rates(loops: dict[str, tuple[Step, int]], batch: int, rounds: int) -> dict[str, list[float]]:
    """Patches per second of each loop in each round; every loop has its number of threads."""
    found: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 1):
        for name, (step, threads) in loops.items():
            torch.set_num_threads(threads)
            began = time.perf_counter()
            for _ in range(STEPS):
                step()
            if number:  # the first round warms up
                found[name].append(STEPS * batch / (time.perf_counter() - began))
            time.sleep(REST_S)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=120, help="simulated, to train on")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop")
    arguments = parser.parse_args()
    archive = simulate_cells(arguments.cells)
    settings = resolve_settings(SETTINGS, archive)
    default_threads = torch.get_num_threads()
    task = DepthTask(archive, settings)
    machine = machine_of(task)
    print(f"chosen: {machine}; {os.cpu_count()} processors, plain on {default_threads} threads")
    loops = {
        "constant": (constant_step(task, machine), machine.threads),
        "training": (training_step(task, machine), machine.threads),
        "plain": (plain_step(settings, archive, arguments.workers), default_threads),
    }
    found = rates(loops, settings.batch, arguments.rounds)
    for name, each in found.items():
        print(f"{name:9} {median(each):6.0f} patches/s ({min(each):.0f} to {max(each):.0f})")
    for other, wanted in (("constant", 0.9), ("plain", 2.0)):
        pairs = zip(found["training"], found[other], strict=True)
        ratio = median(mine / its for mine, its in pairs)
        print(f"training / {other}: {ratio:.2f} (wanted: {wanted:g} or more)")


if __name__ == "__main__":
    main()
