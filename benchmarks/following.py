"""How near its place in the frame, and how well in focus, a swimming cell is kept by --follow.

The simulated microscope swims cells in a specimen without end at 41 frames/s, in simulated time: a
frame's processing is taken to last 14 ms of it, so that results are 43 ms old, as on a real
computer, and do not hang on the speed of this one. Truth is known. One cell per seed and speed is
followed from rest; the first second, in which it is brought to the centre, is left out.

Three ways: the stage at velocities; a stage that only knows moves to positions; and as a rival,
moves to where the cell was in the last frame.

Run ``python benchmarks/following.py MODEL [--cells 6] [--seconds 10] [--speeds 50 100]
[--ways velocities]``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
from tracking import FRAME_S, Witness, rms

from fgaf.acquire import load_rig, open_rig
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.rig import Rig
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.world import World
from fgaf.dataset.truth import CellTruth
from fgaf.model.inference.depth import DepthModel
from fgaf.model.live import Live, LiveFrame, LiveSettings
from fgaf.model.live.goal import Goal
from fgaf.model.live.loop import open_live

PROCESSING_S = 0.014
GRACE_S = 1.0
PLAY_UM = 0.4
SHAPE = (640, 640)
FAR_UM = 5000.0
FIRST_S, NEAR_UM, FLAT_UM = 0.3, 4.0, 1.5
WAYS = ("velocities", "positions only", "last position")


class Plain:
    """A stage that only knows positions."""

    def __init__(self, stage: Any) -> None:
        self.name, self.limits_xy_um = stage.name, stage.limits_xy_um
        self.position_xy_um, self.move_xy_to = stage.position_xy_um, stage.move_xy_to
        self.moving_xy, self.stop, self.close = stage.moving_xy, stage.stop, stage.close


def rig_of(seed: int, speed: float, start_um: tuple[float, float] = (0.0, 0.0)) -> Rig:
    """The simulated microscope, at 41 frames/s, its stage at x, y."""
    return load_rig(
        "sim",
        [
            f"simulation.seed={seed}",
            f"simulation.shape={list(SHAPE)}",
            "simulation.cells=1",
            "simulation.debris=1",
            "simulation.round_cells=0",
            "simulation.quick=true",
            f"simulation.speed_um_s=[{speed}, {speed}]",
            f"xy_stage.options.start_um=[{start_um[0]}, {start_um[1]}]",
            f"camera.options.row_us={FRAME_S * 1e6 / SHAPE[0]}",
        ],
    )


def rigs(speed: float) -> Iterator[Rig]:
    """Rigs whose stage starts with a cell in the centre, near the focus, far from the first field.

    The cells of the first field are left out because they return to it.
    """
    for seed in count(100):
        rig = rig_of(seed, speed)
        assert rig.simulation is not None
        world = World(rig.simulation, Microscope(rig.simulation))
        for number in range(10):
            corner = (FAR_UM + 300 * number, FAR_UM)
            for cell in world.swimmers(corner, FIRST_S):
                pose = cell.body.way.pose(FIRST_S)
                if abs(pose.z_um) < FLAT_UM and not cell.body.body.headless:
                    y = corner[0] + pose.y_um + cell.shift_um[0] - world.size_um[0] / 2
                    x = corner[1] + pose.x_um + cell.shift_um[1] - world.size_um[1] / 2
                    yield rig_of(seed, speed, (round(x, 2), round(y, 2)))
                    break
            else:
                continue
            break


@dataclass
class Kept:
    """Of each frame after the grace: distance of the cell from its place and its focus, µm.

    `lost` counts the frames in which another cell or none was followed.
    """

    off_um: list[float] = field(default_factory=list)
    defocus_um: list[float] = field(default_factory=list)
    lost: int = 0


def followed(model: DepthModel, rig: Rig, way: str, seconds: float) -> Kept:
    """Follow the cell in the centre."""
    kept, own = Kept(), None
    with open_rig(rig) as devices:
        witness, drive = Witness(devices.camera), devices.stage
        instead: dict[str, Any] = {"camera": witness}
        if way != WAYS[0]:
            instead["xy_stage"] = Plain(devices.xy_stage)
        settings = LiveSettings(follow=Goal(), play_um=PLAY_UM, processing_s=PROCESSING_S)
        loop = Live(
            replace(devices, **instead), rig, model, settings, stage_map=StageMap.simulated(rig)
        )
        if way == WAYS[2]:
            chase_last(loop)
        pixel_um = float(rig.optics.pixel_size_um or math.nan)
        begun_ns = None
        for result in loop.frames(round((seconds + GRACE_S + 0.5) / FRAME_S)):
            truth = witness.truth.pop(result.frame_id)
            target = target_of(result, truth, pixel_um)
            if own is None and target is not None:
                own, begun_ns = target.id, result.time_ns
            if begun_ns is None or not GRACE_S <= (result.time_ns - begun_ns) / 1e9 < (
                GRACE_S + seconds
            ):
                continue
            cell = next((each for each in truth if each.id == own), None)
            kept.lost += target is None or target.id != own
            if cell is None:  # it left the frame
                kept.off_um.append(pixel_um * min(SHAPE) / 2)
                kept.defocus_um.append(math.inf)
                continue
            middle = [(side - 1) / 2 for side in SHAPE]
            kept.off_um.append(pixel_um * math.dist((cell.y_px, cell.x_px), middle))
            objective: Any = drive
            kept.defocus_um.append(objective.objective_um(result.time_ns) - cell.focus_um)
    return kept


def chase_last(loop: Live) -> None:
    """Let the stage chase where the cell was in the last frame."""
    assert loop.following is not None
    stage = loop.following.stage
    follow = stage.follow
    stage.follow = lambda course: follow(  # type: ignore[method-assign]
        replace(course, velocity_um_s=(0.0, 0.0))
    )


def target_of(result: LiveFrame, truth: tuple[CellTruth, ...], pixel_um: float) -> CellTruth | None:
    """The sperm that is followed in a frame."""
    cells = [cell for cell in result.cells if cell.id == result.target]
    sperm = [each for each in truth if each.kind == "sperm"]
    if not cells or not sperm:
        return None
    (cell,) = cells
    away = [pixel_um * math.hypot(cell.y_px - t.y_px, cell.x_px - t.x_px) for t in sperm]
    return sperm[int(np.argmin(away))] if min(away) < NEAR_UM else None


def interval(runs: list[Kept]) -> tuple[float, float]:
    """95 % bootstrap interval of the r.m.s. distance, resampling cells."""
    random = np.random.default_rng(0)
    squares = np.array([np.mean(np.square(run.off_um)) for run in runs])
    drawn = squares[random.integers(0, len(runs), (2000, len(runs)))].mean(axis=1)
    low, high = np.sqrt(np.percentile(drawn, (2.5, 97.5)))
    return float(low), float(high)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="sim")
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=WAYS)
    parser.add_argument("--speeds", type=float, nargs="+", default=[50.0, 100.0])
    options = parser.parse_args()
    model = open_live(options.model)
    depth_of_field = rig_of(0, 50.0).optics.depth_of_field_um
    assert depth_of_field is not None
    half = depth_of_field / 2
    print(
        f"{options.cells} cells for {options.seconds:g} s each; r.m.s. distance from the place "
        f"(95 % interval; worst cell), share within ±{half:.2f} µm of focus (worst cell), share of "
        "frames without the cell"
    )
    for speed in options.speeds:
        source = rigs(speed)
        chosen = [next(source) for _ in range(options.cells)]
        for way in options.ways:
            runs = []
            for rig in chosen:
                runs.append(run := followed(model, rig, way, options.seconds))
                sharp_share = np.mean(np.abs(run.defocus_um) < half)
                print(
                    f"  {way}: {rms(np.array(run.off_um)):.2f} µm, {100 * sharp_share:.1f} %, "
                    f"lost {run.lost}",
                    flush=True,
                )
            off = np.concatenate([run.off_um for run in runs])
            low, high = interval(runs)
            worst = max(rms(np.array(run.off_um)) for run in runs)
            sharp = [float(np.mean(np.abs(run.defocus_um) < half)) for run in runs]
            lost = sum(run.lost for run in runs) / len(off)
            print(
                f"{speed:g} µm/s, {way:15} {rms(off):.2f} µm ({low:.2f} to {high:.2f}; "
                f"{worst:.2f}), {100 * np.mean(sharp):.1f} % ({100 * min(sharp):.1f} %), "
                f"{100 * lost:.1f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
