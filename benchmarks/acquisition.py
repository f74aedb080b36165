"""How much time acquisition adds to what camera, drive and disk need, and what it is compared to.

Devices that only wait stand in for a camera and a drive, so that their own time is known exactly.
Numbers are medians; the machine's other work shows in them. Nothing here is a test.

Run ``python benchmarks/acquisition.py [--seconds 120] [--repeats 20]``.
"""

# ruff: noqa: ARG002, D102 - the protocols say what the methods of the devices do

from __future__ import annotations

import argparse
import logging
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf import FgafError
from fgaf.acquire import Devices, Engine, Frame, StackPlan, Sweep, SweepSettings, load_rig, open_rig
from fgaf.acquire.control.engine import Exposure
from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import WallClock
from fgaf.acquire.recording.writing import BackgroundWriter
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.dataset import RawHeader, RawWriter

SHAPE = (1200, 1920)
LINE_S = 1 / 41
EXPOSURE_S, MOVE_S, SETTLE_S = 0.005, 0.010, 0.020
PLAN = StackPlan(0.5, 2.0, 10.0)
DEPTH = 55

Image = npt.NDArray[np.uint8]


def noise() -> list[Image]:
    """Eight frames that differ, as two exposures do."""
    random = np.random.default_rng(0)
    base = np.clip(random.normal(150, 8, SHAPE), 0, 255).astype(np.uint8)
    return [np.roll(base, shift, axis=0) for shift in range(8)]


FRAMES = noise()


class TimedStage:
    """A drive of which every move takes the same time."""

    name = "timed stage"
    limits_um = (-100.0, 100.0)

    def __init__(self) -> None:
        self._at = self._to = 0.0
        self._arrives_s = 0.0
        self.waited_s = 0.0

    def position_um(self) -> float:
        return self._to if time.perf_counter() >= self._arrives_s else self._at

    def move_to(self, z_um: float) -> None:
        self._at, self._to = self.position_um(), z_um
        self._arrives_s = time.perf_counter() + MOVE_S
        self.waited_s += MOVE_S

    def moving(self) -> bool:
        return time.perf_counter() < self._arrives_s

    def stop(self) -> None:
        self._arrives_s = 0.0

    def close(self) -> None:
        pass


class TimedCamera:
    """A camera of which every exposure takes the same time."""

    name = "timed camera"
    shape = SHAPE
    bit_depth = 8

    def __init__(self, clock: WallClock) -> None:
        self._clock, self._count = clock, 0

    def start(self) -> None:
        self._count = 0

    def trigger(self, timeout_s: float) -> Frame:
        begun_ns = self._clock.now_ns()
        expose(FRAMES[0])
        self._count += 1
        pixels = FRAMES[self._count % len(FRAMES)]
        middle_ns = begun_ns + round(EXPOSURE_S * 5e8)
        return Frame(pixels, self._count, 0, middle_ns, EXPOSURE_S * 1e6)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def expose(_image: Image) -> None:
    """Take exactly the exposure's time: sleep most of it and watch the clock for the rest."""
    end_s = time.perf_counter() + EXPOSURE_S
    time.sleep(EXPOSURE_S - 0.001)
    while time.perf_counter() < end_s:
        pass


def header(planes: int) -> RawHeader:
    """Describe a stack of so many planes."""
    return RawHeader.new(step_um=0.5, half_range_um=(planes - 1) / 4, center_um=0.0, bit_depth=8)


def engine_stack(folder: Path, settle_s: float) -> tuple[float, float]:
    """Seconds for one stack with its file, from the first move to the last plane, and physics."""
    clock, stage = WallClock(), TimedStage()
    devices = Devices(TimedCamera(clock), stage, clock)
    engine = Engine(
        devices,
        CameraTable(driver="timed", exposure_ms=EXPOSURE_S * 1e3),
        StageTable(driver="timed", settle_ms=settle_s * 1e3, approach_um=0),
    )
    path = folder / "engine.stack.h5"
    with RawWriter(path, header(len(PLAN)), (len(PLAN), *SHAPE), np.uint8) as writer:
        begun_s = time.perf_counter()
        with BackgroundWriter(writer) as background:
            for exposure in engine.expose(PLAN):
                background.put(exposure)
            took_s = time.perf_counter() - begun_s
        writer.publish()
    path.unlink()
    return took_s, stage.waited_s + len(PLAN) * (EXPOSURE_S + settle_s)


class NoWait(WallClock):
    """A clock on which no wait takes time."""

    def sleep(self, seconds: float) -> None:
        pass


class InstantCamera(TimedCamera):
    """A camera that exposes in no time."""

    def trigger(self, timeout_s: float) -> Frame:
        self._count += 1
        stamp_ns = self._clock.now_ns() + 1000
        return Frame(FRAMES[self._count % len(FRAMES)], self._count, 0, stamp_ns, 0.0)


class InstantStage(TimedStage):
    """A drive that is there at once."""

    def moving(self) -> bool:
        return False

    def position_um(self) -> float:
        return self._to


def engine_code_ms() -> float:
    """Processor time that the engine and its checks take a plane when nothing is waited for."""
    clock, plan = NoWait(), StackPlan(0.5, 50.0, 0.0)
    engine = Engine(
        Devices(InstantCamera(clock), InstantStage(), clock),
        CameraTable(driver="instant"),
        StageTable(driver="instant", approach_um=0),
    )
    begun_s = time.thread_time()
    for _ in engine.expose(plan):
        pass
    return 1e3 * (time.thread_time() - begun_s) / len(plan)


def micromanager_stack() -> tuple[float, float] | None:
    """Seconds for the same plan in pymmcore-plus's engine with the same devices, no file."""
    try:
        from pymmcore_plus.experimental.unicore import CameraDevice, StageDevice, UniMMCore
        from useq import MDASequence
    except ImportError:
        return None

    logging.getLogger("pymmcore-plus").setLevel(logging.CRITICAL)  # it misses device adapters

    class Stage(StageDevice):
        def __init__(self) -> None:
            super().__init__()
            self.timed = TimedStage()

        def home(self) -> None:
            pass

        def stop(self) -> None:
            pass

        def set_origin(self) -> None:
            pass

        def set_position_um(self, val: float) -> None:
            self.timed.move_to(val)

        def get_position_um(self) -> float:
            return self.timed.position_um()

        def busy(self) -> bool:
            return self.timed.moving()

    class Camera(CameraDevice):
        def get_exposure(self) -> float:
            return EXPOSURE_S * 1e3

        def set_exposure(self, exposure: float) -> None:
            pass

        def shape(self) -> tuple[int, int]:
            return SHAPE

        def dtype(self) -> Any:
            return np.uint8

        def start_sequence(self, n: int | None, get_buffer: Any) -> Iterator[Mapping[str, Any]]:
            for number in range(n or 1):
                buffer = get_buffer(SHAPE, np.uint8)
                expose(FRAMES[0])
                buffer[:] = FRAMES[number % len(FRAMES)]
                yield {}

    core = UniMMCore()
    stage = Stage()
    core.loadPyDevice("Z", stage)
    core.loadPyDevice("Camera", Camera())
    core.initializeAllDevices()
    core.setFocusDevice("Z")
    core.setCameraDevice("Camera")
    core.setAutoShutter(False)
    sequence = MDASequence(z_plan={"absolute": list(PLAN)}, channels=[])
    frames: list[float] = []
    core.mda.events.frameReady.connect(lambda *_: frames.append(time.perf_counter()))
    begun_s = time.perf_counter()
    core.mda.run(sequence)
    took_s = frames[-1] - begun_s if frames else float("nan")
    if len(frames) != len(PLAN):
        raise RuntimeError(f"{len(frames)} frames came, not {len(PLAN)}")
    return took_s, stage.timed.waited_s + len(PLAN) * EXPOSURE_S


def sweep_times() -> tuple[float, float]:
    """Frame times from the first to the last exposure of a swept stack, by the simulated clock."""
    rig = load_rig("sim", ("simulation.shape=[1200, 64]", "simulation.cells=0"))
    with open_rig(rig) as devices:
        sweep = Sweep(devices, rig.camera, rig.stage, SweepSettings())
        times = [exposure.frame.time_host_ns for exposure in sweep.expose(StackPlan(0.5, 2.0))]
        interval_s = sweep.speed_um_s(PLAN)
    took_s = (times[-1] - times[0]) / 1e9 + rig.camera.exposure_ms / 1e3
    return took_s * interval_s / PLAN.step_um, took_s


def at_line_rate(folder: Path, seconds: float, compress: bool) -> dict[str, float]:
    """Record 41 frames a second on one core in a process of its own: is any late, what grows."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_at_line_rate, folder, seconds, compress).result()


def _at_line_rate(folder: Path, seconds: float, compress: bool) -> dict[str, float]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    planes = round(seconds / LINE_S)
    path = folder / "line.stack.h5"
    fields = fields_of_cells() if compress else FRAMES
    shape = (planes, *SHAPE)
    with RawWriter(path, header(planes), shape, np.uint8, compress=compress) as writer:
        before_mb, busy_s = memory_mb(), time.process_time()
        begun_s = time.perf_counter()
        waits, waiting, memory = [], [], []
        with BackgroundWriter(writer) as background:
            for plane in range(planes):
                due_s = begun_s + plane * LINE_S
                time.sleep(max(0.0, due_s - time.perf_counter()))
                pixels = fields[plane % len(fields)].copy()  # as a driver gives it: new memory
                frame = Frame(pixels, plane, 0, plane, 5000.0)
                asked_s = time.perf_counter()
                background.put(Exposure(plane, plane / 2, plane / 2, frame))
                waits.append(time.perf_counter() - asked_s)
                waiting.append(background.n_waiting)
                memory.append(memory_mb())
        ended_s = time.perf_counter() - begun_s
        busy_s = time.process_time() - busy_s
        writer.publish()
        sealed_s = time.perf_counter() - begun_s - ended_s
    size = path.stat().st_size
    path.unlink()
    return {
        "planes": planes,
        "dropped: waits longer than the next frame": sum(wait > LINE_S for wait in waits),
        "longest wait of the camera, ms": 1e3 * max(waits),
        f"most planes waiting, of {DEPTH}": max(waiting),
        "written behind the last frame, ms": 1e3 * (ended_s - (planes - 1) * LINE_S),
        "to publish, s": sealed_s,
        "share of one core": busy_s / ended_s,
        "memory grown by at most, MB": max(memory) - before_mb,
        "smaller by": planes * FRAMES[0].nbytes / size,
    }


class StuckWriter:
    """A writer whose disk never answers."""

    path = Path("stuck")

    def __init__(self) -> None:
        self._never = threading.Event()

    def write(self, *_: Any, **__: Any) -> None:
        self._never.wait(5)
        raise OSError("the disk is gone")


def memory_when_the_disk_is_stuck() -> tuple[int, float]:
    """Planes that a stuck disk leaves in memory until the stop, and the memory they take."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_memory_when_the_disk_is_stuck).result()


def _memory_when_the_disk_is_stuck() -> tuple[int, float]:
    before_mb = memory_mb()
    background = BackgroundWriter(StuckWriter(), depth=DEPTH, timeout_s=0.5)  # type: ignore[arg-type]
    taken = 0
    with suppress(FgafError), background:
        for plane in range(10 * DEPTH):
            frame = Frame(FRAMES[0].copy(), plane, 0, plane, 5000.0)
            background.put(Exposure(plane, 0.0, 0.0, frame))
            taken += 1
    return taken, memory_mb() - before_mb


def flat_out(folder: Path, planes: int = 200) -> dict[str, float]:
    """Write planes as a stack and the same bytes by write() and fsync: how long each takes.

    Seconds, and those of this process's processor time, until the stack's planes are on the disk,
    until it is published, and until the bytes are on the disk.
    """
    path, raw = folder / "flat.stack.h5", folder / "raw"
    spent = {}
    watch = Watch()
    with RawWriter(path, header(planes), (planes, *SHAPE), np.uint8) as writer:
        watch.restart()
        for plane in range(planes):
            writer.write(
                plane,
                FRAMES[plane % 8],
                z_requested_um=plane,
                z_measured_um=plane,
                time_device_ns=plane,
                time_host_ns=plane,
                frame_id=plane,
                exposure_us=5000.0,
            )
        writer.sync()
        spent["stack"], spent["stack, processor"] = watch.read()
        writer.publish()
        spent["published"], spent["published, processor"] = watch.read()
    path.unlink()
    watch.restart()
    with raw.open("wb", buffering=0) as handle:
        for plane in range(planes):
            handle.write(FRAMES[plane % 8].data)
        os.fsync(handle.fileno())
    spent["raw"], spent["raw, processor"] = watch.read()
    raw.unlink()
    return spent


class Watch:
    """Real time, and this process's processor time, since the start."""

    def restart(self) -> None:
        self._begun = (time.perf_counter(), time.process_time())

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._begun[0], time.process_time() - self._begun[1]


@cache
def fields_of_cells() -> list[Image]:
    """Rendered fields of cells with camera noise, as compression will meet them."""
    scene = Scene(SimulationSettings())
    return [scene.expose(k / 10, EXPOSURE_S, 0.3)[0] for k in range(3)]


def compression() -> Iterator[str]:
    """Speed and gain of deflate, which every HDF5 has, on a rendered field."""
    data = fields_of_cells()[0].tobytes()
    ways = {"level 1": zlib.Z_DEFAULT_STRATEGY, "Huffman codes only": zlib.Z_HUFFMAN_ONLY}
    for name, strategy in ways.items():
        times = []
        for _ in range(5):
            begun_s = time.perf_counter()
            packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, strategy)
            packed = packer.compress(data) + packer.flush()
            times.append(time.perf_counter() - begun_s)
        rate = len(data) / statistics.median(times) / 1e6
        yield f"deflate, {name:<20} {rate:6.0f} MB/s, {len(data) / len(packed):.2f} times smaller"


def memory_mb() -> float:
    """Memory of this process now; where the system does not say, the largest it has had."""
    if (told := Path("/proc/self/statm")).exists():
        return int(told.read_text().split()[1]) * resource.getpagesize() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def overhead(name: str, runs: list[tuple[float, float]]) -> str:
    """Compare the median of runs with what the devices alone need, as one line."""
    took = statistics.median(took for took, _ in runs)
    physics = runs[0][1]
    extra = statistics.median(took - physics for took, physics in runs)
    return (
        f"{name:<28} {took * 1e3:7.1f} ms, physics {physics * 1e3:.1f} ms, "
        f"overhead {extra / physics:.1%}, {extra * 1e3 / len(PLAN):.2f} ms a plane"
    )


def disk_rates(runs: list[dict[str, float]]) -> Iterator[str]:
    """Compare writing a stack with write() and fsync of the same bytes, run by run."""
    size = 200 * FRAMES[0].nbytes / 1e6
    raw_s = statistics.median(run["raw"] for run in runs)
    yield f"flat out: write() and fsync {size / raw_s:.0f} MB/s, the camera 94 MB/s"
    for what in ("stack", "published"):
        ratio = statistics.median(run["raw"] / run[what] for run in runs)
        took_s = statistics.median(run[what] for run in runs)
        busy = statistics.median(run[f"{what}, processor"] for run in runs) / 0.2
        raw_busy = statistics.median(run["raw, processor"] for run in runs) / 0.2
        yield (
            f"flat out: {what:<10} {size / took_s:5.0f} MB/s, ratio {ratio:.2f}; "
            f"processor {busy:.2f} ms a plane, write() alone {raw_busy:.2f}"
        )


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of writing at line rate")
    parser.add_argument("--repeats", type=int, default=20, help="of every stack")
    parser.add_argument("--folder", type=Path, help="the disk to write to [default: temporary]")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=settings.folder) as name:
        folder = Path(name)
        print(f"{len(PLAN)} planes of {SHAPE[0]} x {SHAPE[1]}, medians of {settings.repeats}")
        for name, settle_s in (
            ("engine, checked and written", SETTLE_S),
            ("same, no settling", 0.0),
        ):
            runs = [engine_stack(folder, settle_s) for _ in range(settings.repeats)]
            print(overhead(name, runs))
        code_ms = statistics.median(engine_code_ms() for _ in range(settings.repeats))
        print(
            f"engine and its checks: {code_ms:.3f} ms of processor time a plane, the rest is waits"
        )
        others = [micromanager_stack() for _ in range(settings.repeats)]
        found = [each for each in others if each is not None]
        if found:
            print(overhead("pymmcore-plus, not written", found))
        frame_times, _ = sweep_times()
        print(f"sweep: first to last exposure {frame_times:.2f} frame times for {len(PLAN)} planes")
        for line in disk_rates([flat_out(folder) for _ in range(settings.repeats)]):
            print(line)
        for compress in (False, True):
            found = at_line_rate(folder, settings.seconds, compress)
            for what, value in found.items():
                print(f"41 frames/s{', compressed' * compress}: {what}: {value:.3g}")
        taken, grown_mb = memory_when_the_disk_is_stuck()
        print(f"disk stuck: stops after {taken} planes, memory grown by {grown_mb:.0f} MB")
        for line in compression():
            print(line)


if __name__ == "__main__":
    main()
