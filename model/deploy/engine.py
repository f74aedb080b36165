"""What runs exported models: OpenVINO, for its own files and for ONNX."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.base.errors import FormatError
from fgaf.model.deploy.upsampling import fold_upsampling

Patches = npt.NDArray[Any]
Outputs = tuple[npt.NDArray[np.float32], ...]

CARD, VERSION = "fgaf", "fgaf_version"
"""Names of the card and of the format's version in a model's metadata."""
_PLACES = {".onnx": ["framework"], ".xml": []}
_PRECISION = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_TRIES = 17
_MANY = 64


def threads_that_may_pay() -> int:
    """Maximum number of threads for one patch: two, if there are two processor cores."""
    return min(2, os.cpu_count() or 1)


class Engine:
    """A model that is loaded: one patch runs alone; many are divided over the threads.

    One patch of the size of `start` is fastest; other sizes run if the model takes them.

    Parameters
    ----------
    path
        The file: .onnx, or .xml with its .bin beside it.
    threads
        Processor threads; None for two, if there are two. For one patch, one thread or all are
        used, whichever `start` measures as faster: a small network may be slower on several
        threads. Many patches are divided over the threads.
    """

    def __init__(self, path: Path, threads: int | None) -> None:
        import openvino

        self._core = openvino.Core()
        self._threads = threads
        self._place = _PLACES[path.suffix.lower()]
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise FormatError(
                f"{path} is damaged: OpenVINO cannot read it; export the run again"
            ) from error

    def metadata(self) -> dict[str, str]:
        """Metadata of the file, `CARD` and `VERSION`; empty for a model of other software."""
        found = {}
        for key in (CARD, VERSION):
            if self._model.has_rt_info([*self._place, key]):
                found[key] = str(self._model.get_rt_info([*self._place, key]).astype(str))
        return found

    def start(self, precision: str, patch_px: int) -> None:
        """Prepare to run patches of a size.

        Parameters
        ----------
        precision
            As in `fgaf.model.deploy.export.ExportSettings`.
        patch_px
            Side of a patch, pixels.
        """
        import openvino

        self._config = {"INFERENCE_PRECISION_HINT": _PRECISION[precision]}
        # The CPU's int8 kernels take no 16-bit input; float32 holds these grey values exactly.
        self._model.inputs[0].get_node().set_element_type(openvino.Type.f32)
        self._model.validate_nodes_and_infer_types()
        self._outputs = len(self._model.outputs)
        single = self._of_shape((1, patch_px, patch_px))
        self._patch = np.zeros((1, patch_px, patch_px), np.float32)
        most = self._threads or threads_that_may_pay()
        requests = {n: self._request(single, n) for n in {self._threads or 1, most}}
        alone = next(iter(requests))
        if len(requests) > 1:
            alone = min(requests, key=lambda n: self._timed(requests[n]))
        self._single = requests[alone]
        self._counts = (alone, most)
        self._answers = [self._single.get_output_tensor(k).data for k in range(self._outputs)]
        self._few: Any = None
        self._prepared: dict[tuple[int, ...], Any] = {}
        self._shares: list[Any] = []

    def _of_shape(self, shape: tuple[int, int, int]) -> Any:
        """The network for one shape (N, H, W) alone."""
        model = self._model.clone()
        model.reshape(shape)
        fold_upsampling(model)
        return model

    def _compiled(self, model: Any, threads: int, streams: int) -> Any:
        """Compile a network for a number of parallel requests, which share the threads."""
        counts = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
        return self._core.compile_model(model, "CPU", self._config | counts)

    def _request(self, single: Any, threads: int) -> Any:
        """Compile the network for one patch, which it takes from `_patch`."""
        import openvino

        request = self._compiled(single, threads, 1).create_infer_request()
        request.set_input_tensor(openvino.Tensor(self._patch, shared_memory=True))
        return request

    @staticmethod
    def _timed(request: Any) -> float:
        """Seconds per patch: the median of several, without the first."""
        seconds = []
        for _ in range(_TRIES):
            begun = perf_counter()
            request.infer()
            seconds.append(perf_counter() - begun)
        return median(seconds[2:])

    def run(self, patches: Patches) -> Outputs:
        """Run (N, H, W) patches: all outputs of the model, N along each."""
        if patches.shape == self._patch.shape:
            self._patch[:] = patches
            self._single.infer()
            return tuple(answer.copy() for answer in self._answers)
        values = np.ascontiguousarray(patches, dtype=np.float32)
        shared = len(values) >= _MANY and self._counts[1] > 1
        return self._shared(values) if shared else self._together(values)

    def prepare(self, shape: tuple[int, int, int]) -> None:
        """Compile the network for one shape of few patches: it then takes a third less time.

        Parameters
        ----------
        shape
            (N, H, W).
        """
        if shape not in self._prepared:
            model = self._of_shape(shape)
            self._prepared[shape] = self._compiled(model, self._counts[0], 1).create_infer_request()

    def _together(self, values: Patches) -> Outputs:
        """Run a few patches one by one, as for a live image, when the other threads are busy."""
        request = self._prepared.get(values.shape, self._few)
        if request is None:
            alone, _ = self._counts
            request = self._few = self._compiled(self._model, alone, 1).create_infer_request()
        answers = request.infer([values])
        return tuple(answers[k].copy() for k in range(self._outputs))

    def _shared(self, values: Patches) -> Outputs:
        """Run many patches, a share of them on each thread."""
        _, most = self._counts
        if not self._shares:
            compiled = self._compiled(self._model, most, most)
            self._shares = [compiled.create_infer_request() for _ in range(most)]
        for request, share in zip(self._shares, np.array_split(values, most), strict=True):
            request.start_async([share])
        for request in self._shares:
            request.wait()
        columns = (
            [r.get_output_tensor(k).data for r in self._shares] for k in range(self._outputs)
        )
        return tuple(np.concatenate(column) for column in columns)
