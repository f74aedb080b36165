"""How much sooner several processes curate many stacks than one.

Simulated stacks of ±4 µm at 0.5 µm, one field mirrored four ways, are curated by ``fgaf-curate
auto`` with one worker and with several, alternately, so that what else the machine does falls on
both. Prints the time of each pair and its ratio, the processor time, and the most memory that one
process held; the journals must hold the same cells.

Run ``python benchmarks/workers.py [--stacks 8] [--workers 2] [--repeats 3] [--shape 1200 1920]``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.session.journal import read_journal
from fgaf.dataset.raw import RawHeader
from fgaf.dataset.whole_stack import write_whole_stack

HALF_RANGE_UM, STEP_UM = 4.0, 0.5
INTERVAL_NS = 33_000_000
MIRRORS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
MEASURED = """
import json, resource, sys
from fgaf.curate.commands.main import main
try:
    main(sys.argv[1:])
finally:
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = sum(use.ru_utime + use.ru_stime for use in (own, others))
    print(json.dumps([spent, max(own.ru_maxrss, others.ru_maxrss) / 1024]), file=sys.stderr)
"""  # noqa: E501


@dataclass(frozen=True)
class Cost:
    """Of one run: the time waited and the processor's, s, and the most memory of a process, MB."""

    waited_s: float
    processor_s: float
    memory_mb: float


def write_stacks(folder: Path, stacks: int, shape: tuple[int, int]) -> None:
    """Write stacks of different content; a new field after every four."""
    n = round(HALF_RANGE_UM / STEP_UM)
    z = np.arange(-n, n + 1) * STEP_UM
    for number in range(stacks):
        if number % len(MIRRORS) == 0:
            scene = Scene(SimulationSettings(seed=number, shape=shape, motile=False))
            frames = np.stack([scene.expose(0, 5e-3, float(height))[0] for height in z])
        down, right = MIRRORS[number % len(MIRRORS)]
        header = RawHeader.new(
            step_um=STEP_UM,
            half_range_um=HALF_RANGE_UM,
            center_um=0.0,
            bit_depth=8,
            optics=scene.settings.optics,
            sample_id=f"sample {number}",
        )
        times = np.arange(len(z)) * INTERVAL_NS
        planes = {
            "z_requested_um": z,
            "z_measured_um": z,
            "time_device_ns": times,
            "time_host_ns": times,
            "frame_id": np.arange(len(z)),
            "exposure_us": np.full(len(z), 5000.0),
        }
        path = folder / f"s{number:02d}.stack.h5"
        write_whole_stack(path, header, frames[:, ::down, ::right], planes)


def curate(raw: Path, out: Path, workers: int) -> Cost:
    """Curate a folder."""
    words = ["auto", str(raw), "--out", str(out), "--workers", str(workers), "--json"]
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], check=True, capture_output=True, text=True
    )
    waited = time.perf_counter() - begun
    return Cost(waited, *json.loads(done.stderr.splitlines()[-1]))


def cells_of(out: Path) -> list[dict[str, Any]]:
    """What a session holds, without times and names that are drawn."""
    records, _ = read_journal(out.with_suffix(".session"))
    return [{k: v for k, v in r.items() if k not in ("time_utc", "uuid")} for r in records]


def main() -> None:
    """Measure pairs and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=2, default=(1200, 1920), metavar=("Y", "X"))
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw"
        raw.mkdir()
        write_stacks(raw, options.stacks, tuple(options.shape))
        for repeat in range(options.repeats):
            outs = {n: Path(scratch) / f"{repeat}-{n}.h5" for n in (1, options.workers)}
            costs = {n: curate(raw, out, n) for n, out in outs.items()}
            if len({json.dumps(cells_of(out)) for out in outs.values()}) != 1:
                raise SystemExit("the sessions differ")
            one, several = costs[1], costs[options.workers]
            ratios.append(one.waited_s / several.waited_s)
            print(
                f"1 worker {one.waited_s:.1f} s, {options.workers} workers "
                f"{several.waited_s:.1f} s: {ratios[-1]:.2f} times as fast; processor "
                f"{one.processor_s:.1f} and {several.processor_s:.1f} s; a process held at most "
                f"{one.memory_mb:.0f} and {several.memory_mb:.0f} MB",
                flush=True,
            )
    print(f"median: {np.median(ratios):.2f} times as fast")


if __name__ == "__main__":
    main()
