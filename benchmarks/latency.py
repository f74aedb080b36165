"""Latency of one patch, from uint8 to µm or a mask: exports beside PyTorch and the bare runtime.

    python benchmarks/latency.py

The networks are untrained: weights do not change how long they take. Per network, these take
turns, a few calls each, so that whatever else the machine does meets all:

eager      the checkpoint as `fgaf-predict run` uses it, in PyTorch, one view
fp32, ...  the exported file as `fgaf-predict model.xml` uses it
bare       OpenVINO's own loop on the graph as it stands in the file: one request, `infer()`

All use the same number of threads. Medians of the clock; behind them, in brackets, medians of the
processor's time, which other programs on the machine change less. `benchmark_app`, OpenVINO's
tool, is run after each network, in turns with the export, on the graph as it stands in the file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import openvino
import torch

from fgaf.dataset.storage.optics import Optics
from fgaf.model.deploy.export import ExportSettings, build
from fgaf.model.deploy.exported import load_export
from fgaf.model.deploy.graph import onnx_model
from fgaf.model.inference.checkpoint import Checkpoint, build_network
from fgaf.model.inference.images import Scale
from fgaf.model.inference.out_of_distribution import learn
from fgaf.model.inference.predict import Predictor
from fgaf.model.inference.segment import Segmenter
from fgaf.model.networks.settings import SEGMENTER_NAMES, TrainSettings, preset

SIDE, CLASSES = 96, 9
TARGETS_MS = {
    "resnet34": 6.0,
    "resnet50": 8.0,
    "shufflenet_v2_x1_0": 1.0,
    "unext": 1.2,
    "unext_s": 0.5,
}
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
CALLS = 5


@dataclass
class Contender:
    """One way to get from a patch to µm, and how long its calls took."""

    call: Callable[[], object]
    clock_ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)

    def turn(self, keep: bool) -> None:
        """Call it a few times; the first call of a turn warms the caches up again."""
        for number in range(CALLS + 1):
            clock, processor = time.perf_counter(), time.process_time()
            self.call()
            if keep and number:
                self.clock_ms.append(1e3 * (time.perf_counter() - clock))
                self.processor_ms.append(1e3 * (time.process_time() - processor))


def untrained(backbone: str, patches: np.ndarray) -> Checkpoint:
    """A checkpoint with random weights; for depth with FGAF where the default places it."""
    if backbone in SEGMENTER_NAMES:
        settings = preset("heads").with_values({"backbone": backbone})
    else:
        settings = TrainSettings(backbone=backbone, view=0.5, stem_stride=1, tta=False)
    torch.manual_seed(0)
    network = build_network(settings, CLASSES)
    scale = Scale.of(patches, "level")
    return Checkpoint(
        settings=settings,
        weights=network.state_dict(),
        scale=scale,
        step_um=0.5,
        half_range_um=2.0,
        patch_px=SIDE,
        optics=Optics(),
        archive_name="",
        archive_fingerprint="",
        epoch=0,
        familiar=None if settings.task == "heads" else learn(settings, scale, patches, patches),
    )


def read(model: Any, patch: np.ndarray) -> Callable[[], object]:
    """What a model of either task does with a patch."""
    return partial(model.shares if model.card.task == "heads" else model.predict, patch)


def bare(path: Path, precision: str, threads: int, patch: np.ndarray) -> Callable[[], object]:
    """OpenVINO's own loop on a file, all that can be done once done before."""
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, SIDE, SIDE])
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": threads,
    }
    request = core.compile_model(model, "CPU", config).create_infer_request()
    request.set_input_tensor(openvino.Tensor(patch.astype(np.float32)))
    return request.infer


def tool_ms(path: Path, precision: str, threads: int, seconds: int) -> float:
    """Median latency by `benchmark_app`, OpenVINO's own tool."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(Path(sys.executable).with_name("benchmark_app")),
            *("-m", str(path), "-d", "CPU", "-hint", "none", "-nstreams", "1", "-api", "sync"),
            *("-shape", f"[1,{SIDE},{SIDE}]", "-nthreads", str(threads), "-t", str(seconds)),
            *("-infer_precision", PRECISIONS[precision]),
            *("-report_type", "no_counters", "-json_stats", "-report_folder", folder),
        ]
        subprocess.run(command, check=True, capture_output=True)
        report = json.loads((Path(folder) / "benchmark_report.json").read_text())
    return float(report["execution_results"]["latency (ms)"])


def measure(backbone: str, threads: int, rounds: int, tool_seconds: int) -> None:
    """Measure one network and print its lines."""
    rng = np.random.default_rng(0)
    patches = rng.normal(120, 8, (64, SIDE, SIDE)).clip(0, 255).astype(np.uint8)
    patch = patches[:1]
    checkpoint = untrained(backbone, patches)
    heads = checkpoint.settings.task == "heads"
    eager = Segmenter(checkpoint, tta=False) if heads else Predictor(checkpoint, tta=False)
    contenders = {"eager": Contender(read(eager, patch))}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for precision in PRECISIONS:
            path = Path(folder) / f"{precision}.xml"
            settings = ExportSettings(to="openvino", precision=precision)
            build(path, onnx_model(checkpoint, False, precision), checkpoint, settings, patches)
            files[precision] = path
            contenders[precision] = Contender(read(load_export(path, threads), patch))
            contenders[f"bare {precision}"] = Contender(bare(path, precision, threads, patch))
        for number in range(rounds + 2):
            for contender in contenders.values():
                contender.turn(keep=number >= 2)
        clock = {name: median(c.clock_ms) for name, c in contenders.items()}
        busy = {name: median(c.processor_ms) for name, c in contenders.items()}
        name = backbone if heads else f"{backbone} + FGAF"
        print(f"{name}, {threads} thread(s); target {TARGETS_MS.get(backbone, '-')} ms")
        print(f"  eager          {clock['eager']:7.2f} ms ({busy['eager']:.2f})")
        for precision in PRECISIONS:
            ours, other = clock[precision], clock[f"bare {precision}"]
            line = (
                f"  {precision:5} fgaf     {ours:7.2f} ms ({busy[precision]:.2f}), bare "
                f"{other:.2f} ms ({busy[f'bare {precision}']:.2f}): {ours / other:.2f} x bare, "
                f"{clock['eager'] / ours:.1f} x faster than eager"
            )
            if tool_seconds:
                ratios, tools = [], []
                for _ in range(3):
                    tools.append(tool_ms(files[precision], precision, threads, tool_seconds))
                    again = Contender(contenders[precision].call)
                    stop = time.perf_counter() + tool_seconds
                    while time.perf_counter() < stop:
                        again.turn(keep=True)
                    ratios.append(median(again.clock_ms) / tools[-1])
                line += f"; benchmark_app {median(tools):.2f} ms: {median(ratios):.2f} x that"
            print(line, flush=True)


def main() -> None:
    """Measure the networks that have a target, or those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(TARGETS_MS))
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--tool-seconds", type=int, default=3, help="0: without benchmark_app")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for backbone in chosen.networks:
        measure(backbone, chosen.threads, chosen.rounds, chosen.tool_seconds)


if __name__ == "__main__":
    main()
