"""One trial: from the choice of a cell until it is decided what became of it."""

from __future__ import annotations

from typing import Final

from fgaf.model.aspirate.choice import choose
from fgaf.model.aspirate.command import Event, Outcome, Result, State
from fgaf.model.aspirate.heading import speed_um_s, swims_to, way_to
from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.observation import Observation
from fgaf.model.aspirate.stand_off import StandOff
from fgaf.model.aspirate.suction import Draw
from fgaf.model.aspirate.target import Target
from fgaf.model.aspirate.tip_height import TipHeight
from fgaf.model.aspirate.trial import Trial
from fgaf.model.aspirate.verdict import Verdict, left, passed, strayed, vanished
from fgaf.model.live.message import LiveCell

_GAP_S: Final = 1.0
"""After a longer gap between frames the cell may be anywhere."""
_NEXT: Final = 1.5
"""A cell that was found so many frames ago was found in the last one."""
_WAITS_S: Final = 0.1
"""No other cell is taken for a target that was not found for less, while its track goes on."""


class Attempt:
    """Goes through the states from `choose` to `judge`; each has a time limit.

    Parameters
    ----------
    number
        Number of the trial, from 1.
    begun_ns
        Time of its first frame.
    mouth
        The mouth, with the settings.
    lowest_um
        The raised pipette is never lower than this z of the manipulator.
    spent
        Ids of cells that are not chosen.

    Attributes
    ----------
    state
        The current state.
    target
        The chosen cell; None before.
    place
        Where the stage keeps it.
    height
        Where the pipette goes.
    draw
        What the pump does.
    verdict
        How the trial ended; None before.
    events
        Changes of state, for the procedure to take.
    """

    def __init__(
        self, number: int, begun_ns: int, mouth: Mouth, lowest_um: float, spent: frozenset[int]
    ) -> None:
        self.number, self.state = number, State.CHOOSE
        self.target: Target | None = None
        self.place = StandOff(mouth)
        self.height = TipHeight(mouth, lowest_um)
        self.draw = Draw(mouth.settings)
        self.verdict: Verdict | None = None
        self.events: list[Event] = []
        self._mouth, self._settings, self._spent = mouth, mouth.settings, spent
        self._measured = Trial(begun_ns)
        self._state_ns = self._time_ns = self._inside_ns = begun_ns
        self._frame_s = 0.0
        self._searched_um: float | None = None
        self._swims, self._at_mouth = True, False
        s = self._settings
        self._steps = {
            State.CHOOSE: (self._choose, s.choose_s),
            State.APPROACH: (self._approach, s.approach_s),
            State.SEARCH: (self._search, s.search_s),
            State.DESCEND: (self._descend, s.descend_s),
            State.ASPIRATE: (self._aspirate, s.aspirate_s),
            State.WATCH: (self._watch, s.watch_s),
            State.RETAIN: (self._retain, s.retain_s),
            State.JUDGE: (self._judge, s.judge_s + s.lost_s + _GAP_S),
        }

    def step(self, seen: Observation) -> None:
        """Take a frame.

        Parameters
        ----------
        seen
            The frame.
        """
        self.pass_time(seen.time_ns)
        if self._frame_s > _GAP_S and self.state is not State.CHOOSE:
            self.verdict = Verdict(Outcome.LOST, f"there was no frame for {self._frame_s:.1f} s")
            return
        state = self.state
        step, limit_s = self._steps[state]
        step(seen)
        lasted_s = (seen.time_ns - self._state_ns) / 1e9
        if self.state is state and self.verdict is None and lasted_s > limit_s:
            self._expire(seen, limit_s)

    def pass_time(self, time_ns: int) -> None:
        """Count the time since the last frame, and what the pump has drawn in it.

        Parameters
        ----------
        time_ns
            Time of the frame.
        """
        self._frame_s = (time_ns - self._time_ns) / 1e9
        self._time_ns = time_ns
        self.draw.advance(self._frame_s)

    def close(self, verdict: Verdict) -> Result:
        """Stop pump and stage, and tell what was noted of the trial.

        Parameters
        ----------
        verdict
            How it ended.
        """
        self.draw.stop()
        self.place.let_go()
        cell = None if self.target is None else self.target.number
        return self._measured.result(self.number, cell, *verdict, self._time_ns, self.draw.most_nl)

    @property
    def carried(self) -> bool:
        """Whether the flow carries the target: from near the mouth on, until the flow has ended."""
        return self._at_mouth and self.draw.rested_s <= 2 * self._settings.prime_s

    # the states, in their order

    def _choose(self, seen: Observation) -> None:
        cell = choose(seen, self._settings, self._mouth.setup, self._spent)
        if cell is not None:
            self.target = Target(cell, seen)
            self._go_on(State.APPROACH, f"cell {cell.id} was chosen")

    def _approach(self, seen: Observation) -> None:
        cell = self._held(seen)
        if cell is None:
            return
        if not self.height.clear(seen, self._z_um(cell)):
            self.place.let_go()
        elif self.place.has(cell, seen.time_ns):
            if self._settings.search:
                self.place.let_go()
            follows = State.SEARCH if self._settings.search else State.DESCEND
            self._go_on(follows, "the cell is in place")

    def _search(self, seen: Observation) -> None:
        if self.target is not None:  # blurred cells are not found, and it is at rest
            self.target.find(seen, self._is_same)
            self.target.wait(seen.time_ns)
        if seen.searched_um is not None:
            self._searched_um = seen.searched_um
            self._go_on(State.DESCEND, f"the cell is in focus at z = {seen.searched_um:.2f} µm")

    def _descend(self, seen: Observation) -> None:
        cell = self._held(seen)
        if cell is None or not self.height.level(seen, self._z_um(cell)):
            return
        if self.place.has(cell, seen.time_ns):
            self._go_on(State.ASPIRATE, "the tip is at the height of the cell")

    def _aspirate(self, seen: Observation) -> None:
        cell = self._held(seen)
        if cell is None or not self.height.level(seen, self._z_um(cell)):
            return
        drawn_ns = self._measured.drawn_ns
        if self._heads_elsewhere(seen, cell):
            return
        if drawn_ns is None:
            self._swims = speed_um_s(cell) >= self._settings.still_um_s
            self._measured.drawn_ns = seen.time_ns
            self.draw.start()
            self._note(f"the pump draws {self.draw.flow_nl_s:g} nL/s")
            return
        primed = (seen.time_ns - drawn_ns) / 1e9 >= self._settings.prime_s
        if primed and seen.glass_known and self.place.has(cell, seen.time_ns):
            self._release(seen, cell)

    def _watch(self, seen: Observation) -> None:
        cell = self._drawn(seen)
        if cell is None or self.target is None:
            return
        if not self._mouth.has_entered(seen.tip, cell):
            self.verdict = strayed(self._mouth, seen, self.target)
            return
        self.verdict = passed(self._mouth, seen.tip, cell, self._z_um(cell))
        if self.verdict is not None:
            return
        self._measured.enter(seen, cell, self._mouth, self._z_um(cell))
        self._inside_ns = seen.time_ns
        if self._settings.retain != "constant":
            self.draw.stop()
        self._go_on(State.RETAIN, "the head is in the mouth")

    def _retain(self, seen: Observation) -> None:
        self._stays_inside(seen)
        if self.verdict is not None:
            return
        if self._settings.retain == "reverse" and self.draw.give_back():
            return
        self._go_on(State.JUDGE, "the flow is as it stays")

    def _judge(self, seen: Observation) -> None:
        inside = self._stays_inside(seen)
        if inside and self._measured.since_entry_s(seen.time_ns) >= self._settings.judge_s:
            self.verdict = Verdict(Outcome.SUCCESS, "the cell is inside and in view")

    # what several states do

    def _held(self, seen: Observation) -> LiveCell | None:
        """The target, which the stage is told to keep; a trial that has lost it ends."""
        target = self.target
        if target is None:
            return None
        cell = target.find(seen, self._is_same)
        if cell is not None:
            self.place.keep(seen, cell, self._frame_s)
            if self._swims and self.place.turned_away:
                self.verdict = Verdict(Outcome.TURNED, "the cell swims elsewhere")
                return None
            return cell
        self.place.let_go()
        self._end_if_lost(seen, target, released=False)
        return None

    def _heads_elsewhere(self, seen: Observation, cell: LiveCell) -> bool:
        """Whether the target swims past the mouth.

        A cell at rest is moved by the flow alone, sideways where that takes its tail first.
        """
        return self._swims and not swims_to(cell, way_to(seen.tip, cell), self._settings)

    def _release(self, seen: Observation, cell: LiveCell) -> None:
        """Let the stage stand; the cell swims on, and is drawn in."""
        self._measured.release(seen, cell, self._mouth, self._z_um(cell))
        self.place.let_go()
        if self.target is not None:
            self.target.stands(seen.time_ns)
        self._go_on(State.WATCH, "the stage stands, the cell is drawn")

    def _drawn(self, seen: Observation) -> LiveCell | None:
        """The released target; a trial that has lost it ends.

        A cell that appears in the bore after it was lost is taken for it if it may have come there.
        """
        target = self.target
        if target is None:
            return None
        mouth, tip, last = self._mouth, seen.tip, target.last
        missing_s = target.missing_s(seen.time_ns)
        drawn_s = max(0.0, missing_s - max(0.0, self.draw.rested_s - self._settings.prime_s))
        swim_um_s = self._measured.swim_um_s or 0.0
        was_inside = mouth.contains(tip, last, self._z_um(last))

        def comes(cell: LiveCell) -> bool:
            return mouth.may_come(tip, last, cell, swim_um_s, missing_s, drawn_s)

        def stays(cell: LiveCell) -> bool:
            """After a gap the track may have taken another head; no cell passes the glass."""
            passes = was_inside and mouth.is_aside(tip, cell)
            return missing_s <= _NEXT * self._frame_s or (comes(cell) and not passes)

        def succeeds(fresh: LiveCell) -> bool:
            waits = missing_s < _WAITS_S and seen.listed(target.number)
            return not waits and mouth.contains(tip, fresh, fresh.z_um) and comes(fresh)

        cell = target.find(seen, succeeds, stays)
        self._at_mouth = mouth.across_um(tip, target.last)[0] > -self._settings.bore_um
        if cell is None:
            self._end_if_lost(seen, target, released=True)
        return cell

    def _stays_inside(self, seen: Observation) -> bool:
        """Whether the target is found in the bore; the trial ends when it is not for long.

        A place or a height outside for a moment is an error: the glass has no holes.
        """
        cell = self._drawn(seen)
        if cell is None:
            return False
        out = left(self._mouth, seen.tip, cell, self._z_um(cell))
        if out is None:
            self._inside_ns = seen.time_ns
            self._measured.stay(seen, cell, self._mouth)
        elif (seen.time_ns - self._inside_ns) / 1e9 > self._settings.lost_s:
            self.verdict = out
        return out is None

    def _end_if_lost(self, seen: Observation, target: Target, *, released: bool) -> None:
        if target.missing_s(seen.time_ns) > self._settings.lost_s:
            self.verdict = vanished(self._mouth, seen.tip, target, released=released)

    def _z_um(self, cell: LiveCell) -> float | None:
        """Height of the target, µm of the drive."""
        return self._searched_um if self._settings.search else cell.z_um

    def _is_same(self, fresh: LiveCell) -> bool:
        """Whether a new cell is the target after a search: it lies where that lay."""
        if not self._settings.search or self.target is None:
            return False
        return self.target.is_near(fresh, self._settings.near_um / self._mouth.setup.pixel_um)

    def _expire(self, seen: Observation, limit_s: float) -> None:
        """End the trial in a state that has lasted too long."""
        outcome = Outcome.NO_CELL if self.state is State.CHOOSE else Outcome.LATE
        target = self.target if self.state is State.ASPIRATE else None
        if target is not None and self._heads_elsewhere(seen, target.last):
            outcome = Outcome.TURNED
        self.verdict = Verdict(outcome, f"{self.state} took longer than {limit_s:g} s")

    def _go_on(self, state: State, why: str) -> None:
        self.state, self._state_ns = state, self._time_ns
        self._note(why)

    def _note(self, text: str) -> None:
        self.events.append(Event(self._time_ns, self.number, self.state, text))
