"""A checkpoint as one graph, from raw patches to µm or to masks, and as an ONNX model."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from fgaf.base.extras import require
from fgaf.model.deploy.shuffles import fold_shuffles
from fgaf.model.deploy.tokens import fold_tokens
from fgaf.model.inference.card import Precision
from fgaf.model.inference.checkpoint import Checkpoint
from fgaf.model.inference.out_of_distribution import Novelty
from fgaf.model.inference.segment import symmetric_maps
from fgaf.model.networks.augment import symmetries
from fgaf.model.networks.decode import class_probabilities
from fgaf.model.networks.settings import TaskName

INPUT = "patches"
OUTPUTS: dict[TaskName, tuple[str, ...]] = {
    "depth": ("depth_um", "spread_um", "probabilities", "novelty"),
    "heads": ("shares",),
}
"""Names of the outputs, by task."""


class DepthGraph(nn.Module):
    """The whole computation from the camera's grey values to µm.

    Parameters
    ----------
    checkpoint
        The network, its scale, depth classes, temperature, and its range of training patches.
    tta
        Average the logits of the eight symmetries.
    precision
        The arithmetic it is made for.
    """

    def __init__(self, checkpoint: Checkpoint, tta: bool, precision: Precision = "fp32") -> None:
        super().__init__()
        self.network = checkpoint.network()
        if precision == "bf16":
            fold_shuffles(self.network)
        self.settings = checkpoint.settings
        self.scale = checkpoint.scale
        self.temperature = checkpoint.temperature
        self.tta = tta
        self.novelty = Novelty(checkpoint.familiar) if checkpoint.familiar else None
        grid = torch.from_numpy(checkpoint.class_depths_um).float()
        self.register_buffer("grid", grid)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Read depth from patches.

        Parameters
        ----------
        patches
            (N, S, S) grey values of any type.

        Returns
        -------
        (N,) depth and (N,) spread in µm, (N, C) probabilities, and (N,) novelty: above 1, out of
        range; 0 where the model cannot judge it
        """
        x = self.scale(patches)
        views = symmetries(x).flatten(0, 1) if self.tta else x
        logits = self.network(views)
        if self.tta:
            logits = logits.reshape(8, -1, logits.shape[1]).mean(dim=0)
        p = class_probabilities(logits, self.settings.loss, self.temperature, torch.float32)
        grid = self.get_buffer("grid")
        depth = (p * grid).sum(dim=1)
        spread = (p * (grid[None] - depth[:, None]).square()).sum(dim=1).sqrt()
        novelty = torch.zeros_like(depth) if self.novelty is None else self.novelty(x)
        return depth, spread, p, novelty


class HeadsGraph(nn.Module):
    """The whole computation from the camera's grey values to the probability of every pixel.

    Parameters
    ----------
    checkpoint
        The network and its scale.
    tta
        Average the logits of the eight symmetries.
    precision
        The arithmetic it is made for.
    """

    def __init__(self, checkpoint: Checkpoint, tta: bool, precision: Precision = "fp32") -> None:
        super().__init__()
        self.network = checkpoint.network()
        if precision != "int8":
            fold_tokens(self.network)
        self.scale = checkpoint.scale
        self.tta = tta

    def forward(self, patches: Tensor) -> Tensor:
        """Segment heads: (N, H, W) grey values of any type to (N, H, W) probabilities."""
        logits = symmetric_maps(self.network, self.scale(patches), self.tta)
        return logits[:, 0].sigmoid()


def onnx_model(checkpoint: Checkpoint, tta: bool, precision: Precision = "fp32") -> Any:
    """Write a checkpoint as an ONNX model.

    Normalisations that follow a convolution are folded into it.

    Parameters
    ----------
    checkpoint, tta, precision
        See `DepthGraph`.

    Returns
    -------
    onnx.ModelProto
        Input "patches" uint16, outputs as `OUTPUTS`. N of (N, S, S) is variable, and for heads also
        both sides.

    Raises
    ------
    FgafError
        onnx or onnxscript is not installed.
    """
    require("onnx", "onnxscript")
    heads = checkpoint.settings.task == "heads"
    graph = (HeadsGraph if heads else DepthGraph)(checkpoint, tta, precision)
    free = ("N", "H", "W") if heads else ("N",)
    side = checkpoint.patch_px
    example = torch.full((3, side, side), 100, dtype=torch.uint16)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's own, of libraries beneath it
        program = torch.onnx.export(
            graph.eval(),
            (example,),
            input_names=[INPUT],
            output_names=list(OUTPUTS[checkpoint.settings.task]),
            dynamic_shapes=(dict.fromkeys(range(len(free)), torch.export.Dim.DYNAMIC),),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - the exporter has none only when it writes a file
    model = program.model_proto
    for value in (*model.graph.input, *model.graph.output):
        for size, name in zip(value.type.tensor_type.shape.dim, free, strict=False):
            size.Clear()
            size.dim_param = name
    return model
