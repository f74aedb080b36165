"""A small dense network on Fourier magnitudes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812

from fgaf.model.bench.methods.method import Floats, Integers

_BATCH: Final = 64
_WEIGHT_DECAY: Final = 1e-2
_NOISE: Final = 0.1
"""Standard deviation of the noise added to the standardised inputs in training."""


def magnitudes(images: NDArray[Any], window_px: int, limit: float) -> NDArray[np.float32]:
    """Logarithm of the Fourier magnitude of the patches' centre, without frequency 0.

    Parameters
    ----------
    images
        (N, S, S)
    window_px
        Side of the central square, under a Hann window.
    limit
        Highest spatial frequency kept, cycles per pixel.

    Returns
    -------
    (N, M) of one half of the frequency plane; the other half mirrors it.
    """
    top = (images.shape[-1] - window_px) // 2
    part = images[:, top : top + window_px, top : top + window_px].astype(np.float32)
    mean = part.mean(axis=(-2, -1), keepdims=True)
    window = np.hanning(window_px + 2)[1:-1].astype(np.float32)
    spectrum = np.fft.rfft2((part / np.maximum(mean, 1e-6) - 1) * window[:, None] * window)
    radius = np.hypot(np.fft.fftfreq(window_px)[:, None], np.fft.rfftfreq(window_px))
    kept = spectrum[:, (radius > 0) & (radius <= limit)]
    return np.log(np.abs(kept) / window_px + 1e-3).astype(np.float32)


def train_dense(
    known: tuple[NDArray[np.float32], Integers],
    unseen: tuple[NDArray[np.float32], Integers],
    asked: NDArray[np.float32],
    *,
    n_classes: int,
    hidden: tuple[int, ...],
    epochs: int,
    learning_rate: float,
    dropout: float,
    seed: int,
) -> Floats:
    """Train a dense network on known inputs, and predict others.

    Parameters
    ----------
    known, unseen
        Inputs (T, M) and classes (T,) to train on, and to choose the epoch with; the latter may be
        empty.
    asked
        (N, M)
    n_classes, hidden, epochs, learning_rate, dropout
        The network and its training.
    seed
        Random seed.

    Returns
    -------
    (N, C) probabilities
    """
    chance = torch.Generator().manual_seed(seed)
    inputs = torch.from_numpy(known[0])
    mean, spread = inputs.mean(dim=0), inputs.std(dim=0, correction=0) + 1e-6
    x, y = (inputs - mean) / spread, torch.from_numpy(known[1])
    right = torch.from_numpy(unseen[1])
    held_out = (torch.from_numpy(unseen[0]) - mean) / spread
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _dense(x.shape[1], hidden, n_classes, dropout)
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=learning_rate, weight_decay=_WEIGHT_DECAY
        )
        n_steps = epochs * -(-len(x) // _BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
        best, state = float("inf"), network.state_dict()
        for _ in range(epochs):
            network.train()
            for batch in torch.split(torch.randperm(len(x), generator=chance), _BATCH):
                noisy = x[batch] + _NOISE * torch.randn(len(batch), x.shape[1], generator=chance)
                loss = F.cross_entropy(network(noisy), y[batch])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
            if len(held_out):
                surprise = float(F.cross_entropy(_logits(network, held_out), right))
                if surprise < best:
                    best = surprise
                    state = {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(state)
    logits = _logits(network, (torch.from_numpy(asked) - mean) / spread)
    return np.asarray(logits.double().softmax(dim=1).numpy())


def _dense(n_inputs: int, hidden: tuple[int, ...], n_classes: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise((n_inputs, *hidden)):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear((n_inputs, *hidden)[-1], n_classes))


def _logits(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    network.eval()
    with torch.inference_mode():
        return torch.as_tensor(network(x))
