"""Trials with the real procedure, mover and suction, over devices that fail at a random time."""

from __future__ import annotations

import math
import random
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.control.pump import PumpControl
from fgaf.acquire.device_tables import ManipulatorTable, PumpTable
from fgaf.acquire.devices import DeviceError, Devices
from fgaf.acquire.drivers.simulated_clock import SimulatedClock
from fgaf.acquire.drivers.simulated_manipulator import ManipulatorOptions, SimulatedManipulator
from fgaf.acquire.drivers.simulated_pump import PumpOptions, SimulatedPump
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.acquire.rig import load_rig
from fgaf.base.errors import FgafError
from fgaf.model.aspirate.command import Command, State
from fgaf.model.aspirate.driven_pump import DrivenPump
from fgaf.model.aspirate.held_pipette import HeldPipette
from fgaf.model.aspirate.observation import Observation, Setup
from fgaf.model.aspirate.procedure import Procedure
from fgaf.model.aspirate.tip_path import TipPath
from tests.aspirate.dish import SOFT, Dish

FAULTS = (
    *("none", "manipulator lost", "manipulator gone", "manipulator moved by hand"),
    *("manipulator stuck", "pump alarm", "pump lost", "pump gone", "pump refuses"),
    *("cell lost", "cell jumps", "cell sinks", "depth is wrong", "depth is no number"),
    *("frames lost", "latency doubled", "Ctrl-C", "program error"),
)
FLOOR_UM, START_UM, HIGHEST_UM_S = 40.0, 100.0, 200.0
PIXEL_UM = 0.1465
RIG = load_rig("sim-aspiration", ["manipulator.options.tip_um=[0,0,-60]"])
FRAME_S, LOOKS = 0.05, 3


class Link:
    """A device behind a link that can break; `reopen` mends it, unless it is gone."""

    def __init__(self, own: Any) -> None:
        self._own = own
        self.broken = self.gone = self.refuses = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._own, name)
        if not callable(value) or name in ("tip_um", "displaced_nl_s"):
            return value
        if self.broken or (self.refuses and name == "start"):
            raise DeviceError("there is no answer")
        return value

    def reopen(self) -> None:
        if self.gone:
            raise DeviceError("the port is gone")
        self.broken = False


@dataclass
class Run:
    """One run of trials and its fault."""

    fault: str
    seed: int
    lowest_um: float = math.inf
    farthest_um: float = 0.0
    fastest_um_s: float = 0.0
    flow_nl_s: float = math.nan
    end_um: float = math.nan
    error: str = ""
    states: set[State] = field(default_factory=set)
    procedure: Procedure | None = None


def run(seed: int) -> Run:
    """Run two trials; the fault comes at a random time."""
    chance = random.Random(seed)
    record = Run(FAULTS[seed % len(FAULTS)], seed)
    clock = SimulatedClock()
    own = SimulatedManipulator(
        ManipulatorOptions(start_um=(0.0, 0.0, START_UM), tip_um=(0.0, 0.0, -60.0)), clock, seed
    )
    plunger = SimulatedPump(PumpOptions(), clock)
    arm, pump = Link(own), Link(plunger)
    devices = Devices(None, None, clock, manipulator=arm, pump=pump)  # type: ignore[arg-type]
    table = ManipulatorTable(
        driver="simulated",
        x_limits_um=(-50, 50),
        y_limits_um=(-50, 50),
        z_limits_um=(0, 250),
        floor_um=FLOOR_UM,
        highest_speed_um_s=HIGHEST_UM_S,
        timeout_s=3,
    )
    mover = PipetteMover(devices, table, Interrupt())
    held = HeldPipette(mover)
    driven = DrivenPump(PumpControl(devices, PumpTable(driver="simulated")), clock)
    known = PipetteMap.simulated(RIG)
    assert known is not None
    path = TipPath(known, mover.position_um(), mover.limits_um)
    settings = replace(SOFT, choose_s=1, approach_s=4, descend_s=4, retreat_s=5, judge_s=0.5)
    setup = Setup(PIXEL_UM, path.refraction, path.limits)
    procedure = record.procedure = Procedure(setup, settings, trials=2)
    dish = Dish(swim=chance.choice([(0.0, 0.0), (0.0, 40.0)]), z=chance.uniform(-8, 3))
    due = chance.randrange(1, 120)
    late: list[Observation] = []
    sent: Command | None = None
    last = clock.now_ns(), own.tip_um()

    def watch() -> None:
        nonlocal last
        now_ns, here = clock.now_ns(), own.tip_um()
        record.lowest_um = min(record.lowest_um, here[2] + 60)
        record.farthest_um = max(record.farthest_um, abs(here[0]), abs(here[1]))
        speed = math.dist(here, last[1]) / max((now_ns - last[0]) / 1e9, 1e-9)
        record.fastest_um_s = max(record.fastest_um_s, speed)
        last = now_ns, here

    try:
        with ExitStack() as stack:
            stack.enter_context(held.working())
            stack.enter_context(driven.working())
            for number in range(1000):
                if number == due:
                    _break(record.fault, chance, arm, pump, own, dish)
                if record.fault == "frames lost" and number == due:
                    clock.sleep(chance.uniform(0.1, 3))
                for _ in range(LOOKS):
                    clock.sleep(FRAME_S / LOOKS)
                    held.look()
                    driven.look()
                    if number < due or record.fault != "manipulator moved by hand":
                        watch()
                now_ns = clock.now_ns()
                place = held.at(now_ns)
                dish.time_ns, dish.flow = now_ns, plunger.displaced_nl_s()
                seen = dish.observe()
                tip = replace(seen.tip, z_um=known.focus_of(place))
                seen = replace(
                    seen,
                    tip=tip,
                    pipette_z_um=path.height_of(place),
                    pipette_moving=held.moving,
                    flow_nl_s=driven.flow_nl_s,
                )
                if number >= due:
                    seen = _spoil(record.fault, chance, seen)
                late.append(seen)
                if record.fault == "latency doubled" and number >= due and len(late) < 5:
                    continue
                command = procedure.step(late.pop(0))
                record.states.add(command.state)
                driven.draw(command.flow_nl_s)
                height = command.pipette_z_um
                if height is not None and (sent is None or sent.pipette_z_um != height):
                    held.go_to(path.place_at(height))
                sent = command
                if command.ended:
                    break
                dish.advance(command)
            else:
                raise AssertionError("the trials did not end")
    except FgafError as error:
        procedure.abort(str(error))
        record.error = str(error)
    except RuntimeError as error:
        procedure.abort(str(error))
        record.error = "; ".join([str(error), *getattr(error, "__notes__", ())])
    clock.sleep(0.1)
    record.flow_nl_s, record.end_um = plunger.displaced_nl_s(), own.tip_um()[2] + 60
    return record


def _break(
    fault: str, chance: random.Random, arm: Link, pump: Link, own: SimulatedManipulator, dish: Dish
) -> None:
    if fault.startswith("manipulator") and fault.endswith(("lost", "gone")):
        arm.broken, arm.gone = True, fault.endswith("gone")
    elif fault.startswith("pump") and fault.endswith(("lost", "gone")):
        pump.broken, pump.gone = True, fault.endswith("gone")
    elif fault == "pump refuses":
        pump.refuses = True
    elif fault == "pump alarm":
        pump._own._options = PumpOptions(stalls_after_s=0)
    elif fault == "manipulator moved by hand":
        own._go((chance.uniform(-40, 40), 0.0, chance.uniform(120, 200)), 1000.0)
    elif fault == "manipulator stuck":
        arm._own.move_xyz_to = lambda *_: None
    elif fault == "cell jumps":
        dish.y, dish.x = chance.uniform(0, 600), chance.uniform(0, 800)
    elif fault == "cell sinks":
        dish.z = -200.0
    elif fault == "Ctrl-C":
        raise InterruptError("stopped by SIGINT", 130)
    elif fault == "program error":
        raise RuntimeError("an unforeseen error")


def _spoil(fault: str, chance: random.Random, seen: Observation) -> Observation:
    changes: dict[str, dict[str, Any]] = {
        "cell lost": {"seen": False},
        "depth is wrong": {"z_um": chance.uniform(-300, 300)},
        "depth is no number": {"z_um": chance.choice([math.nan, math.inf, None])},
    }
    wrong = changes.get(fault, {})
    return replace(seen, cells=tuple(replace(cell, **wrong) for cell in seen.cells))
