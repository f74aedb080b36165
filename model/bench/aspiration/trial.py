"""One trial: the procedure chooses a cell, holds it, draws it in and watches; the truth judges."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.model.aspirate.command import Command, Outcome, Result, State
from fgaf.model.aspirate.heading import speed_um_s, swims_to
from fgaf.model.aspirate.observation import Observation, Setup, Tip
from fgaf.model.aspirate.procedure import Procedure
from fgaf.model.bench.aspiration.causes import Course, cause_of
from fgaf.model.bench.aspiration.cell import MICROSCOPE, Look, draw_subject
from fgaf.model.bench.aspiration.conditions import Conditions
from fgaf.model.bench.aspiration.depths import Depth, depth_named
from fgaf.model.bench.aspiration.following import DELAY, TICK_S, Following, Seen
from fgaf.model.bench.aspiration.world import World
from fgaf.model.live.message import LiveCell

Array = npt.NDArray[Any]

MOST_CELLS: Final = 20
"""So many cells are offered to the procedure before a trial has none."""
OFFERED_S: Final = 0.8
"""A cell that was not chosen in this time is left for the next one."""
_LONGEST_S: Final = 90.0
_AHEAD_UM: Final = 30.0
"""The tip is at first so far from the cell."""


@dataclass(frozen=True)
class Outcomes:
    """What a trial gave. Lengths are µm of the specimen; NaN where it did not come so far.

    Attributes
    ----------
    success
        Whether the cell was drawn in from outside and stayed in the bore, in view.
    cause
        Why not; empty for a success.
    verdict
        What the procedure says.
    passed_over
        Cells before that the procedure did not choose, or gave up before the stage let them go.
    height_um, speed_um_s, heading_deg
        When the stage let the cell go: its height over the dish, its own speed, and the angle
        between its heading and the way to the mouth.
    depth_error_um
        The height as it was known then, less the true one.
    z_error_um
        Height of the mouth's axis over the cell then.
    flow_nl_s, entry_flow_nl_s
        Flow into the tip then, and at the entry.
    entry_s
        Time from then to the entry.
    entry_radius_um, entry_over_um, entry_speed_um_s
        Distance of the head from the axis, height over the axis, and speed, at the entry.
    in_view_s
        Time inside and in view.
    nearest_um
        Least distance of the head from the centre of the mouth.
    turned_deg
        Change of the heading in the image.
    rim_touches, cell_dish_touches
        Contacts of the head with glass, and with the dish.
    tip_gap_um
        Least distance of the glass from the dish; a contact if it is not above 0.
    seconds
        Duration of the trial.
    """

    success: bool
    cause: str
    verdict: str
    passed_over: int
    height_um: float
    speed_um_s: float
    heading_deg: float
    depth_error_um: float
    z_error_um: float
    flow_nl_s: float
    entry_flow_nl_s: float
    entry_s: float
    entry_radius_um: float
    entry_over_um: float
    entry_speed_um_s: float
    in_view_s: float
    nearest_um: float
    turned_deg: float
    rim_touches: int
    cell_dish_touches: int
    tip_gap_um: float
    seconds: float


def run_trial(conditions: Conditions, seed: int, number: int, model: str = "sim") -> Outcomes:
    """Make a trial. The same seed and number give the same cells under all conditions.

    Parameters
    ----------
    conditions
        What is tried.
    seed, number
        Of the random numbers.
    model
        The network for the source of depth "network".
    """
    rng = np.random.default_rng([seed, number])
    for passed_over in range(MOST_CELLS):
        trial = _Trial(conditions, rng.spawn(1)[0], model)
        if trial.run():
            return trial.outcomes(passed_over)
    return trial.outcomes(MOST_CELLS)


class _Trial:
    """A cell, the pipette and the procedure, tick by tick."""

    def __init__(self, conditions: Conditions, rng: np.random.Generator, model: str) -> None:
        pipette, asked = conditions.pipette, conditions.asked()
        cell, images, look, errors = rng.spawn(4)
        out = np.array(pipette.direction[:2])
        self._into = -out / np.linalg.norm(out)
        self._subject = draw_subject(
            cell,
            conditions.motile,
            conditions.height_um,
            conditions.speed_um_s,
            (math.atan2(*self._into), math.radians(asked.heading_deg)),
            pipette.adhesion_share,
        )
        self._conditions = conditions
        self._depth: Depth = depth_named(conditions.depth, model, conditions.fixed_um)
        self._look = Look(self._subject, self._depth.patch_px, look)
        self._dish_um = float(errors.normal(0, conditions.dish_error_um))
        self._place_um = errors.normal(0, conditions.place_error_um, 2)
        parked = conditions.parked_um
        self._focus_um = (parked + self._dish_um) * MICROSCOPE.reduction
        self._focus_um += float(errors.normal(0, conditions.focus_error_um))
        self._pipette_um = parked
        start = np.array([*(_AHEAD_UM * self._into), parked + self._dish_um])
        self._world = World(self._subject, pipette, asked.view_um, start)
        self._following = Following(start[:2], images, conditions.stage_um_s)
        limits = (conditions.lowest_um, math.inf)
        setup = Setup(MICROSCOPE.pixel_size_um, conditions.factor, limits)
        self._procedure = Procedure(setup, asked)
        self._levels: deque[Command | None] = deque([None] * DELAY)
        self._offset_um = math.nan
        self._moving, self._waiting, self._pumped = False, 0, 0.0
        self._release: dict[str, float] = {}
        self._heading: Array | None = None
        self._entry_flow_nl_s = math.nan
        self._result: Result | None = None

    def run(self) -> bool:
        """Run it to its end; whether the stage let the cell go, or it came in before."""
        world, flow, wanted_um = self._world, 0.0, None
        while world.time_s < _LONGEST_S:
            seen = self._following.tick(world.head_um[:2], world.speed_um_s, not world.left)
            command = None if seen is None else self._step(seen)
            idle = command is not None and command.target is None and self._result is None
            if idle and world.time_s > OFFERED_S:
                return False
            self._levels.append(command)
            level = self._levels.popleft()
            if level is not None:
                flow, wanted_um = level.flow_nl_s, level.pipette_z_um
            if wanted_um is not None and self._result is None:
                self._move(wanted_um)
            self._pass_time(flow)
            if self._result is not None and world.time_s >= self._judged_s(self._result):
                return bool(self._release) or not math.isnan(world.entries.time_s[0])
        return True

    def _pass_time(self, pump_nl_s: float) -> None:
        """Let a tick pass in the world; while the tip stands, a frame in one go."""
        world, entered = self._world, self._world.inside
        tip = np.array([*self._following.tip_um, self._pipette_um + self._dish_um])
        self._waiting += 1
        stands = pump_nl_s == self._pumped and np.array_equal(tip, world.tip_um)
        if stands and not self._following.exposes:
            return
        world.advance(self._waiting * TICK_S, pump_nl_s, tip)
        self._waiting, self._pumped = 0, pump_nl_s
        if world.inside and not entered and math.isnan(self._entry_flow_nl_s):
            self._entry_flow_nl_s = world.flow_nl_s

    def _step(self, seen: Seen) -> Command:
        """Let the procedure see a frame."""
        time_s, pixel = seen.tick * TICK_S, MICROSCOPE.pixel_size_um
        self._look.raised_um = self._world.raised_um * MICROSCOPE.reduction
        y, x = (seen.place_um - seen.tip_um - self._place_um) / pixel
        vy, vx = seen.velocity_um_s
        cell = LiveCell(
            seen.number,
            seen.found,
            float(y),
            float(x),
            float(vy),
            float(vx),
            1.0,
            seen.age_s,
        )
        if self._procedure.state is not State.CHOOSE or self._suits(cell):
            cell = self._with_height(cell, time_s)
        above_um = (self._pipette_um - self._conditions.parked_um) / self._conditions.factor
        tip = Tip(0.0, 0.0, self._focus_um + above_um, *map(float, self._into))
        command = self._procedure.step(
            Observation(
                round(time_s * 1e9), (cell,), tip, self._pipette_um, self._moving, self._reported()
            )
        )
        goal = command.goal_y_px, command.goal_x_px
        self._following.goal_um = (
            None if None in goal else np.array(goal, float) * pixel + self._place_um
        )
        if command.state is State.WATCH and not self._release:
            self._note_release()
        if command.result is not None and self._result is None:
            self._result = command.result
        return command

    def _suits(self, cell: LiveCell) -> bool:
        """Whether a cell may be chosen, but for its height, which is then worth knowing."""
        asked, (y, x) = self._procedure.settings, self._into
        return speed_um_s(cell) <= asked.fastest_um_s and swims_to(cell, (y, x), asked)

    def _with_height(self, cell: LiveCell, time_s: float) -> LiveCell:
        """The cell with the height that is known."""
        known = self._depth.look(self._look, time_s)
        if known is None:
            return cell
        z_um, error_um = known
        self._offset_um = (z_um - self._look.focus_um(time_s)) / MICROSCOPE.reduction
        return replace(cell, z_um=z_um, z_error_um=error_um)

    def _reported(self) -> float:
        """Flow that the pump reports."""
        last = next((level for level in reversed(self._levels) if level is not None), None)
        return 0.0 if last is None else last.flow_nl_s

    def _move(self, wanted_um: float) -> None:
        """Move the pipette up or down for a tick."""
        most = self._conditions.travel_um_s * TICK_S
        way = min(max(wanted_um - self._pipette_um, -most), most)
        self._moving = way != 0
        self._pipette_um += way

    def _note_release(self) -> None:
        """Note how things are when the stage lets the cell go."""
        world = self._world
        head, tip = world.head_um, world.tip_um
        self._look.drawn = True
        self._heading = world.heading
        to_tip = tip[:2] - head[:2]
        cosine = float(world.heading @ to_tip) / (float(np.linalg.norm(to_tip)) or 1.0)
        motile = self._conditions.motile
        self._release = {
            "height_um": float(head[2]),
            "heading_deg": math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))
            if motile
            else math.nan,
            "depth_error_um": self._offset_um,
            "z_error_um": float(tip[2] - head[2]),
            "flow_nl_s": world.flow_nl_s,
            "time_s": world.time_s,
            "away_um": float(np.linalg.norm(to_tip)),
        }

    def _judged_s(self, result: Result) -> float:
        """Time at which the truth judges."""
        entered_s = float(self._world.entries.time_s[0])
        if result.outcome is Outcome.SUCCESS or math.isnan(entered_s) or self._world.left:
            return 0.0
        return entered_s + self._conditions.procedure.judge_s

    def outcomes(self, passed_over: int) -> Outcomes:
        """What it gave."""
        world, entries, release = self._world, self._world.entries, self._release
        entered_s, left_s = float(entries.time_s[0]), float(entries.left_s[0])
        entered = not math.isnan(entered_s)
        turned = math.nan
        if self._heading is not None:
            cosine = float(self._heading @ world.heading)
            turned = math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))
        success = world.inside and not world.left
        away_um = float(np.linalg.norm(world.head_um[:2] - world.tip_um[:2]))
        near_um = self._conditions.pipette.outer_diameter_um / 2
        near_um += self._conditions.pipette.head_length_um
        verdict = "" if self._result is None else str(self._result.outcome)
        course = Course(
            chosen=passed_over < MOST_CELLS,
            released=bool(release),
            lost=verdict == Outcome.LOST,
            entered=entered,
            left=world.left,
            stuck=world.stuck,
            passed_um=world.passed_um,
            turned_deg=turned,
            rim=bool(entries.rim_touches[0]) and world.nearest_um < near_um,
            departed=bool(release) and away_um > release["away_um"],
        )
        return Outcomes(
            success=success,
            cause="" if success else str(cause_of(course)),
            verdict=verdict,
            passed_over=passed_over,
            height_um=release.get("height_um", math.nan),
            speed_um_s=self._subject.swimmer.way.speed_um_s,
            heading_deg=release.get("heading_deg", math.nan),
            depth_error_um=release.get("depth_error_um", math.nan),
            z_error_um=release.get("z_error_um", math.nan),
            flow_nl_s=release.get("flow_nl_s", math.nan),
            entry_flow_nl_s=self._entry_flow_nl_s,
            entry_s=entered_s - release.get("time_s", math.nan),
            entry_radius_um=float(entries.radius_um[0]),
            entry_over_um=float(entries.z_um[0]),
            entry_speed_um_s=float(entries.speed_um_s[0]),
            in_view_s=(world.time_s if math.isnan(left_s) else left_s) - entered_s,
            nearest_um=world.nearest_um if release else math.nan,
            turned_deg=turned,
            rim_touches=int(entries.rim_touches[0]),
            cell_dish_touches=int(entries.dish_touches[0]),
            tip_gap_um=world.gap_um,
            seconds=world.time_s,
        )
