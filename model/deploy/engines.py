"""The two runtimes that exported models run on: OpenVINO, and ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fgaf.dataset.errors import FormatError
from fgaf.model.extras import require

Patches = npt.NDArray[Any]
Outputs = tuple[npt.NDArray[np.float32], ...]

CARD, VERSION = "fgaf", "fgaf_version"
"""Names of the card and of the format's version in a model's metadata."""
_PLACES = {".onnx": ["framework"], ".xml": []}
_PRECISION = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_OUTPUTS = 4
_TRIES = 17


class Engine(Protocol):
    """A model that is loaded and can be run."""

    def metadata(self) -> dict[str, str]:
        """What the file says of itself, `CARD` and `VERSION`; empty for a model of others."""
        ...

    def start(self, precision: str, patch_px: int) -> None:
        """Make ready to run patches of a size."""
        ...

    def run(self, patches: Patches) -> Outputs:
        """Run (N, S, S) patches: depth, spread, probabilities and novelty, N along each."""
        ...


def threads_that_may_pay() -> int:
    """Threads for one patch at a time, at most: two, where there are two processor cores."""
    return min(2, os.cpu_count() or 1)


class OpenVino:
    """A model on OpenVINO: one patch through a network compiled for one, others in batches.

    Parameters
    ----------
    path : .onnx, or .xml with its .bin beside it
    threads : of the processor; None for one or two, whichever `start` finds faster for one patch:
        small networks lose more by sharing their work than they gain
    """

    def __init__(self, path: Path, threads: int | None) -> None:
        require("openvino", extra="deploy")
        import openvino

        self._core = openvino.Core()
        self._threads = threads
        self._place = _PLACES[path.suffix.lower()]
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise FormatError(f"{path} is damaged: OpenVINO cannot read it") from error

    def metadata(self) -> dict[str, str]:
        """See `Engine`."""
        found = {}
        for key in (CARD, VERSION):
            if self._model.has_rt_info([*self._place, key]):
                found[key] = str(self._model.get_rt_info([*self._place, key]).astype(str))
        return found

    def start(self, precision: str, patch_px: int) -> None:
        """See `Engine`."""
        import openvino

        self._config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISION[precision],
        }
        # The CPU's int8 kernels take no 16-bit input; float32 holds these grey values exactly.
        self._model.inputs[0].get_node().set_element_type(openvino.Type.f32)
        self._model.validate_nodes_and_infer_types()
        single = self._model.clone()
        single.reshape([1, patch_px, patch_px])
        self._patch = np.zeros((1, patch_px, patch_px), np.float32)
        choices = [self._threads] if self._threads else range(1, threads_that_may_pay() + 1)
        requests = {threads: self._request(single, threads) for threads in choices}
        threads = next(iter(requests))
        if len(requests) > 1:
            threads = min(requests, key=lambda n: self._timed(requests[n]))
        self._single = requests[threads]
        self._config["INFERENCE_NUM_THREADS"] = threads
        self._answers = [self._single.get_output_tensor(k).data for k in range(_OUTPUTS)]
        self._many: Any = None

    def _request(self, single: Any, threads: int) -> Any:
        """Compile the network for one patch, which it takes from `_patch`."""
        import openvino

        config = self._config | {"INFERENCE_NUM_THREADS": threads}
        request = self._core.compile_model(single, "CPU", config).create_infer_request()
        request.set_input_tensor(openvino.Tensor(self._patch, shared_memory=True))
        return request

    @staticmethod
    def _timed(request: Any) -> float:
        """Seconds that one patch takes, the median of some, the first left out."""
        seconds = []
        for _ in range(_TRIES):
            begun = perf_counter()
            request.infer()
            seconds.append(perf_counter() - begun)
        return median(seconds[2:])

    def run(self, patches: Patches) -> Outputs:
        """See `Engine`."""
        if len(patches) == 1:
            self._patch[:] = patches
            self._single.infer()
            return tuple(answer.copy() for answer in self._answers)
        if self._many is None:
            compiled = self._core.compile_model(self._model, "CPU", self._config)
            self._many = compiled.create_infer_request()
        answers = self._many.infer([np.ascontiguousarray(patches, dtype=np.float32)])
        return tuple(answers[k].copy() for k in range(_OUTPUTS))


class OnnxRuntime:
    """A model on ONNX Runtime.

    Parameters
    ----------
    path : .onnx
    threads : of the processor; None for one or two
    """

    def __init__(self, path: Path, threads: int | None) -> None:
        require("onnxruntime", extra="export")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or threads_that_may_pay()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # each of its errors is a class of its own
            raise FormatError(f"{path} is damaged: ONNX Runtime cannot read it") from error

    def metadata(self) -> dict[str, str]:
        """See `Engine`."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def start(self, precision: str, patch_px: int) -> None:
        """See `Engine`; the session is ready."""

    def run(self, patches: Patches) -> Outputs:
        """See `Engine`."""
        (name,) = (value.name for value in self._session.get_inputs())
        answers = self._session.run(None, {name: np.ascontiguousarray(patches, dtype=np.uint16)})
        return tuple(answers)
