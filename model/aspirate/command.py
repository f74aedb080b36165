"""What the procedure answers to each frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """States of the procedure, in the order of a trial."""

    CHOOSE = "choose"
    APPROACH = "approach"
    SEARCH = "search"
    DESCEND = "descend"
    ASPIRATE = "aspirate"
    WATCH = "watch"
    RETAIN = "retain"
    JUDGE = "judge"
    RETREAT = "retreat"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a trial ended; the values are written to the log."""

    SUCCESS = "success"
    BENEATH = "missed beneath"
    ABOVE = "missed above"
    ASIDE = "missed aside"
    LOST_IN_BORE = "lost from view along the bore"
    ESCAPED = "left the mouth again"
    TURNED = "turned away"
    LOST = "lost by the tracker"
    LATE = "timeout"
    ADHERED = "adhered"
    CONTACT = "contact with the rim"
    NO_CELL = "no cell"
    FAULT = "fault"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Event:
    """A change of state.

    Attributes
    ----------
    time_ns
        Time of the frame.
    trial
        Number of the trial, from 1.
    state
        The state that begins.
    text
        Why, for people.
    """

    time_ns: int
    trial: int
    state: State
    text: str


@dataclass(frozen=True)
class Result:
    """One trial. Lengths are µm of the specimen; None where it did not come so far.

    Attributes
    ----------
    trial
        Its number, from 1.
    cell
        Id of the cell; None if none was chosen.
    outcome
        How it ended.
    text
        Why, for people.
    begun_ns, ended_ns
        Times of the first frame and of the frame in which it was decided.
    drawn_ns, released_ns, entered_ns
        Times at which the pump began, the stage let the cell go, and the head was in the mouth.
    miss_um
        Height of the cell over the tip when the stage let it go.
    heading_deg
        Angle then between its velocity and the way to the tip; None for a cell at rest.
    swim_um_s
        Its speed then.
    entry_aside_um, entry_over_um
        Place of the head at the entry, beside and over the axis of the bore.
    entry_um_s
        Its speed along the bore.
    depth_um
        How far it was behind the mouth when it was last found.
    inside_s
        How long it was found inside.
    drawn_nl
        Volume that the pump had drawn at most.
    """

    trial: int
    cell: int | None
    outcome: Outcome
    text: str
    begun_ns: int
    ended_ns: int
    drawn_ns: int | None = None
    released_ns: int | None = None
    entered_ns: int | None = None
    miss_um: float | None = None
    heading_deg: float | None = None
    swim_um_s: float | None = None
    entry_aside_um: float | None = None
    entry_over_um: float | None = None
    entry_um_s: float | None = None
    depth_um: float | None = None
    inside_s: float = 0.0
    drawn_nl: float = 0.0

    @property
    def seconds(self) -> float:
        """Duration."""
        return (self.ended_ns - self.begun_ns) / 1e9

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"outcome": str(self.outcome), "seconds": self.seconds}


@dataclass(frozen=True)
class Command:
    """What holds from now on, until the next command: levels, not changes.

    A caller may send a level to its device only when it differs from the last one sent.

    Attributes
    ----------
    state
        The state of the procedure.
    trial
        Number of the trial, from 1.
    target
        Id of the chosen cell; None for none.
    goal_y_px, goal_x_px
        Where in the frame the x/y stage keeps the target; None: the stage stands still.
    pipette_z_um
        z of the manipulator to which the pipette goes, within its limits; None: it stays.
    flow_nl_s
        Flow of the pump; above 0 draws in, 0: the pump stands.
    search
        Whether the height of the target is wanted from a focus search.
    stands
        Whether the focus drive stands, so that the glass around the mouth looks the same in all
        frames from now on, and heads are seen against it.
    carried
        Whether the flow carries the target, which is near the mouth: its velocity may change at
        once.
    result
        The trial that ended in this frame.
    events
        What changed in this frame.
    ended
        Whether the procedure is over: pump and stage stand, and the pipette must be raised, unless
        that has been done.
    """

    state: State
    trial: int
    target: int | None = None
    goal_y_px: float | None = None
    goal_x_px: float | None = None
    pipette_z_um: float | None = None
    flow_nl_s: float = 0.0
    search: bool = False
    stands: bool = False
    carried: bool = False
    result: Result | None = None
    events: tuple[Event, ...] = ()
    ended: bool = False

    @property
    def goal_px(self) -> tuple[float, float] | None:
        """The goal, y and x; None where the stage stands still."""
        if self.goal_y_px is None or self.goal_x_px is None:
            return None
        return self.goal_y_px, self.goal_x_px
