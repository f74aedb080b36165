"""Finds sperm heads in single frames with a small network, also in focus.

In focus a cell is a phase object with very low contrast. Detection by contrast energy
(`fgaf.curate.detection.detect`) misses it there, and needs a stack to bridge the gap. In live work
there is no stack, so a fully convolutional network uses the whole pattern, midpiece and tail
included. It has few channels, and runs in numpy on parts of a frame or on all of it. Its weights
are in `finder.npz`; `tools/fit_finder.py` fits them to labelled patches.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from fgaf.curate.detection.detect import block_sums

Image = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """One convolution: square kernel, zeros beyond the border."""

    inputs: int
    outputs: int
    side: int
    stride: int = 1
    dilation: int = 1


LAYERS: Final = (
    Layer(1, 8, 5, stride=2),
    Layer(8, 16, 3, stride=2),
    Layer(16, 24, 3),
    Layer(24, 24, 3, dilation=2),
    Layer(24, 24, 3, dilation=3),
    Layer(24, 3, 1),
)
"""From contrast to a score (a logit) and the offset (y, x) of the head, for grid cells of 4 x 4."""
STRIDE: Final = 4
"""Side of an output cell, in pixels of the working grid."""
REACH: Final = 32
"""Receptive field around a grid cell, in pixels of the working grid, rounded up."""

_GROUND = 33
"""Side of the mean filter for the background, in pixels of the working grid."""
_SPAN = 0.05
"""Contrast that becomes network input 1."""


def contrast_of(images: Image, binning: int) -> Floats:
    """Bin images to the working grid and convert them to contrast against the background.

    Parameters
    ----------
    images
        (N, Y, X) uint8 or uint16.
    binning
        Image pixels to one of the grid, see `fgaf.curate.detection.detect.Scale`.

    Returns
    -------
    (N, Y // binning, X // binning) float32, of about unit size.
    """
    binned = block_sums(images, binning)
    ground = ndimage.uniform_filter(binned, (0, _GROUND, _GROUND), mode="nearest")
    np.maximum(ground, np.float32(0.5), out=ground)
    binned /= ground
    binned -= 1
    binned *= np.float32(1 / _SPAN)
    return binned


class Finder:
    """The network.

    Parameters
    ----------
    weights
        One (side, side, inputs, outputs) and one (outputs,) per layer of `LAYERS`.
    """

    def __init__(self, weights: list[tuple[Floats, Floats]]) -> None:
        self._weights = weights

    @classmethod
    def load(cls, path: Path) -> Finder:
        """Read the weights."""
        with np.load(path) as file:
            return cls(
                [
                    (file[f"weight{n}"].astype(np.float32), file[f"bias{n}"].astype(np.float32))
                    for n in range(len(LAYERS))
                ]
            )

    def maps(self, contrast: Floats) -> Floats:
        """Run the network.

        Parameters
        ----------
        contrast
            (N, Y, X), Y and X whole multiples of 4.

        Returns
        -------
        (3, N, Y / 4, X / 4): probability of a head, and its offset (y, x) in grid cells.
        """
        x = contrast[..., None]
        for layer, (weight, bias) in zip(LAYERS, self._weights, strict=True):
            x = _convolved(x, layer, weight)
            x += bias
            if layer is not LAYERS[-1]:
                np.maximum(x, 0, out=x)
        maps = x.transpose(3, 0, 1, 2).copy()
        maps[0] = 1 / (1 + np.exp(-np.clip(maps[0], -30, 30)))
        return maps

    def heads(self, contrast: Floats, least_score: float) -> list[Floats]:
        """Find the heads of each image.

        Parameters
        ----------
        contrast
            (N, Y, X), from `contrast_of`.
        least_score
            Maxima below it are left out.

        Returns
        -------
        list of (K, 3): y, x on the working grid, score; best first.
        """
        rows, columns = (n // STRIDE * STRIDE for n in contrast.shape[1:])
        maps = self.maps(contrast[:, :rows, :columns])
        near = maps[0]
        peaks = (near >= least_score) & (
            ndimage.maximum_filter(near, (0, 3, 3), mode="constant") == near
        )
        found = []
        for image, peak in zip(maps.transpose(1, 2, 3, 0), peaks, strict=True):
            row, column = np.nonzero(peak)
            cells = image[row, column]
            place = np.column_stack([row, column]) + cells[:, 1:]
            heads = np.column_stack([STRIDE * place + (STRIDE - 1) / 2, cells[:, 0]])
            found.append(heads[np.argsort(-cells[:, 0], kind="stable")].astype(np.float32))
        return found


@cache
def shipped() -> Finder:
    """The finder that comes with fgaf."""
    data = resources.files("fgaf.model.live").joinpath("finder.npz").read_bytes()
    with np.load(io.BytesIO(data)) as file:
        return Finder(
            [
                (file[f"weight{n}"].astype(np.float32), file[f"bias{n}"].astype(np.float32))
                for n in range(len(LAYERS))
            ]
        )


def _convolved(x: Floats, layer: Layer, weight: Floats) -> Floats:
    """Convolve (N, Y, X, C) as one matrix product over all windows (im2col)."""
    spread, stride = layer.dilation * (layer.side - 1), layer.stride
    if not spread:
        return np.asarray(x @ weight[0, 0])
    reach = (spread // 2, spread // 2)
    padded = np.pad(x, ((0, 0), reach, reach, (0, 0)))
    around = sliding_window_view(padded, (spread + 1, spread + 1), axis=(1, 2))
    around = around[:, ::stride, ::stride, :, :: layer.dilation, :: layer.dilation]
    rows = around.transpose(0, 1, 2, 4, 5, 3).reshape(-1, layer.side**2 * layer.inputs)
    product = rows @ weight.reshape(-1, layer.outputs)
    return np.asarray(product.reshape(*around.shape[:3], layer.outputs))
