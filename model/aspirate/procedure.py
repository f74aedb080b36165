"""The procedure of an aspiration: a state machine that is told of each frame and answers it.

It knows no devices and no images: the loop at the microscope and simulated trials run the same.
"""

from __future__ import annotations

from typing import Final

from fgaf.model.aspirate.attempt import Attempt
from fgaf.model.aspirate.command import Command, Event, Outcome, Result, State
from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.observation import Observation, Setup
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.aspirate.verdict import Verdict

_STANDS: Final = frozenset({State.ASPIRATE, State.WATCH, State.RETAIN, State.JUDGE})
"""The focus drive stands in these states."""
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
        self._attempt: Attempt | None = None
        self._lowest_um = 0.0
        self._time_ns = self._retreat_ns = 0
        self._spent: frozenset[int] = frozenset()
        self._result: Result | None = None
        self._events: list[Event] = []

    @property
    def target_px(self) -> tuple[float, float] | None:
        """Where the target was found last, y and x; None without a target."""
        target = None if self._attempt is None else self._attempt.target
        return None if target is None else (target.last.y_px, target.last.x_px)

    def step(self, seen: Observation) -> Command:
        """Take a frame, and say what holds from now on.

        A frame that is not newer than the last one changes nothing.

        Parameters
        ----------
        seen
            The frame.
        """
        self._events, self._result = [], None
        begun = self._attempt is not None
        if self.state is State.ENDED or (begun and seen.time_ns <= self._time_ns):
            return self._command()
        if not seen.sound:
            self.fault = "the place of the tip, the pipette or the flow is not a number"
            self._fail(self.fault)
            return self._command()
        self._time_ns = seen.time_ns
        if self._attempt is None:
            self._lowest_um = self.setup.inside(seen.pipette_z_um)
            self._attempt = self._begin("the first trial begins")
        if self.state is State.RETREAT:
            self._retreat(seen, self._attempt)
        else:
            self._try(seen, self._attempt)
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

    def _begin(self, why: str) -> Attempt:
        number = len(self.results) + 1
        attempt = Attempt(number, self._time_ns, self._mouth, self._lowest_um, self._spent)
        self._attempt, self.state = attempt, attempt.state
        self._note(why)
        return attempt

    def _try(self, seen: Observation, attempt: Attempt) -> None:
        """Go on with the trial; when it has ended, the pipette goes up."""
        attempt.step(seen)
        self.state = attempt.state
        self._events += attempt.events
        attempt.events.clear()
        if attempt.verdict is not None:
            self._decide(attempt, attempt.verdict)
            attempt.height.lift()
            self.state, self._retreat_ns = State.RETREAT, self._time_ns
            self._note(f"{attempt.verdict.outcome}: {attempt.verdict.text}")

    def _retreat(self, seen: Observation, attempt: Attempt) -> None:
        """Wait until the pipette is up and the pump stands; then the next trial begins."""
        attempt.pass_time(seen.time_ns)
        last, limit_s = self.results[-1], self.settings.retreat_s
        keeps = last.outcome is Outcome.SUCCESS or self.settings.retain != "reverse"
        gives = not keeps and attempt.draw.give_back()
        if not gives:
            attempt.draw.stop()
            if attempt.height.is_raised(seen) and not seen.pipette_moving and not seen.flow_nl_s:
                if last.outcome is Outcome.NO_CELL or len(self.results) >= self._trials:
                    self._end(last.text)
                else:
                    self._begin("the next trial begins")
                return
        if (seen.time_ns - self._retreat_ns) / 1e9 > limit_s:
            self.fault = (
                "the pipette was not raised, or the pump does not stand: "
                f"{State.RETREAT} took longer than {limit_s:g} s"
            )
            self._fail(self.fault)

    def _fail(self, why: str, outcome: Outcome = Outcome.FAULT) -> None:
        """End everything."""
        if self._attempt is not None and self.state is not State.RETREAT:
            self._decide(self._attempt, Verdict(outcome, why))
        self._end(why)

    def _decide(self, attempt: Attempt, verdict: Verdict) -> None:
        """Note the result of a trial; pump and stage stop."""
        result = self._result = attempt.close(verdict)
        self.results.append(result)
        if verdict.outcome in _SPENT and result.cell is not None:
            self._spent |= {result.cell}

    def _end(self, why: str) -> None:
        self.state = State.ENDED
        self._note(why)

    def _note(self, text: str) -> None:
        self._events.append(Event(self._time_ns, self._number, self.state, text))

    @property
    def _number(self) -> int:
        """Number of the trial that runs, or was just decided; 0 before the first."""
        return 0 if self._attempt is None else self._attempt.number

    def _command(self) -> Command:
        attempt, events = self._attempt, tuple(self._events)
        ended = self.state is State.ENDED
        if attempt is None or ended:
            return Command(
                self.state, self._number, result=self._result, events=events, ended=ended
            )
        held = None if self.state is State.RETREAT else attempt.target
        goal_y_px, goal_x_px = attempt.place.goal_px or (None, None)
        return Command(
            state=self.state,
            trial=self._number,
            target=None if held is None else held.number,
            goal_y_px=goal_y_px,
            goal_x_px=goal_x_px,
            pipette_z_um=attempt.height.wanted_um,
            flow_nl_s=attempt.draw.flow_nl_s,
            search=self.state is State.SEARCH,
            stands=self.state in _STANDS,
            carried=held is not None and attempt.carried,
            result=self._result,
            events=events,
        )
