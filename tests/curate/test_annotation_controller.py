"""What the keys do, without a window; queues, second passes and their agreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf.base.errors import FgafError, SettingError
from fgaf.curate.commands.main import main
from fgaf.curate.detection.crop import AT_BORDER, PatchSettings
from fgaf.curate.session.agreement import agreement, disagreements, weighted_kappa
from fgaf.curate.session.annotation_controller import AnnotationController
from fgaf.curate.session.closeup import Closeups
from fgaf.curate.session.finding import find_cells, require_workable, take_in
from fgaf.curate.session.queue import QueueSettings, queue_of
from fgaf.curate.session.session import Session, decision_of
from fgaf.curate.session.state import AUTO, CellState, StackRef, Suggested
from fgaf.curate.session.status import status
from fgaf.dataset.raw import RawStack

Z = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def controller(session: Session, clock: Clock) -> AnnotationController:
    return AnnotationController(session, "ann", clock=clock)


@pytest.fixture
def twelve(flat_stack: Callable[..., Path], tmp_path: Path) -> Iterator[Session]:
    """Twelve cells of one stack, suggested at -1 to 1 µm with falling confidence."""
    path = flat_stack(tmp_path / "b.stack.h5", seed=3, shape=(9, 60, 400))
    with Session.create(tmp_path / "twelve", PatchSettings(16, 0.5, 0.5)) as session:
        with RawStack.open(path) as stack:
            ref = replace(StackRef.of(stack), sample_id="donor 2")
        cells = [
            CellState(
                f"b-{i:02d}",
                ref.fingerprint,
                np.full(9, 30.0 if i % 2 else 12.0),
                np.full(9, 20.0 + 30 * i),
                5,
                5,
                0.9,
                suggestion=Suggested(Z[2 + i % 5], 0.95 - i / 20, "phase", "", "focus-curve"),
            )
            for i in range(12)
        ]
        session.begin([ref], cells)
        yield session


def test_accept_advances_and_the_last_one_says_so(controller: AnnotationController) -> None:
    assert (controller.name, controller.plane, controller.left) == ("one", 2, 3)
    assert controller.accept() == "one: suggestion accepted at +0.20 µm"
    assert controller.name == "two"
    controller.step(1)
    assert controller.focus_here() == "two: focus set at +0.50 µm"
    assert controller.session.state.cells["two"].decision.focus_um == 0.5
    assert "all cells in this queue are done" in controller.reject("debris")
    assert controller.left == 0
    assert controller.session.state.counts() == {"found": 3, "kept": 2, "debris": 1}


def test_stepping_ends_at_the_ends_of_the_stack(controller: AnnotationController) -> None:
    controller.step(-9)
    assert controller.plane == 0
    controller.step(99)
    assert controller.plane == 4
    assert controller.next() == ""
    assert controller.previous() == ""
    assert controller.previous() == "this is the first cell"


def test_the_queue_goes_on_behind_the_cell_in_view(controller: AnnotationController) -> None:
    controller.go("two")
    controller.unsure()
    assert controller.name == "three"
    controller.accept()
    assert controller.name == "one"


def test_without_advance_the_cell_stays(session: Session) -> None:
    controller = AnnotationController(session, "ann", advance=False)
    controller.accept()
    assert controller.name == "one"


def test_undo_and_redo_show_their_cell(controller: AnnotationController) -> None:
    controller.accept()
    controller.nudge(1, 0, every=True)
    controller.reject("dead")
    assert controller.name == "three"
    assert controller.undo() == "undone: reject of two"
    assert controller.name == "two"
    assert controller.undo() == "undone: move of two"
    assert controller.undo() == "undone: accept of one"
    assert (controller.name, controller.left) == ("one", 3)
    for _ in range(3):
        controller.redo()
    assert controller.left == 1


def test_time_is_counted_while_someone_is_there(
    controller: AnnotationController, clock: Clock
) -> None:
    clock.now = 2.0
    controller.step(1)
    clock.now = 1000.0
    controller.step(-1)
    clock.now = 1001.5
    controller.accept()
    assert controller.session.state.cells["one"].label.seconds == 33.5
    clock.now = 1004.5
    controller.accept()
    assert status(controller.session.state).seconds == pytest.approx(18.25)


def test_a_resumed_sitting_begins_at_the_first_unlabelled_cell(
    controller: AnnotationController,
) -> None:
    controller.accept()
    controller.session.close()
    with Session.open(controller.session.folder) as again:
        assert AnnotationController(again, "ann").name == "two"
        assert AnnotationController(again, "bob").name == "two"


def test_what_auto_decided_waits_for_a_person(session: Session) -> None:
    state = session.state
    session.decide_all([decision_of(state, "one", "reject", AUTO, reason="overlaps another cell")])
    session.decide_all([decision_of(state, "two", "reject", AUTO, reason=AT_BORDER)])
    controller = AnnotationController(session, "ann")
    assert controller.names == ["one", "three"]
    assert controller.left == 2


def test_several_cells_are_rejected_and_taken_back_at_once(session: Session) -> None:
    state = session.state
    session.decide("two", "reject", AUTO, reason="overlaps another cell")
    controller = AnnotationController(session, "ann")
    assert controller.reject_all(["one", "two"], "dead") == "rejected 2 cells: dead"
    assert controller.left == 1
    assert controller.reopen(["one", "two", "three"]) == "open for a decision again: 2 cells"
    assert controller.left == 3
    assert controller.undo() == "undone: reopening of 2 cells"
    assert controller.undo() == "undone: reject of 2 cells"
    assert session.state.cells["two"].decision.annotator == AUTO
    assert controller.redo() == "redone: reject of 2 cells"
    assert controller.reopen(["three"]) == "there is no decision to take back"
    stack = next(iter(state.stacks))
    session.add_cell(CellState("edge", stack, np.full(5, 3.0), np.full(5, 20.0), 5, 5, 0.5))
    session.decide("edge", "reject", AUTO, reason=AT_BORDER)
    controller.refresh()
    assert "edge" not in controller.names
    assert "cannot be kept, as the border cuts the patch" in controller.reopen(["edge"])
    assert "edge" in controller.names
    session._problems[stack] = "is missing"
    with pytest.raises(FgafError, match="raw files of 1 cell cannot be used, as of one"):
        controller.reject_all(["one"])


ORDERS = (
    (QueueSettings(order="uncertainty"), [f"b-{i:02d}" for i in range(11, -1, -1)]),
    (QueueSettings(only=("b-0[13]", "b-11")), ["b-01", "b-03", "b-11"]),
    (QueueSettings(task="second"), []),
    (QueueSettings(task="review"), []),
)


@pytest.mark.parametrize(("queue", "expected"), ORDERS, ids=str)
def test_order_of_the_queue(twelve: Session, queue: QueueSettings, expected: list[str]) -> None:
    assert sorted(queue_of(twelve.state, queue, "ann")) == sorted(expected)
    if queue.order == "uncertainty":
        assert queue_of(twelve.state, queue, "ann") == expected


def test_position_runs_along_rows(twelve: Session) -> None:
    names = queue_of(twelve.state, QueueSettings(), "ann")
    assert names == [f"b-{i:02d}" for i in (*range(0, 12, 2), *range(1, 12, 2))]


def test_random_orders_and_shares_are_the_same_every_time(twelve: Session) -> None:
    queue = QueueSettings(order="random", share=0.5, seed=4)
    names = queue_of(twelve.state, queue, "ann")
    assert names == queue_of(twelve.state, queue, "bob")
    assert 2 <= len(names) <= 10
    assert names != sorted(names)
    with pytest.raises(SettingError, match="share: 0 is out of bounds"):
        QueueSettings(share=0)


def test_a_second_pass_is_blind_and_measured(twelve: Session) -> None:
    first = AnnotationController(twelve, "ann")
    for _ in range(10):
        first.accept()
    first.reject("dead")
    own = QueueSettings(task="second")
    assert queue_of(twelve.state, own, "ann") == []
    bob = AnnotationController(twelve, "bob", own)
    assert len(bob.names) == 11
    assert bob.suggestion is None
    assert bob.decision is None
    assert bob.progress() == [
        "blind second pass by bob: 11 cells, 0 done, 11 to do",
        "first labels and suggestions are hidden until the pass is done",
    ]
    with pytest.raises(FgafError, match="blind"):
        bob.accept()
    planes = {name: twelve.state.plane_of(c, c.suggestion.focus_um) for name, c in cells(twelve)}
    names = list(bob.names)
    shifts = dict(zip(names, (0, 0, 0, 0, 0, 0, 1, -1, 3), strict=False))
    for name in names:
        bob.go(name)
        bob.plane = planes[name] + shifts.get(name, 0)
        if name == names[9]:
            bob.reject("not a sperm")
        else:
            bob.focus_here()
    result = agreement(twelve.state)
    assert (result.cells, result.both_kept) == (11, 9)
    assert result.same_verdict == pytest.approx(9 / 11)
    assert result.exact == pytest.approx(6 / 9)
    assert result.within_one == pytest.approx(8 / 9)
    assert result.mean_um == pytest.approx(2.5 / 9)
    assert set(disagreements(twelve.state)) == {names[8], names[9], names[10]}
    assert twelve.state.counts()["kept"] == 10

    eve = AnnotationController(twelve, "eve", QueueSettings(task="review"))
    assert eve.left == 3
    eve.go(names[8])
    eve.accept()
    assert eve.left == 2
    eve.undo()
    assert eve.left == 3
    told = status(twelve.state)
    assert told.disagreements == 3
    assert "11 cells labelled twice" in "\n".join(told.lines())
    assert told.samples == {"donor 2": 10}

    eve.go(names[8])
    eve.accept()
    assert "3 differ, 1 reviewed, 2 left" in eve.progress()
    assert len(eve.names) == 3  # the reviewed one can be looked at again
    said = CliRunner().invoke(main, ["agreement", str(twelve.folder)]).output
    assert f"3 differ, 1 reviewed, 2 left: {names[9]}, {names[10]}" in said
    assert "--task review" in said
    for _ in range(2):
        eve.reject("dead")
    assert eve.left == 0
    said = CliRunner().invoke(main, ["agreement", str(twelve.folder)]).output
    assert "3 differ, 3 reviewed, 0 left\n" in said
    assert "--task review" not in said
    bob.go(names[8])
    bob.unsure()  # labelled anew: the review is of before
    assert AnnotationController(twelve, "eve", QueueSettings(task="review")).left == 1


def test_a_blind_pass_begins_a_cell_where_it_is_seen(
    flat_stack: Callable[..., Path], cell_maker: Callable[..., CellState], tmp_path: Path
) -> None:
    """Half of the path of each cell lies beyond the frame, where its patch is black."""
    path = flat_stack(tmp_path / "b.stack.h5", seed=3)
    with Session.create(tmp_path / "s", PatchSettings(16, 0.5, 0.5)) as session:
        with RawStack.open(path) as stack:
            ref = StackRef.of(stack)
        away = np.array([20.0, 20.0, 20.0, 70.0, 90.0])
        cells = [replace(cell_maker(f"c-{i}", ref.fingerprint), y=away) for i in range(12)]
        session.begin([ref], cells)
        for cell in cells:
            session.decide(cell.id, "reject", "ann")
        closeups = Closeups(16, 4.7)
        bob = AnnotationController(session, "bob", QueueSettings(task="second"), closeups=closeups)
        planes = set()
        for name in bob.names:
            bob.go(name)
            planes.add(bob.plane)
        closeups.close()
        assert planes == {0, 1, 2}


def test_status_says_why_fewer_are_to_do_than_were_found(session: Session) -> None:
    session.decide_all([decision_of(session.state, "two", "reject", AUTO, reason=AT_BORDER)])
    session.decide("one", "reject", "ann", reason="dead or deformed")
    told = status(session.state)
    assert told.lines()[:3] == [
        "1 stack, 3 cells found: 1 labelled by a person, 1 to do, 1 rejected by auto: 1 cut by the "
        "border",
        "0 kept, 0 unsure, 2 rejected: 1 dead or deformed, 1 cut by the border",
        "decided by ann: 1, auto: 1",
    ]
    assert told.why_fewer() == "3 cells found, 1 to do, 1 rejected by auto: 1 cut by the border"


def cells(session: Session) -> list[tuple[str, object]]:
    return list(session.state.cells.items())


@dataclass(frozen=True)
class Ratings:
    name: str
    first: tuple[float, ...]
    second: tuple[float, ...]
    kappa: float


# The third: frequencies 1/4, 1/2, 1/4 on both sides; mean squared distance 1/4 seen, 1 by chance.
RATINGS = (
    Ratings("perfect", (1, 2, 3), (1, 2, 3), 1.0),
    Ratings("all one", (2, 2), (2, 2), 1.0),
    Ratings("near", (0, 1, 1, 2), (0, 1, 2, 1), 1 - 0.5 / 1.0),
    Ratings("opposite", (0, 2), (2, 0), -1.0),
)


@pytest.mark.parametrize("case", RATINGS, ids=lambda case: case.name)
def test_weighted_kappa(case: Ratings) -> None:
    kappa = weighted_kappa(np.array(case.first), np.array(case.second))
    assert kappa == pytest.approx(case.kappa)


def test_a_cell_is_added_where_a_person_points(raw_folder: Path, tmp_path: Path) -> None:
    with Session.create(tmp_path / "s", PatchSettings()) as session:
        found = find_cells(raw_folder / "third.stack.h5", session.state)
        assert found is not None
        missed = next(
            c for c, why in zip(found.cells, found.rejection_reasons, strict=True) if not why
        )
        found.cells.remove(missed)
        take_in(session, found)
        assert find_cells(raw_folder / "third.stack.h5", session.state) is None
        controller = AnnotationController(session, "ann")
        before = controller.name
        controller.plane = 3
        controller.add(missed.y[3] + 4, missed.x[3] - 4)
        added = controller.cell
        assert added is not None
        assert np.hypot(added.y - missed.y, added.x - missed.x).max() < 3
        assert abs(added.suggestion.focus_um - missed.suggestion.focus_um) < 0.3
        controller.accept()
        controller.undo()
        assert controller.undo() == f"undone: added cell of {added.id}"
        assert added.id not in controller.names
        assert controller.name == before
        with pytest.raises(FgafError, match="outside the frame"):
            controller.add(-5, 10)


def test_stacks_that_do_not_go_together_are_refused_by_name(
    flat_stack: Callable[..., Path], tmp_path: Path
) -> None:
    one = flat_stack(tmp_path / "one.stack.h5")
    two = flat_stack(tmp_path / "two.stack.h5", pixel_size_um=0.2)
    with pytest.raises(FgafError, match=r"two\.stack\.h5 has pixels of 0\.2 µm.*separate"):
        require_workable([one, two], PatchSettings(16, 0.5, 0.5))
