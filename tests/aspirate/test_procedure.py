"""Every way in which a trial ends, on a dish of a few lines; and what holds in all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from fgaf.base.errors import SettingError
from fgaf.model.aspirate.command import Command, Outcome, State
from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.procedure import Procedure
from fgaf.model.aspirate.settings import AspirationSettings
from fgaf.model.aspirate.target import Target
from tests.aspirate.dish import SETUP, SOFT, TIP_PX, Dish, run

Each = Callable[[Dish, Command], None]
SWIMS = (0.0, 50.0)
MOST = 2000
"""More frames than a trial takes."""


def once(change: Each, when: Callable[[Dish, Command], bool]) -> Each:
    """Change the dish the first time that something is so."""
    done = []

    def each(dish: Dish, command: Command) -> None:
        if not done and when(dish, command):
            done.append(True)
            change(dish, command)

    return each


def released(_dish: Dish, command: Command) -> bool:
    return command.state is State.WATCH


def inside(_dish: Dish, command: Command) -> bool:
    return command.state is State.JUDGE


def near(dish: Dish, command: Command) -> bool:
    return released(dish, command) and dish.distance_um < 6


def put(**values: object) -> Each:
    def change(dish: Dish, _command: Command) -> None:
        for name, value in values.items():
            setattr(dish, name, value)

    return change


def renumber(dish: Dish, _command: Command) -> None:
    dish.number, dish.age_s, dish.x = 9, 0.0, TIP_PX[1] + 50


def nothing(_dish: Dish, _command: Command) -> None:
    pass


CASES: dict[str, tuple[Dish, AspirationSettings, Each, Outcome]] = {
    "at rest": (Dish(), SOFT, nothing, Outcome.SUCCESS),
    "swims to the mouth": (Dish(swim=SWIMS), SOFT, nothing, Outcome.SUCCESS),
    "swims aslant": (Dish(swim=(20.0, 50.0)), SOFT, nothing, Outcome.SUCCESS),
    "at rest, and carried aslant by the flow": (
        Dish(),
        SOFT,
        once(put(swim=(12.0, 0.0)), lambda _, c: c.flow_nl_s > 0),
        Outcome.SUCCESS,
    ),
    "pump stops": (Dish(), replace(SOFT, retain="stop"), nothing, Outcome.SUCCESS),
    "flow goes on": (
        Dish(bore_um_s=80.0),
        replace(SOFT, retain="constant"),
        nothing,
        Outcome.LOST_IN_BORE,
    ),
    "slow flow goes on": (
        Dish(bore_um_s=5.0),
        replace(SOFT, retain="constant"),
        nothing,
        Outcome.SUCCESS,
    ),
    "gets another number in the bore": (
        Dish(),
        replace(SOFT, retain="stop"),
        once(renumber, near),
        Outcome.SUCCESS,
    ),
    "another one appears far in the bore": (
        Dish(swim=SWIMS),
        replace(SOFT, retain="stop", bore_um=10, flow_nl_s=0.01, lost_s=0.1),
        once(put(number=9, x=TIP_PX[1] + 400), near),
        Outcome.LOST_IN_BORE,
    ),
    "sinks": (
        Dish(swim=SWIMS),
        SOFT,
        once(put(z=-12.0), released),
        Outcome.BENEATH,
    ),
    "rises": (Dish(swim=SWIMS), SOFT, once(put(z=12.0), released), Outcome.ABOVE),
    "passes the mouth": (
        Dish(swim=SWIMS),
        SOFT,
        once(put(y=TIP_PX[0] + 60, swim=(60.0, 100.0)), released),
        Outcome.ASIDE,
    ),
    "vanishes at the mouth": (
        Dish(),
        SOFT,
        once(put(seen=False), near),
        Outcome.LOST_IN_BORE,
    ),
    "vanishes inside": (
        Dish(),
        SOFT,
        once(put(seen=False), inside),
        Outcome.LOST_IN_BORE,
    ),
    "comes out again": (
        Dish(),
        SOFT,
        once(put(x=TIP_PX[1] - 40), inside),
        Outcome.ESCAPED,
    ),
    "slips through the wall": (
        Dish(),
        SOFT,
        once(put(y=TIP_PX[0] - 60), inside),
        Outcome.ASIDE,
    ),
    "turns after release": (
        Dish(swim=SWIMS),
        SOFT,
        once(put(swim=(0.0, -200.0)), released),
        Outcome.TURNED,
    ),
    "turns before": (
        Dish(swim=SWIMS),
        SOFT,
        once(put(swim=(0.0, -50.0)), lambda _, c: c.state is State.DESCEND),
        Outcome.TURNED,
    ),
    "vanishes on the way": (
        Dish(),
        SOFT,
        once(put(seen=False), lambda _, c: c.state is State.APPROACH),
        Outcome.LOST,
    ),
    "vanishes far from the mouth": (
        Dish(),
        replace(SOFT, stand_off_px=300),
        once(put(seen=False), released),
        Outcome.LOST,
    ),
    "stage stands": (Dish(stage_um_s=0.0), SOFT, nothing, Outcome.LATE),
    "sticks to the dish": (
        Dish(),
        SOFT,
        once(put(adheres=True), released),
        Outcome.ADHERED,
    ),
    "sticks to the rim": (
        Dish(),
        SOFT,
        once(put(adheres=True), near),
        Outcome.CONTACT,
    ),
    "swims away": (Dish(swim=(0.0, -50.0)), SOFT, nothing, Outcome.NO_CELL),
    "too fast": (Dish(swim=(0.0, 150.0)), SOFT, nothing, Outcome.NO_CELL),
    "too deep for the pipette": (Dish(z=-60.0), SOFT, nothing, Outcome.NO_CELL),
    "no frames": (
        Dish(),
        SOFT,
        once(put(time_ns=10**11), released),
        Outcome.LOST,
    ),
    "no tip": (
        Dish(),
        SOFT,
        once(put(pipette_um=math.nan), released),
        Outcome.FAULT,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_trial_ends_as_it_must(name: str) -> None:
    dish, settings, each, outcome = CASES[name]
    dish = replace(dish, commands=[])
    assert run(dish, Procedure(SETUP, settings), each) == [outcome]
    for command in dish.commands:
        drawing = command.state in (State.ASPIRATE, State.WATCH)
        kept = command.state is State.JUDGE and settings.retain == "constant"
        kept = kept or (command.state is State.RETAIN and settings.retain == "constant")
        assert command.flow_nl_s <= 0 or drawing or kept
    if outcome not in (Outcome.FAULT, Outcome.NO_CELL):
        assert dish.pipette_um >= 99, "the pipette was raised"


def in_judge(procedure: Procedure, dish: Dish) -> list[Command]:
    """Run until the head has been inside for a moment; returns where further commands go."""
    for _ in range(MOST):
        command = procedure.step(dish.observe())
        dish.advance(command)
        if sum(each.state is State.JUDGE for each in dish.commands) == 8:
            return dish.commands
    raise AssertionError("the head did not come in")


def go_on(procedure: Procedure, dish: Dish) -> Outcome:
    while not procedure.results:
        dish.advance(procedure.step(dish.observe()))
    return procedure.results[0].outcome


STOPPED = replace(SOFT, retain="stop", prime_s=0.1, lost_s=0.3)


@pytest.mark.parametrize("off_px", [(-50, 10), (20, -60)], ids=["glass", "mouth"])
@pytest.mark.parametrize("found", [True, False])
def test_a_track_that_takes_a_head_outside_the_glass_or_before_the_mouth_is_not_the_target(
    found: bool, off_px: tuple[float, float]
) -> None:
    dish, procedure = Dish(), Procedure(SETUP, STOPPED)
    in_judge(procedure, dish)
    y, x = dish.y, dish.x
    dish.seen = False
    for _ in range(3):
        dish.advance(procedure.step(dish.observe()))
    dish.seen, dish.y, dish.x = True, y + off_px[0], x + off_px[1]
    if found:
        dish.others = (dish.cell(id=9, y_px=y, x_px=x, age_s=0.05),)
    assert go_on(procedure, dish) is (Outcome.SUCCESS if found else Outcome.LOST_IN_BORE)
    targets = [each.target for each in dish.commands if each.state is State.JUDGE]
    assert targets[-1] == (9 if found else 7)


def test_a_cell_that_passes_is_not_taken_for_a_target_that_one_frame_did_not_show() -> None:
    dish, procedure = Dish(), Procedure(SETUP, STOPPED)
    in_judge(procedure, dish)
    passes = dish.cell(id=9, x_px=dish.x + 8)
    dish.others = (replace(passes, seen=False),)
    dish.advance(procedure.step(dish.observe()))
    dish.others, dish.seen = (passes,), False
    dish.advance(procedure.step(dish.observe()))
    dish.seen = True
    assert go_on(procedure, dish) is Outcome.SUCCESS
    assert {each.target for each in dish.commands if each.state is State.JUDGE} == {7}


@pytest.mark.parametrize(
    ("differs", "is_target"),
    [
        ({}, True),
        ({"age_s": 0.5}, False),
        ({"x_px": 40}, False),
        ({"x_px": -40}, False),
        ({"y_px": 60}, False),
        ({"z_um": 8}, False),
    ],
)
def test_a_new_track_is_the_target_where_that_can_be(
    differs: dict[str, float], is_target: bool
) -> None:
    dish, procedure = Dish(), Procedure(SETUP, STOPPED)
    in_judge(procedure, dish)
    here = {"y_px": dish.y, "x_px": dish.x, "z_um": dish.z, "age_s": 0.0}
    new = {name: here[name] + differs.get(name, 0.0) for name in here}
    dish.seen = False
    for _ in range(6):
        dish.advance(procedure.step(dish.observe()))
    dish.others = (dish.cell(id=9, seen=True, **new),)
    assert go_on(procedure, dish) is (Outcome.SUCCESS if is_target else Outcome.LOST_IN_BORE)


@pytest.mark.parametrize(
    ("along_um", "aside_um", "seconds", "drawn_s", "comes"),
    [
        (0, 0, 0.0, 0.0, True),
        (3, 0, 0.0, 0.0, False),
        (20, 0, 0.1, 0.1, True),
        (20, 0, 0.1, 0.0, False),
        (-20, 0, 0.1, 0.1, False),
        (0, 20, 0.1, 0.1, False),
        (5, 0, 0.1, 0.0, True),
        (-5, 0, 0.1, 0.0, True),
    ],
)
def test_a_cell_swims_anywhere_and_is_drawn_along_as_long_as_the_pump_draws(
    along_um: float, aside_um: float, seconds: float, drawn_s: float, comes: bool
) -> None:
    mouth = Mouth(AspirationSettings(), SETUP)  # on the axis the liquid goes 204 µm/s
    dish = Dish()
    tip, before = dish.observe().tip, dish.cell()
    now = dish.cell(y_px=dish.y + aside_um / 0.1465, x_px=dish.x + along_um / 0.1465)
    assert mouth.may_come(tip, before, now, 50.0, seconds, drawn_s) == comes


def test_the_flow_carries_a_released_cell_until_it_has_ended() -> None:
    dish, procedure = Dish(), Procedure(SETUP, STOPPED)
    run(dish, procedure)
    carried = [each.state for each in dish.commands if each.carried]
    assert set(carried) == {State.WATCH, State.RETAIN, State.JUDGE}
    judged = sum(each.state is State.JUDGE for each in dish.commands)
    assert 0 < carried.count(State.JUDGE) < judged / 3


@pytest.mark.parametrize(
    ("swim", "outcome"),
    [
        ((0.0, 60.0), Outcome.SUCCESS),
        ((45.0, 45.0), Outcome.TURNED),
        ((0.0, -60.0), Outcome.TURNED),
    ],
)
def test_a_cell_that_turns_away_before_its_release_is_given_up_soon(
    swim: tuple[float, float], outcome: Outcome
) -> None:
    dish, procedure = Dish(swim=(0.0, 60.0)), Procedure(SETUP, SOFT)
    turned_ns = []

    def each(dish: Dish, command: Command) -> None:
        if command.state is State.DESCEND and not turned_ns:
            dish.swim = swim
            turned_ns.append(dish.time_ns)

    assert run(dish, procedure, each) == [outcome]
    if outcome is Outcome.TURNED:
        assert (procedure.results[0].ended_ns - turned_ns[0]) / 1e9 < 0.7


def test_a_cell_that_turns_back_is_waited_for() -> None:
    dish, procedure = Dish(swim=(0.0, 60.0)), Procedure(SETUP, SOFT)

    def each(dish: Dish, command: Command) -> None:
        if command.state is State.DESCEND and dish.swim[0] == 0.0:
            dish.swim = (50.0, 33.0)
        elif command.state in (State.DESCEND, State.ASPIRATE):
            dish.swim = (max(dish.swim[0] - 1.0, 0.1), 45.0)

    assert run(dish, procedure, each) == [Outcome.SUCCESS]


@pytest.mark.parametrize(
    ("place", "swim", "chosen"),
    [
        ((340.0, 220.0), (0.0, 50.0), True),
        ((340.0, 700.0), (0.0, 50.0), False),
        ((340.0, 700.0), (0.0, 0.0), True),
        ((590.0, 220.0), (10.0, 50.0), False),
    ],
)
def test_a_cell_that_is_about_to_leave_the_frame_is_not_chosen(
    place: tuple[float, float], swim: tuple[float, float], chosen: bool
) -> None:
    dish = Dish(y=place[0], x=place[1], swim=swim)
    procedure = Procedure(replace(SETUP, shape=(600, 800)), SOFT)
    assert (procedure.step(dish.observe()).state is State.APPROACH) == chosen


def test_the_way_of_a_success() -> None:
    dish, procedure = Dish(), Procedure(SETUP, SOFT)
    run(dish, procedure)
    states = list(dict.fromkeys(command.state for command in dish.commands))
    assert states == [s for s in State if s not in (State.CHOOSE, State.SEARCH, State.ENDED)]
    (result,) = procedure.results
    drawn, let_go, entered = result.drawn_ns, result.released_ns, result.entered_ns
    assert drawn is not None
    assert let_go is not None
    assert entered is not None
    assert result.begun_ns < drawn < let_go < entered < result.ended_ns
    assert result.cell == dish.number
    assert result.inside_s >= procedure.settings.judge_s
    assert result.miss_um == pytest.approx(0, abs=procedure.settings.level_um)
    assert result.heading_deg is None
    assert abs(result.entry_aside_um or 0) < 2.5


def test_no_cell_is_released_before_the_glass_is_known_and_the_drive_stands_until_the_end() -> None:
    dish, waits = Dish(glass_known=False), []

    def each(dish: Dish, command: Command) -> None:
        if command.state is State.ASPIRATE and command.flow_nl_s > 0:
            waits.append(command)
            dish.glass_known = len(waits) > 100

    assert run(dish, Procedure(SETUP, SOFT), each) == [Outcome.SUCCESS]
    assert len(waits) > 100
    standing = [c.state for c in dish.commands if c.stands]
    assert set(standing) == {State.ASPIRATE, State.WATCH, State.RETAIN, State.JUDGE}
    assert standing == [c.state for c in dish.commands if c.state in set(standing)]


def test_a_level_tip_follows_only_a_cell_that_leaves_its_height() -> None:
    dish = Dish(glass_known=False)
    heights: dict[float, set[float | None]] = {}

    def each(dish: Dish, command: Command) -> None:
        if command.state is State.ASPIRATE:
            dish.z = -2.9 if len(dish.commands) % 2 else -2.0
            heights.setdefault(dish.z, set()).add(command.pipette_z_um)

    assert run(dish, Procedure(SETUP, SOFT), each) == [Outcome.LATE]
    assert len(heights[-2.0] | heights[-2.9]) == 1


def test_the_tip_goes_to_the_height_of_the_cell_in_specimen_micrometres() -> None:
    dish = Dish(z=-8.0)
    run(dish, Procedure(SETUP, SOFT))
    lowest = min(c.pipette_z_um for c in dish.commands if c.pipette_z_um is not None)
    assert lowest == pytest.approx(60 - 8 * 1.335, abs=0.01)


def test_a_cell_is_kept_at_the_stand_off_on_its_way_into_the_mouth() -> None:
    dish = Dish(swim=(20.0, 50.0))
    run(dish, Procedure(SETUP, SOFT))
    last = [c for c in dish.commands if c.state is State.ASPIRATE and c.goal_y_px is not None][-1]
    assert last.goal_y_px is not None
    assert last.goal_x_px is not None
    off = (last.goal_y_px - TIP_PX[0], last.goal_x_px - TIP_PX[1])
    assert math.hypot(*off) == pytest.approx(100)
    assert off[0] / off[1] == pytest.approx(20 / 50, abs=0.01)


@pytest.mark.parametrize("each", [nothing, once(put(swim=(0.0, -200.0)), released)])
def test_reversal_gives_back_what_was_drawn(each: Each) -> None:
    dish, procedure = Dish(), Procedure(SETUP, SOFT)
    run(dish, procedure, each)
    assert procedure.results[0].drawn_nl > 1
    assert dish.drawn_nl == pytest.approx(0, abs=0.15)


def test_trials_follow_each_other_until_their_number_is_reached() -> None:
    dish, procedure = Dish(), Procedure(SETUP, SOFT, trials=3)
    far = once(put(x=TIP_PX[1] - 45), inside)

    def each(dish: Dish, command: Command) -> None:
        far(dish, command)
        if command.state is State.CHOOSE and procedure.results:
            dish.y, dish.x, dish.number = 340.0, 220.0, 7 + len(procedure.results)

    assert run(dish, procedure, each) == [Outcome.ESCAPED, Outcome.SUCCESS, Outcome.SUCCESS]
    assert [result.trial for result in procedure.results] == [1, 2, 3]


def test_a_cell_that_was_drawn_in_is_not_chosen_again() -> None:
    dish, procedure = Dish(), Procedure(SETUP, SOFT, trials=2)

    def each(dish: Dish, command: Command) -> None:
        if command.state is State.CHOOSE:
            dish.y, dish.x = 340.0, 220.0

    assert run(dish, procedure, each) == [Outcome.SUCCESS, Outcome.NO_CELL]


def test_a_focus_search_is_asked_for_and_its_height_used() -> None:
    dish, asked = Dish(z=-4.0), []
    procedure = Procedure(SETUP, replace(SOFT, search=True))
    command = procedure.step(dish.observe())
    for _ in range(MOST):
        if command.ended:
            break
        dish.advance(command)
        seen = dish.observe()
        if command.search:
            asked.append(command)
            dish.number, dish.age_s = 11, 0.0  # blurred in between, so that the tracker begins anew
            cells = tuple(replace(cell, z_um=50.0) for cell in dish.observe().cells)
            found = -4.0 if len(asked) > 20 else None
            seen = replace(dish.observe(), cells=cells, searched_um=found)
        command = procedure.step(seen)
    assert [result.outcome for result in procedure.results] == [Outcome.SUCCESS]
    assert all(each.goal_y_px is None and each.flow_nl_s == 0 for each in asked)
    lowest = min(c.pipette_z_um for c in dish.commands if c.pipette_z_um is not None)
    assert lowest == pytest.approx(60 - 4 * 1.335, abs=0.01)


def test_a_search_is_only_for_cells_at_rest() -> None:
    settings = replace(SOFT, search=True)
    assert run(Dish(swim=SWIMS), Procedure(SETUP, settings)) == [Outcome.NO_CELL]


@pytest.mark.parametrize("state", [s for s in State if s not in (State.SEARCH, State.ENDED)])
def test_an_error_ends_everything_from_every_state(state: State) -> None:
    dish, procedure = Dish(seen=state is not State.CHOOSE), Procedure(SETUP, SOFT, trials=5)
    command = procedure.step(dish.observe())
    for _ in range(MOST):
        if command.state is state:
            break
        dish.advance(command)
        command = procedure.step(dish.observe())
    assert command.state is state
    last = procedure.abort("the pump has an alarm")
    assert last.ended
    assert last.flow_nl_s == 0
    assert last.goal_y_px is None
    assert [event.text for event in last.events] == ["the pump has an alarm"]
    assert procedure.results[-1].outcome is (
        Outcome.SUCCESS if state is State.RETREAT else Outcome.FAULT
    )
    dish.advance(last)
    again = procedure.step(dish.observe())
    assert again.ended
    assert again.events == ()


def test_a_pipette_that_does_not_rise_is_a_fault() -> None:
    dish, procedure, said = Dish(), Procedure(SETUP, SOFT, trials=2), []

    def each(dish: Dish, command: Command) -> None:
        said.extend(event.text for event in command.events)
        if command.state is State.RETREAT:
            dish.pipette_um_s = 0.0

    assert run(dish, procedure, each) == [Outcome.SUCCESS]
    assert said[-1].startswith("the pipette was not raised, or the pump does not stand")


def test_a_frame_that_is_not_newer_changes_nothing() -> None:
    dish, procedure = Dish(), Procedure(SETUP, SOFT)
    first = procedure.step(dish.observe())
    again = procedure.step(dish.observe())
    assert again == replace(first, events=())


def test_bad_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="stand_off_px: 0 is out of bounds; give 5 to 2000 px"):
        AspirationSettings(stand_off_px=0)
    with pytest.raises(SettingError, match="retain = 'hold' is none of 'stop', 'reverse'"):
        AspirationSettings(retain="hold")  # type: ignore[arg-type]


@pytest.mark.parametrize("seen", [True, False])
def test_an_unseen_track_may_take_the_head_of_the_target_and_a_seen_cell_may_not(
    seen: bool,
) -> None:
    first = Dish().observe()
    (cell,) = first.cells
    other = replace(cell, id=8, seen=seen, x_px=cell.x_px + 30)
    target = Target(cell, replace(first, cells=(cell, other)))
    later = replace(first, cells=(replace(cell, seen=False), replace(cell, id=8)))
    found = target.find(later, lambda _: True)
    assert (found is None) == seen
