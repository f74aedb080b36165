"""What one answer of a network costs: parameters, multiply-accumulates, milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import torch

from fgaf.model.inference.predict import Predictor, network_logits
from fgaf.model.networks.backbones import macs, parameters

REPEATS: Final = 21
"""Number of timed answers, after a few for warm-up."""
_WARM_UP: Final = 3
_RESOLUTION_S: Final = 1e-5


def network_cost(run: Path) -> dict[str, float]:
    """Measure the network of a training run on this machine's processor.

    Parameters
    ----------
    run
        Its folder or checkpoint.

    Returns
    -------
    dict
        `parameters` (trainable), `macs` of one pass, `latency_ms` of one pass and `answer_ms` of
        one answer as the run predicts, with all symmetries where it averages them. Both are the
        median CPU time of one thread for one patch, in PyTorch; other programs that run at the same
        time do not count.
    """
    predictor = Predictor.load(run)
    network, side = predictor.network, predictor.checkpoint.patch_px
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        once = _median_ms(network, side, tta=False)
        answer = _median_ms(network, side, tta=True) if predictor.tta else once
    finally:
        torch.set_num_threads(threads)
    return {
        "parameters": parameters(network),
        "macs": macs(network, side),
        "latency_ms": once,
        "answer_ms": answer,
    }


def _median_ms(network: torch.nn.Module, side: int, tta: bool) -> float:
    clock = _clock()
    patch = torch.zeros(1, 1, side, side)
    times = []
    for _ in range(_WARM_UP + REPEATS):
        began = clock()
        network_logits(network, patch, tta)
        times.append(clock() - began)
    return round(1e3 * median(times[_WARM_UP:]), 3)


def _clock() -> Callable[[], float]:
    """CPU time of this thread; the wall clock where the former is too coarse."""
    fine = time.get_clock_info("thread_time").resolution <= _RESOLUTION_S
    return time.thread_time if fine else time.perf_counter
