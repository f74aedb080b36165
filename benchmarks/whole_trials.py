"""Whole trials of `fgaf-aspirate` on simulated images: how many succeed, and whether it knows.

Everything is as at the microscope: frames with pipette, cells and debris, the finder, depths from
the network that ships, stage, drive, pipette, pump. The conditions are those that
`fgaf-bench-aspiration` recommends; a small frame and flagella in coarse steps spare time, and a
specimen in which no cell fits for 5 s is left. A trial is a cell that was released, as there; cells
that were given up before are counted apart. The truth says whether the head was in the bore, in
view, when the procedure decided, and nothing else sees it.

Each seed is a specimen of its own, with a few trials. Rows are appended to OUT/trials.csv; seeds
that it holds are not made again.

Run ``python benchmarks/whole_trials.py OUT [--seeds 0:8] [--each 5] [--immotile] [--speed 30 100]
[--shape 448 1408 --view 150]``.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fgaf.acquire import load_rig, open_rig
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.drivers.simulated_manipulator import SimulatedManipulator
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import Rig
from fgaf.dataset.truth import CellTruth
from fgaf.model.aspirate.command import Outcome, Result, State
from fgaf.model.aspirate.loop import Aspiration, LoopSettings, Step
from fgaf.model.bench.aspiration.conditions import Conditions
from fgaf.model.bench.aspiration.design import RECOMMENDED
from fgaf.model.bench.aspiration.summary import wilson
from fgaf.model.live.loop import open_live, open_live_heads

SCENE = (
    "simulation.quick=true",
    "simulation.cells=10",
    "simulation.debris=4",
    "simulation.round_cells=0",
    "simulation.depth_spread_um=3",
)
SPARE_UM = 5.0
"""Of the frame beyond the bore in view."""
CHOOSE_S = 5.0
MOST_CELLS = 15
"""So many cells are tried for each trial that is wanted."""


@dataclass(frozen=True)
class Plan:
    """What trials are made of.

    Attributes
    ----------
    conditions
        Cells, pipette and procedure.
    shape
        Rows and columns of the frames. The tip is in their middle, or farther to the left, so that
        the bore in view is in the frame.
    view_um
        Length of the bore in view.
    sets
        Further settings of the rig.
    """

    conditions: Conditions
    shape: tuple[int, int] = (448, 768)
    view_um: float = 50.0
    sets: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Name of these cells."""
        return "motile" if self.conditions.motile else "immotile"

    def rig(self, seed: int) -> Rig:
        """The rig `sim-aspiration` with a specimen."""
        pipette = self.conditions.pipette
        to_edge_um = self.shape[1] / 2 * load_rig("sim").simulation.pixel_size_um
        left_um = min(0.0, to_edge_um - self.view_um - SPARE_UM)
        return load_rig(
            "sim-aspiration",
            [
                *SCENE,
                f"simulation.shape={list(self.shape)}",
                f"simulation.seed={seed}",
                f"simulation.motile={str(self.conditions.motile).lower()}",
                f"simulation.speed_um_s={list(self.conditions.speed_um_s)}",
                f"manipulator.options.start_um=[{left_um}, 0, 20]",
                *(
                    f"simulation.aspiration.{name}={getattr(pipette, name)}"
                    for name in ("inner_diameter_um", "outer_diameter_um", "compliance_nl_kpa")
                ),
                *self.sets,
            ],
        )


@dataclass(frozen=True)
class Row:
    """A trial: what the procedure says, and what is true."""

    kind: str
    seed: int
    trial: int
    frames: int
    released: bool
    verdict: str
    inside: bool
    entered: bool
    text: str
    miss_um: float | None
    heading_deg: float | None
    swim_um_s: float | None
    entry_um_s: float | None
    depth_um: float | None


class Truth:
    """Follows the true cell that was chosen, and knows whether its head is in the bore in view.

    Attributes
    ----------
    entered
        Whether it was there at any time in this trial.
    """

    def __init__(self, manipulator: Any, rig: Rig, plan: Plan) -> None:
        assert isinstance(manipulator, SimulatedManipulator)
        assert rig.simulation is not None
        self._manipulator, self._settings, self._view_um = manipulator, rig.simulation, plan.view_um
        self._radius = plan.conditions.pipette.inner_diameter_um / 2
        self._id: int | None = None
        self.entered = False

    def look(self, step: Step) -> bool:
        """Whether the head is inside and in view in this frame."""
        frame = step.frame
        assert frame.truth is not None
        cells = [cell for cell in frame.truth.cells if cell.kind == "sperm"]
        target = next((c for c in frame.cells if c.id == step.command.target and c.seen), None)
        if step.command.state in (State.APPROACH, State.DESCEND, State.ASPIRATE) and target:
            self.entered = False
            self._id = min(
                cells, key=lambda c: math.dist((c.y_px, c.x_px), (target.y_px, target.x_px))
            ).id
        cell = next((each for each in cells if each.id == self._id), None)
        inside = cell is not None and self._holds(cell, frame.time_ns)
        self.entered |= inside
        return inside

    def _holds(self, cell: CellTruth, time_ns: int) -> bool:
        pixel, (rows, columns) = self._settings.pixel_size_um, self._settings.shape
        x, y, z = self._manipulator.tip_um(time_ns)
        behind = (cell.x_px - columns / 2) * pixel - x
        aside = (cell.y_px - rows / 2) * pixel - y
        above = cell.focus_um / self._settings.reduction - z
        return 0 < behind <= self._view_um and math.hypot(aside, above) < self._radius


def rows_of(plan: Plan, seed: int, count: int, models: tuple[Any, Any]) -> list[Row]:
    """Trials of a specimen.

    Parameters
    ----------
    plan
        What they are made of.
    seed
        The specimen.
    count
        So many cells are released.
    models
        Reads depth, and segments heads or None.
    """
    rig, rows, frames, last = plan.rig(seed), [], 0, 0
    procedure = replace(plan.conditions.asked(), view_um=plan.view_um, choose_s=CHOOSE_S)
    settings = LoopSettings(
        trials=MOST_CELLS * count, go=True, processing_s=0.02, procedure=procedure
    )
    pipette_map, stage_map = PipetteMap.simulated(rig), StageMap.simulated(rig)
    assert pipette_map is not None
    with open_rig(rig, Interrupt()) as devices:
        truth = Truth(devices.manipulator, rig, plan)
        work = Aspiration(
            devices,
            rig,
            models[0],
            settings,
            Interrupt(),
            pipette_map=pipette_map,
            stage_map=stage_map,
            heads=models[1],
        )
        for step in work.steps():
            frames += 1
            inside, result = truth.look(step), step.command.result
            if result is not None:
                rows.append(_row(plan.kind, seed, frames - last, inside, truth.entered, result))
                last = frames
                told = rows[-1]
                print(
                    f"{plan.kind} {seed}: {told.verdict}, {'inside' if inside else 'not inside'}, "
                    f"{'released' if told.released else 'passed over'} ({told.text})",
                    flush=True,
                )
                if sum(row.released for row in rows) >= count:
                    break
    return rows


def _row(kind: str, seed: int, frames: int, inside: bool, entered: bool, result: Result) -> Row:
    return Row(
        kind,
        seed,
        result.trial,
        frames,
        result.released_ns is not None,
        str(result.outcome),
        inside,
        entered,
        result.text,
        result.miss_um,
        result.heading_deg,
        result.swim_um_s,
        result.entry_um_s,
        result.depth_um,
    )


def tell(rows: list[dict[str, str]]) -> None:
    """Print what came out."""
    for kind in ("immotile", "motile"):
        own = [row for row in rows if row["kind"] == kind]
        made = [row for row in own if row["released"] == "True"]
        if not made:
            continue
        inside, entered = (
            sum(row[name] == "True" for row in made) for name in ("inside", "entered")
        )
        right = sum(
            (row["verdict"] == Outcome.SUCCESS) == (row["inside"] == "True") for row in made
        )
        rate = wilson(inside, len(made))
        print(
            f"{kind}: {entered} of {len(made)} entered; {inside} kept in view, "
            f"{100 * inside / len(made):.1f} % "
            f"({100 * (rate['low'] or 0):.1f} to {100 * (rate['high'] or 0):.1f}); verdict right "
            f"in {right}; verdicts {dict(Counter(row['verdict'] for row in made))}; passed over "
            f"{dict(Counter(row['verdict'] for row in own if row['released'] != 'True'))}"
        )


def main() -> None:
    """Make the trials, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", default="0:4", help="first and last but one")
    parser.add_argument("--each", type=int, default=5, help="trials of each seed")
    parser.add_argument("--immotile", action="store_true")
    parser.add_argument("--speed", type=float, nargs=2, default=[10.0, 30.0], help="µm/s")
    parser.add_argument("--shape", type=int, nargs=2, default=[448, 768], help="of frames, px")
    parser.add_argument("--view", type=float, default=50.0, help="length of bore in view, µm")
    parser.add_argument("--set", action="append", default=[], help="of the rig")
    parser.add_argument("--heads", help="network that segments heads")
    options = parser.parse_args()
    conditions = Conditions().with_values(
        {**RECOMMENDED, "motile": not options.immotile, "speed_um_s": options.speed}
    )
    plan = Plan(conditions, tuple(options.shape), options.view, tuple(options.set))
    models = (
        open_live("sim"),
        None if options.heads is None else open_live_heads(options.heads),
    )
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "trials.csv"
    first, last = map(int, options.seeds.split(":"))
    for seed in range(first, last):
        if any(row["kind"] == plan.kind and int(row["seed"]) == seed for row in _read(path)):
            continue
        made = rows_of(plan, seed, options.each, models)
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(Row.__dataclass_fields__))
            if new:
                writer.writeheader()
            writer.writerows(asdict(row) for row in made)
    tell(_read(path))


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
