"""Training with several processes or machines under `torchrun`: each takes its part of a batch.

Batch statistics and mean gradients are of the whole batch, so several processes take the same steps
as one process, up to the order of sums. Only the partners in CrossNorm and the dropped units are
drawn in each process.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class DistributedContext:
    """The processes that train together; without `torchrun`, one.

    Attributes
    ----------
    rank, size
        Number of this process, counted from 0, and of all.
    """

    rank: int = 0
    size: int = 1
    _wrapped: list["_Stepping"] = field(default_factory=list, repr=False, compare=False)

    @property
    def leads(self) -> bool:
        """Whether this is the leader, the process that validates, writes files and prints."""
        return self.rank == 0

    def part(self, batch: Tensor) -> Tensor:
        """Cut this process's part from a batch, (B, ...) to about (B / size, ...)."""
        return batch.tensor_split(self.size)[self.rank]

    def share(self, thing: Thing) -> Thing:
        """Broadcast the leader's values."""
        if self.size == 1:
            return thing
        box = [thing]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def sum(self, values: list[float], device: str) -> list[float]:
        """Sum numbers over all processes.

        Parameters
        ----------
        values
            Numbers of this process; the same count in each process.
        device
            torch device of the sum.
        """
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(total)
        return [float(value) for value in total]

    def wrap(self, network: nn.Module) -> nn.Module:
        """Wrap a network for distributed training; its weights stay in `network` itself.

        Parameters
        ----------
        network
            The network; its batch norms are replaced by distributed ones.

        Returns
        -------
        nn.Module
            To be called instead of `network`, as long as the `distributed_context` block lasts.
        """
        if self.size == 1:
            return network
        _join_norms(network)
        stepping = _Stepping(network)
        self._wrapped.append(stepping)
        return stepping

    def _disband(self) -> None:
        """Free what needs the process group, even while a wrapped network is referenced."""
        for stepping in self._wrapped:
            stepping.end()
        gc.collect()


def leads() -> bool:
    """Whether this process is the leader; True for a single process."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def distributed_context() -> Iterator[DistributedContext]:
    """Join the process group of `torchrun`; without it, use a single process."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield DistributedContext()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if cuda else "gloo")
    team = DistributedContext(distributed.get_rank(), size)
    try:
        yield team
    finally:
        team._disband()
        distributed.destroy_process_group()


class _Stepping(nn.Module):
    """A network whose gradients are averaged over all processes, until the process group ends.

    The process aborts when a DistributedDataParallel outlives its process group. So only this
    object holds it, and frees it before the group is destroyed.

    Parameters
    ----------
    network
        The network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        # In a list: a submodule would be registered, and its parameters listed twice.
        self._parallel: list[nn.Module] = [DistributedDataParallel(network)]

    def forward(self, *inputs: Any) -> Any:
        """Call the network."""
        if not self._parallel:
            raise RuntimeError(
                "the process group of this network has ended; wrap the network in a new one"
            )
        return self._parallel[0](*inputs)

    def train(self, mode: bool = True) -> Self:
        """Set the network's mode too."""
        for parallel in self._parallel:
            parallel.train(mode)
        return super().train(mode)

    def end(self) -> None:
        """Free the network's part of the process group."""
        self._parallel.clear()


class _Sum(torch.autograd.Function):
    """Sum over all processes, of values and of gradients."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        """Sum (...) over all processes."""
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        """Sum the gradients."""
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class _TeamNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation with the statistics of the whole distributed batch, on any device."""

    def _check_input_dim(self, _: Tensor) -> None:
        """Accept any (B, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, ...)."""
        if not self.training:
            return super().forward(x)
        over = [0, *range(2, x.ndim)]
        shape = [1, -1, *(1 for _ in over[1:])]
        seen = x.to(self.weight.dtype)
        count = _Sum.apply(seen.new_tensor([seen.numel() / seen.shape[1]]))
        mean = _Sum.apply(seen.sum(over)) / count
        away = seen - mean.view(shape)
        variance = _Sum.apply(away.square().sum(over)) / count
        self._follow(mean.detach(), (variance * count / (count - 1).clamp_min(1)).detach())
        scale = self.weight * (variance + self.eps).rsqrt()
        normal: Tensor = (away * scale.view(shape) + self.bias.view(shape)).to(x.dtype)
        return normal

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics with those of a batch."""
        if self.running_mean is None or self.running_var is None:
            return
        self.running_mean.lerp_(mean, self.momentum or 0.0)
        self.running_var.lerp_(variance, self.momentum or 0.0)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def _join_norms(network: nn.Module) -> None:
    """Replace batch norms by distributed ones, with the same parameters and names."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                norm = _TeamNorm(child.num_features, child.eps, child.momentum)
                norm.weight, norm.bias = child.weight, child.bias
                norm.running_mean, norm.running_var = child.running_mean, child.running_var
                norm.num_batches_tracked = child.num_batches_tracked
                norm.train(child.training)
                setattr(module, name, norm)
