"""What the shipped network sees in each patch: the input of its last layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fgaf.dataset.storage.virtual_images import read_rows
from fgaf.model.inference.initial_weights import shipped
from fgaf.model.networks.augment import symmetries
from fgaf.model.networks.backbones import BACKBONES, evaluating

_AT_ONCE = 64

Singles = npt.NDArray[np.float32]


def features(images: Any, progress: Any) -> Singles:
    """Read the features of patches, (M, F), the mean over the eight symmetries of the square.

    Parameters
    ----------
    images
        (M, S, S) uint8 or uint16, in memory or on disk.
    progress
        Wraps the numbers of the batches, as `fgaf.base.console.progress`.
    """
    checkpoint = shipped()
    network = checkpoint.network()
    path = f"network.{BACKBONES[checkpoint.settings.backbone].head}"
    seen: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])

    handle = network.get_submodule(path).register_forward_pre_hook(keep)
    batches: Iterable[npt.NDArray[np.intp]] = np.array_split(
        np.arange(len(images)), -(-len(images) // _AT_ONCE)
    )
    parts = []
    with evaluating(network), torch.inference_mode():
        for rows in progress(batches, "looking at patches"):
            views = symmetries(checkpoint.scale(read_rows(images, rows)))
            seen.clear()
            network(views.flatten(0, 1))
            parts.append(seen[0].reshape(len(views), len(rows), -1).mean(dim=0).numpy())
    handle.remove()
    return np.concatenate(parts)
