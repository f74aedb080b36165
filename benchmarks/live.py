"""How fast the live loop is: frames per second, latency, drops and memory, end to end.

A second of the simulated microscope, 1920 x 1200 with ten swimming cells among debris, is drawn at
164 frames/s and then played from memory by a camera in real time: all frames, more than the loop
can take, and every fourth, 41 frames/s. There each frame comes 24 ms of readout after its exposure,
as from a camera of that size; the latency counts from the middle of the exposure. The specimen's
time swings like a pendulum, at its own rate in the middle: cells neither jump nor turn at once, and
the same frames are played forwards and backwards.

Beside the loop stand, in the same run: the loop with PyTorch's eager network in place of MODEL
(where MODEL is an export and --checkpoint is given), the search for heads
(`fgaf.curate.detection.detect`) in every whole frame, and the processor time of following the cells
and searching a strip, without a depth (with --tracker this alone). With --heads only that processor
time and the loop at 164 frames/s are measured, with places from segmented heads and without, in
turns.

Run ``python benchmarks/live.py MODEL [--checkpoint RUN] [--seconds 10] [--soak 600]``, or
``python benchmarks/live.py [MODEL] [--tracker] --heads RUN [--turns 3]``.
"""

# ruff: noqa: D102 - the protocols say what the methods of the devices do

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from fgaf.acquire import Devices, Frame, Rig, WallClock, load_rig
from fgaf.acquire.simulation.scene import Scene
from fgaf.curate.detection.detect import detect
from fgaf.curate.detection.network import shipped
from fgaf.curate.detection.scale import HEAD_UM
from fgaf.model.inference.depth import DepthModel
from fgaf.model.inference.heads import HeadModel
from fgaf.model.live import Live
from fgaf.model.live.head_windows import HeadWindows
from fgaf.model.live.loop import open_live, open_live_heads
from fgaf.model.live.tracker import Tracker

SHAPE, CELLS = (1200, 1920), 10
RATE_HZ, EVERY, LOOP = 164, 4, 164
EXPOSURE_S, READOUT_S = 0.005, 0.0244
Image = npt.NDArray[np.uint8]


def drawn(cells: int, frames: int, keep: Path | None) -> list[Image]:
    """Draw a loop of frames, there and back in time, the drive 1 µm above the middle."""
    if keep is not None and keep.exists():
        some = np.load(keep)
    else:
        settings = load_rig(
            "sim", [f"simulation.cells={cells}", "simulation.margin_um=25"]
        ).simulation
        assert settings is not None
        scene = Scene(settings)
        swing = np.linspace(0, np.pi, frames)
        times_s = (frames - 1) / RATE_HZ * (1 - np.cos(swing)) / np.pi
        some = np.stack([scene.expose(time_s, EXPOSURE_S, 1.0)[0] for time_s in times_s])
        if keep is not None:
            np.save(keep, some)
    return [*some, *some[-2:0:-1]]


class Still:
    """A drive that stands."""

    name = "still drive"
    limits_um = (-50.0, 50.0)

    def position_um(self) -> float:
        return 1.0

    def move_to(self, z_um: float) -> None:
        raise AssertionError(f"nothing may move, least of all to {z_um}")

    def moving(self) -> bool:
        return False

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


class Player:
    """A camera that plays a loop, a frame every `interval_s`, read out in at most that time."""

    name, shape, bit_depth, stamp_error_s = "player", SHAPE, 8, 0.0

    def __init__(self, loop: list[Image], clock: WallClock, interval_s: float) -> None:
        self._loop, self._clock, self._interval_s = loop, clock, interval_s
        self._number, self._taken = 0, 0

    @property
    def frame_interval_s(self) -> float:
        return self._interval_s

    def start(self) -> None:
        self._begun_ns, self._number = self._clock.now_ns(), 0

    def stream(self, latest: bool = False) -> None:
        del latest
        self.start()

    def next_frame(self, timeout_s: float) -> Frame | None:
        """The frame's exposure began `interval_s` after the last one's; it comes after readout."""
        middle_ns = self._begun_ns + round((self._number * self._interval_s + EXPOSURE_S / 2) * 1e9)
        readout_s = min(READOUT_S, self._interval_s)
        ready_ns = middle_ns + round((EXPOSURE_S / 2 + readout_s) * 1e9)
        wait_s = (ready_ns - self._clock.now_ns()) / 1e9
        if wait_s > timeout_s:
            time.sleep(timeout_s)
            return None
        time.sleep(max(0.0, wait_s))
        self._number += 1
        pixels = self._loop[self._number % len(self._loop)]
        return Frame(pixels, self._number, 0, middle_ns, EXPOSURE_S * 1e6)

    def trigger(self, timeout_s: float) -> Frame:
        frame = self.next_frame(timeout_s)
        assert frame is not None
        return frame

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def run(
    model: DepthModel,
    rig: Rig,
    loop: list[Image],
    interval_s: float,
    seconds: float,
    heads: HeadModel | None = None,
) -> dict[str, Any]:
    """Run the loop for a while; the first second does not count."""
    clock = WallClock()
    devices = Devices(Player(loop, clock, interval_s), Still(), clock)
    live = Live(devices, rig, model, force=True, heads=heads)
    latencies, busy, cells = [], [], []
    begun_s, counted_s, cpu_s, dropped = None, 0.0, 0.0, 0
    memory: list[tuple[float, float]] = []
    for frame in live.frames():
        now_s = time.perf_counter()
        begun_s = now_s if begun_s is None else begun_s  # after the models were warmed up
        if now_s - begun_s < 1:
            counted_s, cpu_s, dropped = now_s, time.process_time(), frame.dropped
            continue
        latencies.append(frame.latency_ms)
        cells.append(sum(cell.depth_um is not None for cell in frame.cells))
        busy.append(frame.dropped)
        if not memory or now_s - memory[-1][0] > 5:
            memory.append((now_s, resident_mb()))
        if now_s - counted_s > seconds:
            break
    span_s = time.perf_counter() - counted_s
    return {
        "rate": len(latencies) / span_s,
        "cpu_ms": 1e3 * (time.process_time() - cpu_s) / len(latencies),
        "p50": float(np.percentile(latencies, 50)),
        "p99": float(np.percentile(latencies, 99)),
        "cells": float(np.median(cells)),
        "dropped": busy[-1] - dropped,
        "frames": len(latencies),
        "memory": [megabytes for _, megabytes in memory],
    }


def tracker_ms(
    rig: Rig, loop: list[Image], interval_s: float, heads: HeadModel | None = None
) -> tuple[float, int]:
    """Processor time per frame of following and searching, ms, and the cells followed."""
    pixel_um = float(rig.optics.pixel_size_um or np.nan)
    windows = None if heads is None else HeadWindows(heads, SHAPE, pixel_um, HEAD_UM[0])
    tracker = Tracker(SHAPE, pixel_um, HEAD_UM[0], shipped(exact=False), windows=windows)
    if windows is not None:
        windows.prepare()
    with threadpool_limits(1, "blas"):
        for number in range(2 * len(loop)):
            if number == len(loop):
                begun_s = time.process_time()
            frame, time_ns = loop[number % len(loop)], round((number + 1) * interval_s * 1e9)
            tracker.follow(frame, time_ns, Still().position_um())
            tracker.begin(tracker.search(frame, time_ns), time_ns)
    return 1e3 * (time.process_time() - begun_s) / len(loop), len(tracker.known)


def compare(
    model: DepthModel | None, heads: HeadModel, rig: Rig, loop: list[Image], options: Any
) -> None:
    """Print the rate and the processor time with segmented heads beside those without, in turns."""
    fast, slow = 1 / RATE_HZ, EVERY / RATE_HZ
    following: dict[bool, list[float]] = {False: [], True: []}
    runs: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for turn in range(2 * options.turns):
        segmented = turn % 2 == 1
        chosen = heads if segmented else None
        following[segmented].append(tracker_ms(rig, loop[::EVERY], slow, chosen)[0])
        if model is not None:
            runs[segmented].append(run(model, rig, loop, fast, options.seconds, chosen))
    without, with_heads = (median(following[key]) for key in (False, True))
    print(
        f"following and searching: {with_heads:.1f} ms of processor per frame with segmented "
        f"heads, {without:.1f} ms without: {with_heads / without:.2f} x"
    )
    for key, name in (("rate", "frames/s"), ("cpu_ms", "ms of processor per frame")):
        if runs[True]:
            before, after = (median(each[key] for each in runs[at]) for at in (False, True))
            print(f"{name}: {after:.1f} with segmented heads, {before:.1f} without", end=", ")
            print(f"ratio {after / before:.2f}", flush=True)


def resident_mb() -> float:
    """Resident memory of this process."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def say(name: str, done: dict[str, Any]) -> None:
    """Print one run."""
    print(
        f"{name:44} {done['rate']:6.1f} frames/s, {done['cells']:.0f} depths per frame, "
        f"{done['cpu_ms']:.1f} ms of processor per frame, latency {done['p50']:.1f} ms, "
        f"99 % within {done['p99']:.1f} ms, {done['dropped']} dropped of "
        f"{done['frames'] + done['dropped']}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="sim")
    parser.add_argument("--checkpoint", help="The run that MODEL was exported from.")
    parser.add_argument("--heads", help="Segments heads: measure with it and without.")
    parser.add_argument("--turns", type=int, default=3, help="Of each, with --heads.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--soak", type=float, default=0.0, help="So many seconds more, for memory.")
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--frames", type=int, default=LOOP, help="Length of the loop.")
    parser.add_argument("--keep", type=Path, help="Keep the drawn frames here (.npy).")
    parser.add_argument("--tracker", action="store_true", help="Only follow and search, no model.")
    options = parser.parse_args()
    rig, loop = load_rig("sim"), drawn(options.cells, options.frames, options.keep)
    fast, slow = 1 / RATE_HZ, EVERY / RATE_HZ
    if options.heads:
        model = None if options.tracker else open_live(options.model)
        compare(model, open_live_heads(options.heads), rig, loop, options)
        return
    spent_ms, known = tracker_ms(rig, loop[::EVERY], slow)
    print(
        f"following {known} cells and searching a strip  {spent_ms:.1f} ms of processor per frame"
    )
    if options.tracker:
        return
    model = open_live(options.model)
    say(f"at {RATE_HZ} frames/s", run(model, rig, loop, fast, options.seconds))
    if options.checkpoint:
        eager = open_live(options.checkpoint)
        say("  with PyTorch eager", run(eager, rig, loop, fast, options.seconds))
    times = []
    for image in loop[:5]:
        begun_s = time.perf_counter()
        detect(image, float(rig.optics.pixel_size_um or np.nan))
        times.append(time.perf_counter() - begun_s)
    print(f"  searching whole frames on one core           {1 / np.median(times):.1f} frames/s")
    loop = loop[::EVERY]
    say(f"at {1 / slow:g} frames/s", run(model, rig, loop, slow, options.seconds))
    if options.soak:
        done = run(model, rig, loop, slow, options.soak)
        say(f"at {1 / slow:g} frames/s for {options.soak:g} s", done)
        memory = done["memory"]
        tenth = max(1, len(memory) // 10)
        print(
            f"  resident memory {np.median(memory[:tenth]):.0f} MB in the first tenth, "
            f"{np.median(memory[-tenth:]):.0f} MB in the last"
        )


if __name__ == "__main__":
    main()
