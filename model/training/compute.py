"""Hardware settings of training: device, processor threads, precision and memory format."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from fgaf.model.networks.settings import TrainSettings

_THREADS = 2
"""Default maximum: patches are so small that more threads mostly wait for each other."""


@dataclass(frozen=True)
class Compute:
    """Hardware settings of the training steps.

    Attributes
    ----------
    device
        "cpu" or "cuda".
    threads
        Processor threads.
    bf16
        Compute in bfloat16 where this is safe (autocast).
    channels_last
        Store feature maps with channels last.
    """

    device: str
    threads: int
    bf16: bool
    channels_last: bool = True

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

    def place(self, network: nn.Module) -> nn.Module:
        """Put a network on the device, in the memory format."""
        placed: nn.Module = network.to(self.device).to(memory_format=self._format)
        return placed

    def arrange(self, images: Tensor) -> Tensor:
        """Put (B, 1, S, S) into the memory format."""
        return images.contiguous(memory_format=self._format)

    @property
    def _format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


def choose_compute(settings: TrainSettings, seconds: Callable[[Compute], float]) -> Compute:
    """Pick device, threads, precision and memory format.

    A GPU is used if there is one. On a processor the settings are used, by default with two
    threads, or fewer where torch has fewer, as by `OMP_NUM_THREADS`; with the precision "auto", a
    few timed steps decide.

    Parameters
    ----------
    settings
        Settings of the training.
    seconds
        Times a training step.
    """
    cores = os.cpu_count() or 1
    threads = settings.threads or min(_THREADS, torch.get_num_threads())
    if torch.cuda.is_available():
        return Compute("cuda", threads, settings.precision != "fp32")
    if settings.precision != "auto":
        return Compute("cpu", threads, settings.precision == "bf16")
    counts = [settings.threads] if settings.threads else sorted({1, cores})
    candidates = [Compute("cpu", *how) for how in product(counts, (False, True), (True, False))]
    return min(candidates, key=seconds)
