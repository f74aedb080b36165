"""Eight-bit arithmetic for an exported network, calibrated on training patches."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.model.deploy.graph import INPUT

_KINDS = ["Conv", "Gemm"]
_AT_ONCE = 32


def quantise(model: Any, patches: npt.NDArray[Any]) -> Any:
    """Give an ONNX model eight-bit convolutions and linear layers.

    Weights are scaled per output channel, activations by their range on the patches. The steps
    before and after the network stay in float32.

    Parameters
    ----------
    model
        An onnx.ModelProto, from `fgaf.model.deploy.graph.onnx_model`.
    patches
        (N, S, S) patches of training cells.

    Returns
    -------
    onnx.ModelProto
        With QuantizeLinear and DequantizeLinear around the layers.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory(prefix="fgaf-int8-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the quantiser's own
        plain, small = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save_model(model, plain)
        quiet = logging.getLogger()
        level = quiet.level
        quiet.setLevel(logging.ERROR)  # it advises steps that the exporter has taken
        try:
            quantize_static(
                plain,
                small,
                _Patches(patches),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=_KINDS,
            )
        finally:
            quiet.setLevel(level)
        return onnx.load_model(small)


class _Patches:
    """Feeds patches to the calibration in batches."""

    def __init__(self, patches: npt.NDArray[Any]) -> None:
        self._parts: Iterator[npt.NDArray[Any]] = iter(
            np.split(patches, range(_AT_ONCE, len(patches), _AT_ONCE))
        )

    def get_next(self) -> dict[str, npt.NDArray[np.uint16]] | None:
        """The next patches by the input's name; None after the last."""
        part = next(self._parts, None)
        return None if part is None else {INPUT: part.astype(np.uint16)}
