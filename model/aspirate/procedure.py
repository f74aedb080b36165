"""The procedure of an aspiration: a state machine that is told of each frame and answers it.

It knows no devices and no images: the loop at the microscope and simulated trials run the same.
"""

from __future__ import annotations

import math
from typing import Final

from fgaf.model.aspirate.choice import choose
from fgaf.model.aspirate.command import Command, Event, Outcome, Result, State
from fgaf.model.aspirate.heading import Direction, place_before, swims_to, turned, way_to
from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.observation import Observation, Setup
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.aspirate.suction import Draw
from fgaf.model.aspirate.target import Target
from fgaf.model.aspirate.trial import Trial
from fgaf.model.live.message import LiveCell

_TURN_S: Final = 0.5
"""The place before the mouth follows the heading of a cell with this delay: heads swing."""
_GAP_S: Final = 1.0
"""After a longer gap between frames the cell may be anywhere."""
_FARTHER: Final = 1.5
"""A released cell that is so many times the stand-off from the tip has turned away."""
_SPENT: Final = frozenset({Outcome.SUCCESS, Outcome.ADHERED, Outcome.CONTACT})
"""Cells of such trials are not chosen again."""


class Procedure:
    """Runs trials: choose a cell, bring it before the tip, draw it in, keep it, and judge.

    Give every frame to `step`, and let the devices do what the command says. Each state has a time
    limit. Whatever ends a trial stops the pump and the stage, and raises the pipette. After an
    error of a device call `abort`.

    Parameters
    ----------
    setup
        Pixel, refraction, limits of the pipette.
    settings
        Settings.
    trials
        Number of trials.

    Attributes
    ----------
    state
        The current state.
    results
        The trials that have ended.
    fault
        What the procedure itself found wrong, for which it ended; else empty.
    """

    def __init__(
        self, setup: Setup, settings: AspirationSettings | None = None, trials: int = 1
    ) -> None:
        self.setup, self.settings = setup, settings or AspirationSettings()
        self.state = State.CHOOSE
        self.results: list[Result] = []
        self.fault = ""
        self._trials, self._mouth = trials, Mouth(self.settings, setup)
        self._state_ns = self._time_ns = 0
        self._frame_s = 0.0
        self._begins = True
        self._target: Target | None = None
        self._draw = Draw(self.settings)
        self._trial = Trial(0)
        self._lowest_ready_um = self._ready_um = 0.0
        self._searched_um: float | None = None
        self._before: Direction | None = None
        self._placed_ns: int | None = None
        self._spent: frozenset[int] = frozenset()
        self._goal: tuple[float, float] | None = None
        self._height_um: float | None = None
        self._result: Result | None = None
        self._events: list[Event] = []
        s = self.settings
        self._steps = {
            State.CHOOSE: (self._choose, s.choose_s),
            State.APPROACH: (self._approach, s.approach_s),
            State.SEARCH: (self._search, s.search_s),
            State.DESCEND: (self._descend, s.descend_s),
            State.ASPIRATE: (self._aspirate, s.aspirate_s),
            State.WATCH: (self._watch, s.watch_s),
            State.RETAIN: (self._retain, s.retain_s),
            State.JUDGE: (self._judge, s.judge_s + s.lost_s + _GAP_S),
            State.RETREAT: (self._retreat, s.retreat_s),
        }

    @property
    def target_px(self) -> tuple[float, float] | None:
        """Where the target was found last, y and x; None without a target."""
        if self._target is None:
            return None
        return self._target.last.y_px, self._target.last.x_px

    def step(self, seen: Observation) -> Command:
        """Take a frame, and say what holds from now on.

        A frame that is not newer than the last one changes nothing.

        Parameters
        ----------
        seen
            The frame.
        """
        self._events, self._result = [], None
        if self.state is State.ENDED or (not self._begins and seen.time_ns <= self._time_ns):
            return self._command()
        if not seen.sound:
            self.fault = "the place of the tip, the pipette or the flow is not a number"
            self._fail(self.fault)
            return self._command()
        if self._begins:
            self._begins, self._frame_s, self._time_ns = False, 0.0, seen.time_ns
            self._lowest_ready_um = self.setup.inside(seen.pipette_z_um)
            self._begin_trial("the first trial begins")
        self._frame_s = (seen.time_ns - self._time_ns) / 1e9
        self._time_ns = seen.time_ns
        self._draw.advance(self._frame_s)
        if self._frame_s > _GAP_S and self.state not in (State.CHOOSE, State.RETREAT):
            self._end_trial(Outcome.LOST, f"there was no frame for {self._frame_s:.1f} s")
            return self._command()
        state = self.state
        step, limit_s = self._steps[state]
        step(seen)
        if self.state is state and (seen.time_ns - self._state_ns) / 1e9 > limit_s:
            self._expire(seen, limit_s)
        return self._command()

    def abort(self, why: str, outcome: Outcome = Outcome.FAULT) -> Command:
        """End everything: the pump stops, the stage stands, the pipette is to be raised.

        Parameters
        ----------
        why
            The error, for people.
        outcome
            Of the trial that runs.
        """
        self._events, self._result = [], None
        if self.state is not State.ENDED:
            self._fail(why, outcome)
        return self._command()

    # the states, in the order of a trial

    def _choose(self, seen: Observation) -> None:
        cell = choose(seen, self.settings, self.setup, self._spent)
        if cell is not None:
            self._target = Target(cell, seen)
            self._go_on(State.APPROACH, f"cell {cell.id} was chosen")

    def _approach(self, seen: Observation) -> None:
        cell = self._held(seen)
        if cell is None:
            return
        level_um = self._level_um(seen, cell)
        if level_um is not None:
            clear_um = self.setup.inside(level_um + self.settings.rise_um)
            self._ready_um = max(self._lowest_ready_um, clear_um)
        if not self._is_clear(seen):
            self._height_um, self._goal = self._ready_um, None
        elif self._stays(cell):
            if self.settings.search:
                self._goal = None
            self._go_on(
                State.SEARCH if self.settings.search else State.DESCEND, "the cell is in place"
            )

    def _search(self, seen: Observation) -> None:
        if self._target is not None:  # blurred cells are not found, and it is at rest
            self._target.find(seen, self._is_same)
            self._target.wait(seen.time_ns)
        if seen.searched_um is not None:
            self._searched_um = seen.searched_um
            self._go_on(State.DESCEND, f"the cell is in focus at z = {seen.searched_um:.2f} µm")

    def _descend(self, seen: Observation) -> None:
        cell = self._held(seen)
        if cell is not None and self._is_level(seen, cell) and self._stays(cell):
            self._go_on(State.ASPIRATE, "the tip is at the height of the cell")

    def _aspirate(self, seen: Observation) -> None:
        cell = self._held(seen)
        if cell is None or not self._is_level(seen, cell):
            return
        if not swims_to(cell, way_to(seen.tip, cell), self.settings):
            return
        drawn_ns = self._trial.drawn_ns
        if drawn_ns is None:
            self._trial.drawn_ns = seen.time_ns
            self._draw.start()
            self._note(f"the pump draws {self._draw.flow_nl_s:g} nL/s")
        elif (seen.time_ns - drawn_ns) / 1e9 >= self.settings.prime_s and self._stays(cell):
            self._release(seen, cell)

    def _watch(self, seen: Observation) -> None:
        target, settings = self._target, self.settings
        cell = self._drawn(seen)
        if cell is None or target is None:
            return
        if self._mouth.has_entered(seen.tip, cell):
            if missed := self._mouth.missed(seen.tip, cell, self._z_um(cell)):
                self._end_trial(missed, "the cell passed the mouth outside")
                return
            self._trial.enter(seen, cell, self._mouth, self._z_um(cell))
            if settings.retain != "constant":
                self._draw.stop()
            self._go_on(State.RETAIN, "the head is in the mouth")
            return
        away_um = math.hypot(*self._mouth.across_um(seen.tip, cell))
        far_um = _FARTHER * settings.stand_off_px * self.setup.pixel_um + settings.near_um
        if away_um > far_um:
            self._end_trial(Outcome.TURNED, f"the cell is {away_um:.0f} µm from the tip")
        elif target.stood_s(seen.time_ns, self._px(settings.stuck_um)) > settings.stuck_s:
            touches = away_um <= self._mouth.reach_um
            outcome = Outcome.CONTACT if touches else Outcome.ADHERED
            self._end_trial(outcome, f"the cell does not move, {away_um:.1f} µm from the tip")

    def _retain(self, seen: Observation) -> None:
        if not self._stays_inside(seen):
            return
        if self.settings.retain == "reverse" and self._draw.give_back():
            return
        self._go_on(State.JUDGE, "the flow is as it stays")

    def _judge(self, seen: Observation) -> None:
        if not self._stays_inside(seen) or self._target is None:
            return
        late = self._trial.since_entry_s(seen.time_ns) >= self.settings.judge_s
        if late and self._target.found_ns == seen.time_ns:
            self._end_trial(Outcome.SUCCESS, "the cell is inside and in view")

    def _retreat(self, seen: Observation) -> None:
        last = self.results[-1]
        gives = self.settings.retain == "reverse" and last.outcome is not Outcome.SUCCESS
        if gives and self._draw.give_back():
            return
        self._draw.stop()
        if not self._is_clear(seen) or seen.pipette_moving or seen.flow_nl_s != 0:
            return
        if last.outcome is Outcome.NO_CELL or len(self.results) >= self._trials:
            self._go_on(State.ENDED, last.text)
        else:
            self._begin_trial("the next trial begins")

    # what several states do

    def _begin_trial(self, why: str) -> None:
        self._target, self._trial = None, Trial(self._time_ns)
        self._draw = Draw(self.settings)
        self._ready_um, self._height_um = self._lowest_ready_um, None
        self._searched_um = self._before = self._placed_ns = None
        self._go_on(State.CHOOSE, why)

    def _held(self, seen: Observation) -> LiveCell | None:
        """The target, which the stage is told to keep; a trial that has lost it ends."""
        target = self._target
        if target is None:
            return None
        cell = target.find(seen, self._is_same)
        if cell is None:
            self._goal = None
            if target.missing_s(seen.time_ns) > self.settings.lost_s:
                self._lose(seen)
            return None
        tip, wanted = seen.tip, place_before(seen.tip, cell, self.settings)
        if self._before is not None:
            wanted = turned(self._before, wanted, self._frame_s / (self._frame_s + _TURN_S))
        off_px, self._before = self.settings.stand_off_px, wanted
        self._goal = (tip.y_px + off_px * wanted[0], tip.x_px + off_px * wanted[1])
        return cell

    def _stays(self, cell: LiveCell) -> bool:
        """Whether the target has been in its place long enough."""
        near_px = self._px(self.settings.near_um)
        if self._goal is None or math.dist(self._goal, (cell.y_px, cell.x_px)) > near_px:
            self._placed_ns = None
            return False
        self._placed_ns = self._placed_ns or self._time_ns
        return (self._time_ns - self._placed_ns) / 1e9 >= self.settings.hold_s

    def _level_um(self, seen: Observation, cell: LiveCell) -> float | None:
        """Where the manipulator is when the tip is at the height of the cell, z in µm."""
        over_um = self._mouth.over_um(seen.tip, self._z_um(cell))
        return None if over_um is None else seen.pipette_z_um + over_um

    def _is_level(self, seen: Observation, cell: LiveCell) -> bool:
        """Send the pipette to the height of the cell; whether it is there."""
        level_um = self._level_um(seen, cell)
        if level_um is None or seen.pipette_moving:
            return False
        wanted_um = self.setup.inside(level_um)
        if abs(seen.pipette_z_um - wanted_um) <= self.settings.level_um:
            return True
        self._height_um = wanted_um
        return False

    def _is_clear(self, seen: Observation) -> bool:
        """Whether the pipette is as high as it must be while cells are brought to it."""
        return seen.pipette_z_um >= self._ready_um - self.settings.level_um

    def _release(self, seen: Observation, cell: LiveCell) -> None:
        """Let the stage stand; the cell swims on, and is drawn in."""
        self._trial.release(seen, cell, self._mouth, self._z_um(cell))
        self._goal = None
        if self._target is not None:
            self._target.stands(seen.time_ns)
        self._go_on(State.WATCH, "the stage stands, the cell is drawn")

    def _drawn(self, seen: Observation) -> LiveCell | None:
        """The released target; a trial that has lost it ends.

        A cell that appears in the bore after it was lost is taken for it.
        """
        target = self._target
        if target is None:
            return None
        cell = target.find(seen, lambda fresh: self._mouth.holds(seen.tip, fresh))
        if cell is None and target.missing_s(seen.time_ns) > self.settings.lost_s:
            self._lose(seen)
        return cell

    def _stays_inside(self, seen: Observation) -> bool:
        """Whether the target is in the bore, or may be; else the trial ends."""
        cell = self._drawn(seen)
        if cell is not None:
            self._trial.stay(seen, cell, self._mouth)
            along, _ = self._mouth.across_um(seen.tip, cell)
            if along < 0:
                self._end_trial(Outcome.ESCAPED, "the cell is before the mouth again")
            elif along > self.settings.view_um:
                self._end_trial(Outcome.LOST_IN_BORE, "the cell went along the bore")
            elif missed := self._mouth.missed(seen.tip, cell, self._z_um(cell)):
                self._end_trial(missed, "the cell is not between the walls of the bore")
        return self.state in (State.RETAIN, State.JUDGE)

    def _z_um(self, cell: LiveCell) -> float | None:
        """Height of the target, µm of the drive."""
        return self._searched_um if self.settings.search else cell.z_um

    def _is_same(self, fresh: LiveCell) -> bool:
        """Whether a new cell is the target after a search: it lies where that lay."""
        if not self.settings.search or self._target is None:
            return False
        return self._target.is_near(fresh, self._px(self.settings.near_um))

    def _lose(self, seen: Observation) -> None:
        """End a trial whose cell is no longer found."""
        why = f"the cell was not found for {self.settings.lost_s:g} s"
        if self.state in (State.WATCH, State.RETAIN, State.JUDGE) and self._target is not None:
            along, aside = self._mouth.across_um(seen.tip, self._target.last)
            reach_um = self._mouth.reach_um
            if abs(aside) <= reach_um and along >= -2 * reach_um:
                self._end_trial(Outcome.LOST_IN_BORE, f"{why}, last at the mouth")
                return
        self._end_trial(Outcome.LOST, why)

    def _expire(self, seen: Observation, limit_s: float) -> None:
        """End a state that has lasted too long."""
        why = f"{self.state} took longer than {limit_s:g} s"
        if self.state is State.RETREAT:
            self.fault = f"the pipette was not raised, or the pump does not stand: {why}"
            self._fail(self.fault)
            return
        outcome = Outcome.NO_CELL if self.state is State.CHOOSE else Outcome.LATE
        if self.state is State.ASPIRATE and self._target is not None:
            last = self._target.last
            if not swims_to(last, way_to(seen.tip, last), self.settings):
                outcome = Outcome.TURNED
        self._end_trial(outcome, why)

    def _fail(self, why: str, outcome: Outcome = Outcome.FAULT) -> None:
        """End everything."""
        if self.state is not State.RETREAT and not self._begins:
            self._decide(outcome, why)
        self._go_on(State.ENDED, why)

    def _end_trial(self, outcome: Outcome, why: str) -> None:
        """Decide a trial; the pipette goes up."""
        self._decide(outcome, why)
        self._height_um = self._ready_um
        self._go_on(State.RETREAT, f"{outcome}: {why}")

    def _decide(self, outcome: Outcome, why: str) -> None:
        """Note the result of a trial; pump and stage stop."""
        self._draw.stop()
        self._goal = None
        cell = self._target.number if self._target is not None else None
        self._result = self._trial.result(
            self._number, cell, outcome, why, self._time_ns, self._draw.most_nl
        )
        self.results.append(self._result)
        if outcome in _SPENT and cell is not None:
            self._spent |= {cell}

    def _go_on(self, state: State, why: str) -> None:
        self.state, self._state_ns = state, self._time_ns
        if state is State.ENDED:
            self._draw.stop()
            self._goal = self._height_um = None
        self._note(why)

    def _note(self, text: str) -> None:
        self._events.append(Event(self._time_ns, self._number, self.state, text))

    def _px(self, length_um: float) -> float:
        return length_um / self.setup.pixel_um

    @property
    def _number(self) -> int:
        """Number of the trial that runs, or was just decided."""
        return len(self.results) + (self.state not in (State.RETREAT, State.ENDED))

    def _command(self) -> Command:
        runs = self.state not in (State.CHOOSE, State.RETREAT, State.ENDED)
        return Command(
            state=self.state,
            trial=self._number,
            target=self._target.number if self._target is not None and runs else None,
            goal_y_px=self._goal[0] if self._goal else None,
            goal_x_px=self._goal[1] if self._goal else None,
            pipette_z_um=self._height_um,
            flow_nl_s=self._draw.flow_nl_s,
            search=self.state is State.SEARCH,
            result=self._result,
            events=tuple(self._events),
            ended=self.state is State.ENDED,
        )
