"""One step of training: learning rate, optimiser, step, average of the weights."""

import time
from copy import deepcopy
from math import cos, pi

import torch
from torch import Tensor, nn

from fgaf.model.networks.settings import TrainSettings
from fgaf.model.training.compute import Compute
from fgaf.model.training.tasks.task import Task


def learning_rate(step: float, total: int, settings: TrainSettings) -> float:
    """Learning rate of one step: linear warm-up over `warmup` and cosine to zero, or constant.

    Parameters
    ----------
    step
        Number of the step, counted from 0; a fraction where time used counts for more than steps.
    total
        Number of steps of the training.
    settings
        `lr` is the highest rate; `schedule` and `warmup` give its shape.
    """
    if settings.schedule == "constant":
        return settings.lr
    rise = max(1, round(settings.warmup * total))
    if step < rise:
        return settings.lr * (0.04 + 0.96 * step / rise)
    return settings.lr * 0.5 * (1 + cos(pi * (step - rise) / max(1, total - rise)))


class Average:
    """An exponential average of a network's weights, with a shorter memory at the start."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = deepcopy(network).requires_grad_(False)
        self.decay = decay

    def update(self, network: nn.Module, step: int) -> None:
        """Update with the weights after step number `step`, counted from 0.

        Parameters
        ----------
        network
            The network that is trained.
        step
            Number of the step, counted from 0.
        """
        keep = min(self.decay, (1 + step) / (10 + step))
        fresh = network.state_dict()
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(fresh[name], 1 - keep)
            else:
                value.copy_(fresh[name])


def new_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Stochastic gradient descent or AdamW with these settings.

    Parameters
    ----------
    network
        Its weights are trained.
    settings
        Learning rate, momentum and weight decay.
    """
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        network.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov and settings.momentum > 0,
        weight_decay=settings.weight_decay,
    )


def take_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    task: Task,
    images: Tensor,
    classes: Tensor,
    targets: Tensor,
    machine: Compute,
    share: float = 1.0,
) -> tuple[float, Tensor]:
    """Take one optimiser step.

    Parameters
    ----------
    network, optimizer, task, machine
        As in the training.
    images
        (B, 1, S, S) normalised.
    classes
        (B,) depth classes.
    targets
        (B, ...), for the loss.
    share
        Factor of the gradient when B is only a part of the batch.

    Returns
    -------
    The loss, and the (B, ...) logits.
    """
    with machine.autocast():
        logits = network(*task.inputs(machine.arrange(images), classes))
        loss = task.loss(logits.float(), targets)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss * share)
    optimizer.step()
    return loss.item(), logits.detach()


def step_seconds(machine: Compute, task: Task) -> float:
    """Time a training step: the median of three, after two to warm up.

    Parameters
    ----------
    machine
        The hardware settings to time.
    task
        What is trained, with resolved settings.
    """
    settings, side = task.settings, task.archive.header.patch_px
    with machine.used(), torch.random.fork_rng(devices=[]):
        network = machine.place(task.network())
        optimizer = new_optimizer(network, settings)
        images = torch.randn(settings.batch, 1, side, side)
        classes, targets = task.example(settings.batch)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            take_step(network, optimizer, task, images, classes, targets, machine)
            times.append(time.perf_counter() - began)
    return sorted(times[2:])[1]
