"""A whole trial on simulated images: a cell is chosen, brought to the mouth, drawn in and kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fgaf.acquire import load_rig, open_rig
from fgaf.acquire.drivers.simulated_manipulator import SimulatedManipulator
from fgaf.acquire.interrupt import Interrupt
from fgaf.model.aspirate.command import Outcome
from fgaf.model.aspirate.loop import Aspiration, LoopSettings
from fgaf.model.bench.aspiration.conditions import Conditions
from fgaf.model.bench.aspiration.design import RECOMMENDED
from fgaf.model.deploy.open_model import open_model
from tests.aspirate.pasted import maps

SCENE = (
    "simulation.shape=[448, 768]",
    "simulation.quick=true",
    "simulation.cells=10",
    "simulation.debris=4",
    "simulation.round_cells=0",
    "simulation.seed=0",
    "simulation.depth_spread_um=3",
    "simulation.motile=false",
    "simulation.aspiration.inner_diameter_um=10",
    "simulation.aspiration.outer_diameter_um=11",
    "simulation.aspiration.compliance_nl_kpa=0.02",
)
MOST = 900


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_head_is_drawn_in_kept_and_still_found_between_the_walls() -> None:
    rig = load_rig("sim-aspiration", SCENE)
    procedure = replace(Conditions().with_values(RECOMMENDED).asked(), view_um=50.0)
    settings = LoopSettings(trials=8, go=True, processing_s=0.02, procedure=procedure)
    with open_rig(rig, Interrupt()) as devices:
        manipulator = devices.manipulator
        assert isinstance(manipulator, SimulatedManipulator)
        work = Aspiration(devices, rig, open_model("sim"), settings, Interrupt(), **maps(rig))
        for step in work.steps(MOST):
            result = step.command.result
            if result is not None and result.released_ns is not None:
                break
    assert result is not None
    assert (result.outcome, result.text) == (Outcome.SUCCESS, "the cell is inside and in view")
    assert step.frame.truth is not None
    x_um, y_um, _ = manipulator.tip_um(step.frame.time_ns)
    inside = [
        cell
        for cell in step.frame.truth.cells
        if cell.kind == "sperm"
        and 0 < (cell.x_px - 768 / 2) * work.live.pixel_um - x_um < 50
        and abs((cell.y_px - 448 / 2) * work.live.pixel_um - y_um) < 5
    ]
    assert len(inside) == 1
