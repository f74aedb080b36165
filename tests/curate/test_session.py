"""The journal: nothing decided is lost, nothing else is believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fgaf.curate.crop import PatchSettings
from fgaf.curate.session import (
    JOURNAL,
    CellState,
    Session,
    StackRef,
    Suggested,
    read_journal,
    read_state,
)
from fgaf.dataset.errors import ExistsError, FgafError, FormatError
from fgaf.dataset.raw import RawHeader, RawStack, RawWriter


def write_stack(path: Path, seed: int = 0) -> Path:
    header = RawHeader.new(step_um=0.5, half_range_um=1.0, center_um=0.0, bit_depth=8)
    frames = np.random.default_rng(seed).integers(0, 255, (5, 40, 50), dtype=np.uint8)
    path.unlink(missing_ok=True)
    with RawWriter(path, header, frames.shape, frames.dtype) as writer:
        for plane, frame in enumerate(frames):
            z = (plane - 2) * 0.5
            writer.write(
                plane,
                frame,
                z_requested_um=z,
                z_measured_um=z,
                time_device_ns=plane,
                time_host_ns=plane,
                frame_id=plane,
                exposure_us=100.0,
            )
        return writer.publish()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    path = write_stack(tmp_path / "a.stack.h5")
    with Session.create(tmp_path / "s", PatchSettings(16, 0.5, 0.5)) as session:
        with RawStack.open(path) as stack:
            ref = StackRef.of(stack)
        session.add_stacks([ref])
        suggested = Suggested(0.2, 0.9, "phase", "", "focus-curve")
        way = np.linspace(10, 12, 5)
        session.add_cells(
            [
                CellState(name, ref.fingerprint, way, way + 9, 5.0, 6.0, 0.9, suggestion=suggested)
                for name in ("one", "two", "three")
            ]
        )
        yield session


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


def test_a_reopened_session_goes_on(session: Session) -> None:
    number = session.decide("one", "accept", "ann")
    session.close()
    with Session.open(session.folder) as again:
        assert again.undo(number, "ann") == number + 1
        assert again.state.cells["one"].decision is None
    before = session.records
    assert [r["number"] for r in before] == list(range(1, len(before) + 1))


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


def test_another_version_is_refused(session: Session) -> None:
    session.close()
    journal = session.folder / JOURNAL
    head, rest = journal.read_text().split("\n", 1)
    journal.write_text(json.dumps(json.loads(head) | {"format_version": 99}) + "\n" + rest)
    with pytest.raises(FormatError, match="version 99"):
        Session.open(session.folder)


def test_a_changed_raw_file_is_refused_by_name(session: Session, tmp_path: Path) -> None:
    session.close()
    write_stack(tmp_path / "a.stack.h5", seed=1)
    with pytest.raises(FormatError, match=r"a\.stack\.h5 changed"):
        Session.open(session.folder)
    (tmp_path / "a.stack.h5").unlink()
    with pytest.raises(FormatError, match="missing"):
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


def test_no_session_is_said(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no session"):
        Session.open(tmp_path)
