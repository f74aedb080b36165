"""The journal: nothing decided is lost, nothing else is believed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fgaf.base.errors import ExistsError, FgafError, FormatError, SettingError
from fgaf.base.folder_lock import LockedError
from fgaf.curate.detection.crop import OFF_STACK, PatchSettings
from fgaf.curate.session.annotation_controller import AnnotationController
from fgaf.curate.session.catalogue import Catalogue
from fgaf.curate.session.journal import JOURNAL, LOCK, Journal, read_journal
from fgaf.curate.session.queue import QueueSettings
from fgaf.curate.session.session import Session, decision_of
from fgaf.curate.session.state import AUTO, CellState, StackRef, Suggested, read_state

FlatStack = Callable[..., Path]
ReadOnly = Callable[[Path], AbstractContextManager[Path]]


def test_decisions_are_read_back(session: Session) -> None:
    session.decide("one", "accept", "ann")
    session.decide("two", "focus", "bob", focus_um=-0.5)
    session.decide("three", "reject", "bob", reason="two heads")
    state = read_state(read_journal(session.folder)[0])
    kept = {cell.id: (decision.focus_um, decision.annotator) for cell, decision in state.kept()}
    assert kept == {"one": (0.2, "ann"), "two": (-0.5, "bob")}
    assert state.counts() == {"found": 3, "kept": 2, "two heads": 1}


def test_undo_and_redo_to_any_depth(session: Session) -> None:
    first = session.decide("one", "accept", "ann")
    second = session.decide("one", "reject", "ann", reason="debris")
    undo = session.undo(second, "ann")
    assert session.state.cells["one"].decision.verdict == "accept"
    session.undo(first, "ann")
    assert session.state.cells["one"].decision is None
    session.undo(undo, "ann")
    assert session.state.cells["one"].decision.verdict == "reject"


def test_what_is_kept_up_to_date_is_what_a_new_reading_gives(session: Session) -> None:
    """Decisions, undos, redos and undos of undos at random."""
    draw = random.Random(4)
    controllers = [AnnotationController(session, name) for name in ("ann", "bob")]
    catalogue, queue = Catalogue(session), QueueSettings()
    for _ in range(150):
        controller = draw.choice(controllers)
        controller.go(draw.choice(["one", "two", "three"]))
        undos = [r["number"] for r in session.records if r["record"] == "undo"]
        with suppress(FgafError):
            draw.choice(
                [
                    controller.accept,
                    controller.reject,
                    controller.undo,
                    controller.redo,
                    lambda: controller.reopen(["one", "two"]),  # noqa: B023 - called at once
                    lambda: controller.nudge(1, 2, every=True),  # noqa: B023
                    lambda: controller.draw(np.ones((40, 50), np.bool_), draw.randrange(5)),  # noqa: B023
                    lambda: session.undo(draw.choice(undos or [1]), "ann"),  # noqa: B023
                ]
            )()
        again = read_state(session.records).cells
        for name, cell in session.state.cells.items():
            read = again[name]
            assert (cell.decision, cell.masks) == (read.decision, read.masks)
            assert cell.y.tolist() == read.y.tolist()
        assert controller.left == AnnotationController(session, "eve").left
        assert catalogue.of(queue, []) == Catalogue(session).of(queue, [])


def test_a_reopened_session_goes_on(session: Session) -> None:
    number = session.decide("one", "accept", "ann")
    session.close()
    with Session.open(session.folder) as again:
        assert again.undo(number, "ann") == number + 1
        assert again.state.cells["one"].decision is None
    before = session.records
    assert [r["number"] for r in before] == list(range(1, len(before) + 1))


@pytest.mark.parametrize("name", ["aux", "S", "new."])
def test_a_folder_that_some_file_system_refuses_begins_no_session(
    name: str, session: Session
) -> None:
    place = session.folder.parent
    before = sorted(place.rglob("*"))
    with pytest.raises(SettingError, match="Windows"):
        Session.create(place / name, PatchSettings())
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_is_dropped_said_and_survived(session: Session, cut: int) -> None:
    session.decide("one", "accept", "ann")
    session.decide("two", "accept", "ann")
    session.close()
    journal = session.folder / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    with Session.open(session.folder) as again:
        assert again.torn == whole.count(b"\n")
        assert again.state.cells["two"].decision is None
        again.decide("two", "reject", "ann", reason="blurred")
    records, torn = read_journal(session.folder)
    assert torn is None
    assert read_state(records).counts() == {"found": 3, "kept": 1, "blurred": 1, "open": 1}
    assert journal.read_bytes().startswith(whole[:-cut])


def test_damage_in_the_middle_is_refused(session: Session) -> None:
    session.close()
    journal = session.folder / JOURNAL
    lines = journal.read_bytes().split(b"\n")
    lines[2] = lines[2][:10]
    journal.write_bytes(b"\n".join(lines))
    with pytest.raises(FormatError, match="line 3 is damaged"):
        Session.open(session.folder)


CHANGED = {
    "a digit": lambda lines: [lines[0], lines[1].replace(b"1", b"2", 1), *lines[2:]],
    "two lines exchanged": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "a line gone": lambda lines: lines[:1] + lines[2:],
    "a line twice": lambda lines: lines[:2] + lines[1:],
    "the checksum gone": lambda lines: [*lines[:2], lines[2].split(b', "crc32"')[0] + b"}",
                                        *lines[3:]],
    "another key": lambda lines: [*lines[:2], lines[2].replace(b"crc32", b"crc31"), *lines[3:]],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED.keys())
def test_what_was_written_stays_as_it_was_written(
    change: Callable[[list[bytes]], list[bytes]], session: Session
) -> None:
    session.decide("one", "accept", "ann")
    session.close()
    journal = session.folder / JOURNAL
    journal.write_bytes(b"\n".join(change(journal.read_bytes().split(b"\n"))))
    with pytest.raises(FormatError, match=r"line \d+ is damaged; restore it from a copy"):
        read_journal(session.folder)


def test_another_version_is_refused(session: Session) -> None:
    session.close()
    journal = session.folder / JOURNAL
    head, rest = journal.read_text().split("\n", 1)
    journal.write_text(json.dumps(json.loads(head) | {"format_version": 99}) + "\n" + rest)
    with pytest.raises(FormatError, match="version 99"):
        Session.open(session.folder)


def test_a_session_is_never_overwritten(session: Session) -> None:
    with pytest.raises(ExistsError):
        Session.create(session.folder, PatchSettings())


def test_impossible_decisions_are_refused(session: Session) -> None:
    with pytest.raises(FgafError, match="no cell"):
        session.decide("four", "accept", "ann")
    with pytest.raises(FgafError, match="no focus"):
        session.decide("one", "focus", "ann")
    with pytest.raises(FgafError, match="nothing to undo"):
        session.undo(1, "ann")
    with pytest.raises(FgafError, match=OFF_STACK):
        session.decide("one", "focus", "ann", focus_um=1.0)
    with pytest.raises(FgafError, match="no first label"):
        session.decide("one", "accept", "bob", purpose="second")
    with pytest.raises(FgafError, match="no plane 6"):
        session.nudge("one", 1, 0, "ann", plane=5)
    assert session.state.counts() == {"found": 3, "kept": 0, "open": 3}


def test_no_session_is_said(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no session"):
        Session.open(tmp_path)


def test_a_decision_remembers_what_was_suggested_and_how_long_it_took(session: Session) -> None:
    session.decide("one", "focus", "ann", focus_um=0.0, seconds=2.5)
    session.decide("one", "focus", "bob", focus_um=0.5, purpose="second", blind=True)
    first, second = session.state.cells["one"].label, session.state.cells["one"].second
    assert first is not None
    assert second is not None
    assert (first.suggested_um, first.suggested_by, first.seconds) == (0.2, "focus-curve", 2.5)
    assert (second.suggested_um, second.suggested_by) == (None, "")
    assert session.state.cells["one"].decision == first


def test_the_review_has_the_last_word_until_the_cell_is_labelled_anew(session: Session) -> None:
    session.decide("one", "accept", "ann")
    session.decide("one", "reject", "bob", reason="debris", purpose="second")
    assert session.state.counts()["kept"] == 1
    session.decide("one", "focus", "eve", focus_um=0.5, purpose="review")
    assert session.state.cells["one"].decision.annotator == "eve"
    session.decide("one", "unsure", "ann")
    assert session.state.counts() == {"found": 3, "kept": 0, "unsure": 1, "open": 2}


def test_undo_reaches_back_over_restarts_and_takes_only_ones_own(session: Session) -> None:
    session.decide("one", "accept", "ann")
    session.nudge("one", 2.0, -1.0, "ann")
    session.nudge("one", 0.5, 0.0, "ann", plane=3)
    session.decide("two", "accept", "bob")
    session.close()
    with Session.open(session.folder) as again:
        start = np.linspace(12, 14, 5)
        np.testing.assert_allclose(again.state.cells["one"].y, start + np.array([2, 2, 2, 2.5, 2]))
        assert [r["plane"] for r in again.undo_last("ann")] == [3]
    with Session.open(session.folder) as again:
        assert [r["record"] for r in again.undo_last("ann")] == ["nudge"]
        np.testing.assert_allclose(again.state.cells["one"].y, start)
        assert [r["cell"] for r in again.undo_last("ann")] == ["one"]
        assert again.state.counts() == {"found": 3, "kept": 1, "open": 2}
        with pytest.raises(FgafError, match="there is no action of ann left to undo"):
            again.undo_last("ann")
    with Session.open(session.folder) as again:
        redone = [r["record"] for _ in range(3) for r in again.redo_last("ann")]
        assert redone == ["decision", "nudge", "nudge"]
        np.testing.assert_allclose(again.state.cells["one"].x, start + 9 - 1)
        with pytest.raises(FgafError, match="nothing to redo"):
            again.redo_last("ann")
        again.undo_last("ann")
        again.decide("three", "unsure", "ann")
        with pytest.raises(FgafError, match="nothing to redo"):
            again.redo_last("ann")


def test_what_was_made_at_once_is_undone_at_once(session: Session) -> None:
    state = session.state
    session.decide("three", "reject", AUTO, reason="cut by the border")
    session.decide("one", "accept", "ann")
    session.decide_all([decision_of(state, name, "reject", "ann") for name in ("one", "two")])
    session.reopen(["one", "three"], "ann")
    assert session.state.counts() == {"found": 3, "kept": 0, "reject": 1, "open": 2}
    session.close()
    with Session.open(session.folder) as again:
        assert len(again.undo_last("ann")) == 2
        assert again.state.counts() == {"found": 3, "kept": 0, "reject": 2, "cut by the border": 1}
        assert [r["cell"] for r in again.undo_last("ann")] == ["one", "two"]
        assert again.state.counts() == {"found": 3, "kept": 1, "open": 1, "cut by the border": 1}
        assert [r["cell"] for r in again.redo_last("ann")] == ["one", "two"]
        assert [r["cell"] for r in again.redo_last("ann")] == ["one", "three"]
        assert again.state.counts() == {"found": 3, "kept": 0, "reject": 1, "open": 2}
        again.undo_last("ann")
        assert [len(again.undo_last("ann")) for _ in range(2)] == [2, 1]
        assert again.state.cells["three"].decision.annotator == AUTO


def test_an_undo_about_a_cell_that_is_gone_leaves_the_others(session: Session) -> None:
    stack = next(iter(session.state.stacks))
    way = np.full(5, 20.0)
    session.add_cell(CellState("four", stack, way, way, 5, 5, 0.5, added_by="ann"))
    nudge = session.nudge("four", 1, 1, "bob")
    session.decide("one", "accept", "ann")
    session.undo_last("ann")
    session.undo_last("ann")
    session.undo(nudge, "bob")
    assert "four" not in session.state.cells
    session.redo_last("ann")
    np.testing.assert_array_equal(session.state.cells["four"].y, way)


def test_taking_back_a_second_label_leaves_the_first(session: Session) -> None:
    session.decide("one", "accept", "ann")
    session.decide("one", "unsure", "bob", purpose="second")
    session.reopen(["one"], "bob", "second")
    assert session.state.cells["one"].second is None
    assert session.state.cells["one"].decision.kept
    session.decide("one", "reject", "eve", purpose="review")
    session.reopen(["one"], "ann")
    assert session.state.cells["one"].decision is None


def test_what_is_held_is_what_would_be_read_back(session: Session) -> None:
    session.decide("one", "accept", "ann")
    session.nudge("two", 1, 1, "ann", plane=2)
    session.undo_last("ann")
    session.redo_last("ann")
    session.decide("two", "reject", "ann", reason="dead")
    session.suggest({"three": Suggested(0.4, 0.7, "network", "", "run 1")})
    read = read_state(read_journal(session.folder)[0])
    for name, cell in session.state.cells.items():
        same = replace(read.cells[name], y=cell.y, x=cell.x)
        assert same == cell
        np.testing.assert_array_equal(read.cells[name].y, cell.y)
    assert read.cells["three"].suggestion.by == "run 1"


def test_nudging_a_plane_sets_its_jump_right(session: Session) -> None:
    stack = next(iter(session.state.stacks))
    way = np.full(5, 20.0)
    session.add_cell(CellState("four", stack, way, way, 5, 5, 0.5, jump=(1, 3), added_by="ann"))
    session.nudge("four", 1, 1, "ann", plane=3)
    assert session.state.cells["four"].jump == (1,)
    session.decide("four", "unsure", "bob")
    session.undo_last("ann")
    session.undo_last("ann")
    assert "four" not in session.state.cells


def test_cells_of_a_search_cut_short_do_not_count(session: Session) -> None:
    way = np.full(5, 20.0)
    fresh = StackRef(
        "b", "b.stack.h5", "f" * 64, "", "", 0.5, 0.15, (-1, -0.5, 0, 0.5, 1), (40, 50)
    )
    session.begin([fresh], [CellState(n, fresh.fingerprint, way, way, 5, 5, 0.9) for n in "xy"])
    whole = read_state(session.records)
    assert list(whole.cells) == ["one", "two", "three", "x", "y"]
    short = read_state(session.records[:-1])
    assert list(short.cells) == ["one", "two", "three"]
    assert len(short.stacks) == 1


def test_the_second_to_open_a_session_is_told_and_can_look(session: Session) -> None:
    with pytest.raises(LockedError, match=r"open in another window \(.*process \d+"):
        Session.open(session.folder)
    with Session.look(session.folder) as other:
        assert other.read_only
        with pytest.raises(FgafError, match="reading only"):
            other.decide("one", "accept", "bob")
    session.close()
    with Session.open(session.folder) as free:
        free.decide("one", "accept", "bob")


CHILD = """
import sys
from pathlib import Path
from fgaf.curate.session.queue import QueueSettings
from fgaf.curate.session.session import Session, decision_of
session = Session.open(Path(sys.argv[1]))
for cell in ("one", "two", "three"):
    session.decide(cell, "accept", "ann")
    print(cell, flush=True)
sys.stdin.read()
"""


def test_a_killed_window_loses_nothing_and_locks_nobody_out(session: Session) -> None:
    session.close()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(session.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "one\n"
    with pytest.raises(LockedError):
        Session.open(session.folder)
    assert [child.stdout.readline() for _ in range(2)] == ["two\n", "three\n"]
    child.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    child.communicate(timeout=20)
    with Session.open(session.folder) as again:
        assert again.state.counts() == {"found": 3, "kept": 3}


def test_a_session_killed_while_it_begins_is_begun_again(tmp_path: Path) -> None:
    for torn in (b"", b'{"number": 1, "time'):
        (tmp_path / JOURNAL).write_bytes(torn)
        with pytest.raises(FormatError, match="contains no session"):
            Session.open(tmp_path)
        with Session.create(tmp_path, PatchSettings()) as session:
            assert session.state.cells == {}
        (tmp_path / JOURNAL).unlink()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
@pytest.mark.parametrize("room", [0, 30, 200])
def test_a_full_disk_is_said_and_keeps_what_was_decided(session: Session, room: int) -> None:
    import resource

    session.decide("one", "accept", "ann")
    whole = (session.folder / JOURNAL).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + room, limits[1]))
    try:
        with pytest.raises(FgafError, match=r"cannot write .*journal.jsonl \(File too large\)"):
            session.decide("two", "accept", "ann")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (session.folder / JOURNAL).read_bytes() == whole
    assert session.state.cells["two"].decision is None
    session.decide("two", "accept", "ann")
    assert read_state(read_journal(session.folder)[0]).counts()["kept"] == 2


def test_a_journal_that_another_program_changed_is_not_written_to(session: Session) -> None:
    with (session.folder / JOURNAL).open("a") as journal:
        journal.write("{}\n")
    with pytest.raises(FgafError, match="changed by another program"):
        session.decide("one", "accept", "ann")


def test_a_read_only_folder_can_be_looked_at_only(session: Session, read_only: ReadOnly) -> None:
    session.close()
    with read_only(session.folder) as view:
        with pytest.raises(FgafError, match=r"cannot write .*Read-only file system"):
            Session.open(view)
        with Session.look(view) as looked:
            assert len(looked.state.cells) == 3
        with pytest.raises(FgafError, match=r"cannot make .*Read-only file system"):
            Session.create(view / "new", PatchSettings())


def test_records_of_a_newer_program_are_refused(session: Session) -> None:
    session.close()
    journal = Journal(session.folder)
    journal.append([{"record": "dance"}])
    journal.close()
    with pytest.raises(FormatError, match="'dance'; update this program"):
        Session.open(session.folder)


def test_journals_of_the_first_days_are_read(session: Session) -> None:
    session.decide("one", "accept", "ann")
    session.close()
    new = ("pixel_size_um", "head_um", "z_um", "shape", "step_um", "purpose", "suggested_um")
    new += ("suggested_by", "seconds", "crc32")
    lines = [json.loads(line) for line in (session.folder / JOURNAL).read_text().splitlines()]
    old = [{k: v for k, v in line.items() if k not in new} for line in lines]
    stacks_first = sorted(old[1:-1], key=lambda record: record["record"] != "stack")
    journal = [old[0], *stacks_first, old[-1]]
    (session.folder / JOURNAL).write_text("".join(json.dumps(r) + "\n" for r in journal))
    with Session.open(session.folder) as again:
        assert again.state.counts() == {"found": 3, "kept": 1, "open": 2}
        assert again.state.plane_of(again.state.cells["one"], 0.6) == 1
        again.decide("two", "focus", "ann", focus_um=0.0)
    assert (session.folder / LOCK).exists()
