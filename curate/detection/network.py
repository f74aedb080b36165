"""The network that finds heads: fully convolutional, run by OpenVINO on one core.

It sees the contrast of a plane on the working grid (`Scale.contrast`) and gives, for every cell of
4 x 4 working pixels, a score, the offset of the head's centre, its length, width and axis. Its
weights are in `heads.npz`; `tools/fit_detector.py` fits them to simulated and painted fields whose
heads are known.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """One convolution with a square kernel; zeros beyond the border."""

    name: str
    inputs: int
    outputs: int
    side: int
    stride: int = 1
    dilation: int = 1


OUTPUTS: Final = ("sperm", "object", "dy", "dx", "length", "width", "cos", "sin")
"""Of the last layer: logits of a sperm's head and of any compact object of the size searched for;
the offset of the centre in cells; logarithms of the size, relative to a usual head; and twice the
angle of the axis."""
Kind = Literal["sperm", "object"]
"""What to search for: sperm, or compact objects of any kind."""
STRIDE: Final = 4
"""Side of an output cell, working pixels."""
REACH: Final = 32
"""Distance, working pixels, beyond which the image hardly matters to a score."""
SPAN: Final = 0.2
"""Contrast at which the input is compressed to a half."""

_WIDE, _DEEP = 32, 64
LOOKS: Final = _WIDE + _DEEP
"""Number of channels that say how a head looks, finely and coarsely."""
LAYERS: Final = (
    Layer("stem1", 1, 16, 5, stride=2),
    Layer("stem2", 16, _WIDE, 3, stride=2),
    Layer("fine1", _WIDE, _WIDE, 3),
    Layer("fine2", _WIDE, _WIDE, 3),
    Layer("down", _WIDE, _DEEP, 3, stride=2),
    Layer("deep1", _DEEP, _DEEP, 3),
    Layer("deep2", _DEEP, _DEEP, 3, dilation=2),
    Layer("deep3", _DEEP, _DEEP, 3),
    Layer("deep4", _DEEP, _DEEP, 3),
    Layer("up", _DEEP, _WIDE, 1),
    Layer("last", _WIDE, _WIDE, 3),
    Layer("heads", _WIDE, len(OUTPUTS), 1),
)


def connected(x: Any, convolved: Any, rectified: Any, doubled: Any) -> Any:
    """Connect the layers; the same for training and for use.

    Parameters
    ----------
    x
        Compressed contrast (N, 1, y, x), sides whole multiples of 8.
    convolved
        Function of a layer's name and a tensor.
    rectified
        max(0, tensor).
    doubled
        Repeats every element in y and x.

    Returns
    -------
    (N, 8, y / 4, x / 4), the channels of `OUTPUTS`; and what they are read from: (N, 32, y / 4,
    x / 4) fine and (N, 64, y / 8, x / 8) coarse.
    """

    def both(first: str, second: str, x: Any) -> Any:
        return rectified(x + convolved(second, rectified(convolved(first, x))))

    x = rectified(convolved("stem2", rectified(convolved("stem1", x))))
    x = both("fine1", "fine2", x)
    deep = rectified(convolved("down", x))
    deep = both("deep3", "deep4", both("deep1", "deep2", deep))
    x = rectified(x + doubled(convolved("up", deep)))
    fine = rectified(convolved("last", x))
    return convolved("heads", fine), fine, deep


class HeadNetwork:
    """The network with its weights, compiled for one core.

    Parameters
    ----------
    weights
        For every layer NAME its NAME.weight (outputs, inputs, side, side) and NAME.bias (outputs,);
        and "calibration" (2, 2), factor and constant of each logit.
    exact
        Whether it computes in 32 bits everywhere. Else 16 bits (bfloat16) are used where the
        processor has them, which takes about half the time; scores differ by about 0.01.
    looks
        Whether `heads` also gives how each head looks.

    Attributes
    ----------
    parameters
        Number of its weights.
    """

    def __init__(
        self, weights: dict[str, npt.NDArray[Any]], exact: bool = True, looks: bool = False
    ) -> None:
        import openvino
        from openvino import opset13 as ops

        arrays = {name: np.asarray(array, np.float32) for name, array in weights.items()}
        layers = {layer.name: layer for layer in LAYERS}
        self.parameters = sum(array.size for array in arrays.values())
        self._factor, self._constant = arrays["calibration"][:, :, None, None]

        def convolved(name: str, x: Any) -> Any:
            layer = layers[name]
            pad = layer.dilation * (layer.side // 2)
            product = ops.convolution(
                x,
                ops.constant(arrays[f"{name}.weight"]),
                [layer.stride] * 2,
                [pad] * 2,
                [pad] * 2,
                [layer.dilation] * 2,
            )
            return ops.add(product, ops.constant(arrays[f"{name}.bias"][:, None, None]))

        def doubled(x: Any) -> Any:
            scales = ops.constant(np.array([2, 2], np.float32))
            axes = ops.constant(np.array([2, 3], np.int64))
            return ops.interpolate(
                x, scales, "nearest", "scales", axes=axes,
                coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            )  # fmt: skip

        image = ops.parameter(openvino.PartialShape([-1, 1, -1, -1]), np.float32, "contrast")
        compressed = image / (ops.abs(image) + ops.constant(np.float32(SPAN)))
        found = connected(compressed, convolved, ops.relu, doubled)
        model = openvino.Model(list(found if looks else found[:1]), [image], "heads")
        options: dict[str, Any] = {"INFERENCE_NUM_THREADS": 1}
        if exact:
            options["INFERENCE_PRECISION_HINT"] = "f32"
        self._compiled = openvino.Core().compile_model(model, "CPU", options)
        self._local = threading.local()

    def maps(self, contrast: Floats) -> list[Floats]:
        """Run the network.

        Parameters
        ----------
        contrast
            (N, y, x), from `Scale.contrast`.

        Returns
        -------
        list
            (N, 8, ceil(y / 4), ceil(x / 4)), the channels of `OUTPUTS`, the first two as
            probabilities; with `looks` also the fine and the coarse channels, see `connected`.
        """
        rows, columns = contrast.shape[1:]
        pad = [(0, 0), (0, -rows % 8), (0, -columns % 8)]
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        image = np.pad(contrast, pad)[:, None]
        results = self._local.request.infer([image], share_inputs=True, share_outputs=True)
        out, *looks = results.values()
        maps = np.array(out[:, :, : -(-rows // STRIDE), : -(-columns // STRIDE)])
        logits = np.clip(self._factor * maps[:, :2] + self._constant, -30, 30)
        maps[:, :2] = 1 / (1 + np.exp(-logits))
        return [maps, *looks]

    def heads(self, contrast: Floats, least_score: float, kind: Kind = "sperm") -> list[Floats]:
        """Find the heads of each image.

        Parameters
        ----------
        contrast
            (N, y, x), from `Scale.contrast`.
        least_score
            Heads with a lower score are left out.
        kind
            Whether only sperm are heads, or any compact object of a head's length.

        Returns
        -------
        list of (K, 6): y, x on the working grid, score, length and width relative to a usual head,
        angle of the axis (rad, from x towards y, modulo pi); best first. With `looks` (K, 6 +
        `LOOKS`): behind these the fine and the coarse channels where the head was found.
        """
        maps, *looks = self.maps(contrast)
        score = maps[:, 0] if kind == "sperm" else maps[:, :2].max(axis=1)
        peaks = (score >= least_score) & (
            ndimage.maximum_filter(score, (0, 3, 3), mode="constant") == score
        )
        image, row, column = np.nonzero(peaks)
        at, chance = maps[image, :, row, column].T, score[image, row, column]
        y, x = (
            STRIDE * (cell + np.clip(offset, -1.5, 1.5)) + (STRIDE - 1) / 2
            for cell, offset in ((row, at[2]), (column, at[3]))
        )
        length, width = np.exp(np.clip(at[4:6], -1.0, 1.0))
        look = [
            channels[image, :, row >> halvings, column >> halvings]
            for halvings, channels in enumerate(looks)
        ]
        angle = 0.5 * np.arctan2(at[7], at[6])
        heads = np.column_stack([y, x, chance, length, width, angle, *look])
        order = np.lexsort((-chance, image))
        ends = np.searchsorted(image, np.arange(1, len(maps)))
        return np.split(heads[order].astype(np.float32), ends)


@cache
def shipped(exact: bool = True, looks: bool = False) -> HeadNetwork:
    """The network that comes with fgaf.

    Parameters
    ----------
    exact, looks
        See `HeadNetwork`.
    """
    data = resources.files("fgaf.curate.detection").joinpath("heads.npz").read_bytes()
    with np.load(io.BytesIO(data)) as file:
        return HeadNetwork(dict(file), exact, looks)
