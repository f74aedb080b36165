"""Latency of methods of segmentation: processor time of one thread for one patch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

import numpy.typing as npt
import torch

from fgaf.model.bench.segmentation.methods import Method

ROUNDS: Final = 15
"""Timed rounds, after one for warm-up."""
_CALLS: Final = 3


def latencies_ms(methods: Sequence[Method], patches: npt.NDArray[Any]) -> list[float]:
    """Measure the methods in turns, so that all meet the same state of the machine.

    Parameters
    ----------
    methods
        The methods.
    patches
        (N, S, S); each call takes the next one.

    Returns
    -------
    list of float
        Of each method the median over the rounds, ms of processor time, which other programs
        change less than the clock's.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: list[list[float]] = [[] for _ in methods]
    try:
        for turn in range(ROUNDS + 1):
            for method, times in zip(methods, seconds, strict=True):
                began = time.process_time()
                for k in range(_CALLS):
                    method.segment(patches[(_CALLS * turn + k) % len(patches)])
                times.append((time.process_time() - began) / _CALLS)
    finally:
        torch.set_num_threads(threads)
    return [round(1e3 * median(times[1:]), 3) for times in seconds]
