"""How fast the loop of `fgaf-aspirate` is: frames per second, and time from exposure to command.

Frames of 1920 x 1200 with ten swimming cells are drawn once, and played from memory at 41 frames/s
as in `benchmarks/live.py`. The loop reads depths, follows a cell in x, y and z, moves a manipulator
and asks a pump, all simulated in real time, writes its file and serves its page, which another
process fetches ten times per second, as a browser does. The frames do not
answer to the stage, so that trials end while the cell is brought to the tip, and the next begins:
all parts work at all times. Give --heads for places from segmented heads.

Run ``python benchmarks/aspiration.py MODEL [--heads RUN] [--seconds 20] [--keep loop.npy]``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import h5py
from live import CELLS, EVERY, LOOP, RATE_HZ, Image, Player, drawn

from fgaf.acquire import Devices, WallClock, load_rig
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.drivers.simulated_manipulator import ManipulatorOptions, SimulatedManipulator
from fgaf.acquire.drivers.simulated_pump import PumpOptions, SimulatedPump
from fgaf.acquire.drivers.simulated_stage import SimulatedStage, StageOptions
from fgaf.acquire.drivers.simulated_xy_stage import SimulatedXYStage, XYStageOptions
from fgaf.acquire.interrupt import Interrupt
from fgaf.model.aspirate.loop import LoopSettings
from fgaf.model.aspirate.run import TrialOutputs
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.live.loop import open_live, open_live_heads

BROWSER = """
import http.client, json, sys, time
connection = http.client.HTTPConnection(sys.argv[1])
number = ""
while True:
    begun = time.monotonic()
    connection.request("GET", f"/snapshot?after={number}")
    state = json.load(connection.getresponse())
    if state["ended"] is not None:
        break
    number = state["frame"]["frame_id"] if state["frame"] else number
    time.sleep(max(0, 0.1 - (time.monotonic() - begun)))
"""
"""What the page in a browser asks of the run, in a process of its own."""


def devices_of(loop: list[Image]) -> Devices:
    """Simulated devices in real time, and the camera that plays."""
    clock = WallClock()
    return Devices(
        Player(loop[::EVERY], clock, EVERY / RATE_HZ),
        SimulatedStage(StageOptions(), clock),
        clock,
        SimulatedXYStage(XYStageOptions(), ((-1e4, 1e4), (-1e4, 1e4)), clock, 0.3, 1000.0),
        SimulatedManipulator(ManipulatorOptions(start_um=(0.0, 0.0, 20.0)), clock),
        SimulatedPump(PumpOptions(), clock),
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--heads")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--browsers", type=int, default=1, help="how many look at the page")
    parser.add_argument("--keep", type=Path, help="file of the drawn frames, for the next run")
    options = parser.parse_args()
    rig = load_rig("sim-aspiration", ["xy_stage.x_limits_um=[-9e3,9e3]"])
    pipette_map, stage_map = PipetteMap.simulated(rig), StageMap.simulated(rig)
    assert pipette_map is not None
    assert stage_map is not None
    loop = drawn(CELLS, LOOP, options.keep)
    procedure = AspirationSettings(approach_s=2, choose_s=600, heading_deg=180, apart_um=1)
    before = os.getloadavg()[0]
    with (
        ExitStack() as browsers,
        tempfile.TemporaryDirectory() as folder,
        patch("fgaf.model.aspirate.run.open_rig", lambda *_: devices_of(loop)),
    ):

        def say(line: str) -> None:
            address = line.removeprefix("page: http://").rstrip("/")
            for _ in range(options.browsers if address != line else 0):
                command = [sys.executable, "-c", BROWSER, address]
                browsers.enter_context(subprocess.Popen(command))

        done = TrialOutputs(page=0, out=Path(folder) / "trials.h5").run(
            rig,
            open_live(options.model),
            LoopSettings(trials=10_000, go=True, procedure=procedure),
            Interrupt(),
            pipette_map=pipette_map,
            stage_map=stage_map,
            heads=None if options.heads is None else open_live_heads(options.heads),
            frames=round(options.seconds * RATE_HZ / EVERY),
            say=say,
        )
        with h5py.File(Path(folder) / "trials.h5") as file:
            frames = file["frames"]
            delays_ms = (frames["commanded_ns"][:] - frames["time_ns"][:]) / 1e6
    print(
        f"{done.rate_hz:.1f} frames/s of 41, {done.dropped} of {done.frames + done.dropped} "
        f"dropped, "
        f"{len(done.results)} trials; from the middle of the exposure to the command "
        f"{done.command_p50_ms:.1f} ms, 99 % within {done.command_p99_ms:.1f} ms, "
        f"the slowest {delays_ms.max():.1f} ms, {(delays_ms > 60).sum()} over 60 ms; "
        f"load before: {before:.1f}"
    )


if __name__ == "__main__":
    main()
