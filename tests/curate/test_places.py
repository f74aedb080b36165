"""Sessions and raw files that are moved, renamed, missing or changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from click.testing import CliRunner, Result

from fgaf.base.errors import FgafError
from fgaf.curate.commands.main import main
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.session.annotation_controller import AnnotationController
from fgaf.curate.session.finding import open_session
from fgaf.curate.session.journal import JOURNAL
from fgaf.curate.session.places import find_files, read_path, written_path
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import CellState, StackRef
from fgaf.curate.session.status import status
from fgaf.dataset.archive import Archive
from fgaf.dataset.raw import RawStack
from fgaf.dataset.truth import CellTruth, FrameTruth, StackTruth, write_truth

FlatStack = Callable[..., Path]
ReadOnly = Callable[[Path], AbstractContextManager[Path]]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def as_before(folder: Path) -> list[dict[str, object]]:
    """Records of a journal, as the first versions wrote them: without checksums."""
    lines = (folder / JOURNAL).read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "crc32"} for line in lines]


def rewrite(folder: Path, records: list[dict[str, object]]) -> None:
    (folder / JOURNAL).write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def lab(flat_stack: FlatStack, cell_maker: Callable[..., CellState], tmp_path: Path) -> Path:
    """A folder with raw/a and raw/b, and work/session with two cells of each, all kept."""
    lab = tmp_path / "lab"
    (lab / "raw").mkdir(parents=True)
    (lab / "work").mkdir()
    with Session.create(lab / "work" / "session", PatchSettings(16, 0.5, 0.5)) as session:
        for seed, name in enumerate("ab"):
            path = flat_stack(lab / "raw" / f"{name}.stack.h5", seed=seed)
            with RawStack.open(path) as stack:
                ref, uuid = StackRef.of(stack), stack.header.uuid
            cell = CellTruth(id=0, kind="sperm", y_px=13, x_px=22, focus_um=0.1)
            frames = tuple(FrameTruth(time_ns=n, cells=[cell]) for n in range(5))
            write_truth(path, StackTruth(stack_uuid=uuid, frames=frames))
            cells = [cell_maker(f"{name}-{i}", ref.fingerprint) for i in range(2)]
            session.begin([ref], cells)
            for one in cells:
                session.decide(one.id, "accept", "ann")
    return lab


def test_a_session_and_its_raw_files_go_on_elsewhere_under_other_names(
    lab: Path, tmp_path: Path
) -> None:
    assert run("export", lab / "work" / "session", "--out", tmp_path / "here.h5").exit_code == 0
    assert str(lab / "raw") not in (lab / "work" / "session" / JOURNAL).read_text()
    away = tmp_path / "away"
    shutil.copytree(lab / "work" / "session", away / "curated" / "s2")
    shutil.copytree(lab / "raw", away / "data" / "deep" / "down")
    for name in "ab":
        stack = away / "data" / "deep" / "down" / f"{name}.stack.h5"
        stack.rename(stack.with_name(f"donor {name}.h5"))
    shutil.rmtree(lab)
    session = away / "curated" / "s2"
    refused = run("export", session, "--out", tmp_path / "away.h5")
    assert refused.exit_code == 1
    assert refused.stderr.endswith(
        "4 kept cells cannot be exported: a.stack.h5 is missing, b.stack.h5 is missing; give the "
        "folder of the files with --raw\n"
    )
    done = run("export", session, "--out", tmp_path / "away.h5", "--raw", away / "data")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "away.h5").read_bytes() == (tmp_path / "here.h5").read_bytes()
    assert Archive.read(tmp_path / "away.h5").true_depth_um is not None
    assert run("export", session, "--out", tmp_path / "again.h5").exit_code == 0
    with Session.open(session) as again:  # --raw is not needed twice
        assert again.state.problems == {}
        controller = AnnotationController(again, "bob")
        assert len(controller.names) == 4
        controller.reject("dead or deformed")
        controller.undo()
    assert run("export", session, "--out", tmp_path / "on.h5").exit_code == 0
    assert (tmp_path / "on.h5").read_bytes() == (tmp_path / "here.h5").read_bytes()


@pytest.mark.parametrize("beside", ["work/session", "work", "work/raw", "work/session/raw"])
def test_renamed_files_beside_the_session_are_found_without_being_asked(
    beside: str, lab: Path
) -> None:
    raw = lab / beside
    raw.mkdir(exist_ok=True)
    (lab / "raw" / "a.stack.h5").rename(raw / "c.h5")
    (lab / "raw" / "b.stack.h5").rename(raw / "b.stack.h5")
    with Session.open(lab / "work" / "session") as session:
        assert session.state.problems == {}
        assert [record["record"] for record in session.records[-2:]] == ["place", "place"]
        assert {Path(ref.path).name for ref in session.state.stacks.values()} == {
            "c.h5",
            "b.stack.h5",
        }
        assert [ref.source for ref in session.state.stacks.values()] == ["a.stack.h5", "b.stack.h5"]


def test_a_session_that_alone_is_moved_finds_its_files(lab: Path, tmp_path: Path) -> None:
    (lab / "work" / "session").rename(tmp_path / "elsewhere")
    with Session.open(tmp_path / "elsewhere") as session:
        assert session.state.problems == {}


def test_absolute_paths_of_old_sessions_and_of_other_systems(lab: Path, tmp_path: Path) -> None:
    folder = lab / "work" / "session"
    records = as_before(folder)
    del records[0]["folder"]
    stacks = [record for record in records if record["record"] == "stack"]
    for record in stacks:
        del record["source"]
        record["path"] = str(lab / "raw" / Path(str(record["path"])).name)
    rewrite(folder, records)
    with Session.look(folder) as session:
        assert session.state.problems == {}
        assert [ref.source for ref in session.state.stacks.values()] == ["a.stack.h5", "b.stack.h5"]

    for record in stacks:
        record["path"] = "C:\\lab\\raw\\" + Path(str(record["path"])).name
    rewrite(folder, records)
    elsewhere = tmp_path / "usb"
    (lab / "raw").rename(elsewhere)
    with Session.look(folder) as session:
        assert len(session.state.problems) == 2
        assert [file.source for file in status(session.state).unusable] == [
            "a.stack.h5",
            "b.stack.h5",
        ]
    told = run("status", folder, "--raw", elsewhere)
    assert "cannot be shown" not in told.output
    done = run("export", folder, "--out", tmp_path / "d.h5", "--raw", elsewhere)
    assert done.exit_code == 0, done.output
    with Session.look(folder) as session:
        assert session.state.problems == {}
    sources = set(Archive.read(tmp_path / "d.h5").cells.source)
    assert sources == {"a.stack.h5", "b.stack.h5"}


PATHS = (
    (PurePosixPath("/lab/raw/a.h5"), PurePosixPath("/lab/work/s"), "../../raw/a.h5"),
    (PurePosixPath("/lab/s/raw/a.h5"), PurePosixPath("/lab/s"), "raw/a.h5"),
    (PurePosixPath("/lab/s"), PurePosixPath("/lab/s"), "../s"),
    (PurePosixPath("/mnt/a.h5"), PurePosixPath("/home/ann/s"), "../../../mnt/a.h5"),
    (PureWindowsPath("C:\\lab\\raw\\a.h5"), PureWindowsPath("C:\\lab\\s"), "../raw/a.h5"),
    (PureWindowsPath("D:\\raw\\a.h5"), PureWindowsPath("C:\\lab\\s"), "D:\\raw\\a.h5"),
)


@pytest.mark.parametrize(("path", "folder", "written"), PATHS, ids=str)
def test_paths_in_the_journal(
    path: PurePosixPath | PureWindowsPath, folder: PurePosixPath | PureWindowsPath, written: str
) -> None:
    assert written_path(path, folder) == written
    if isinstance(path, PurePosixPath):
        assert read_path(written, Path(folder)) == str(path)


def test_the_cells_of_a_missing_file_wait_and_the_others_go_on(lab: Path, tmp_path: Path) -> None:
    folder = lab / "work" / "session"
    (lab / "raw" / "b.stack.h5").rename(tmp_path / "b.h5")
    session, note = open_session(folder)
    with session:
        assert note == ""
        controller = AnnotationController(session, "ann")
        assert controller.names == ["a-0", "a-1"]
        controller.go("a-1")
        controller.reject("not a sperm")
        controller.go("b-0")
        with pytest.raises(FgafError, match="the raw file of b-0 cannot be used"):
            controller.focus_here()
        told = "\n".join(controller.progress())
        assert "b.stack.h5 is missing: its 2 cells (2 kept) cannot be shown or exported" in told
        assert "give its folder with --raw" in told
    out = tmp_path / "d.h5"
    refused = run("export", folder, "--out", out)
    assert refused.exit_code == 1
    assert "2 kept cells cannot be exported: b.stack.h5 is missing" in refused.stderr
    assert "--leave-out-missing exports the others" in refused.stderr
    done = run("export", folder, "--out", out, "--leave-out-missing")
    assert done.exit_code == 0, done.output
    assert "wrote" in done.output
    assert "left out 2 kept cells of missing raw files" in done.output
    archive = Archive.read(out)
    assert archive.cells.id.tolist() == ["a-0"]
    step = json.loads(archive.history[0])
    assert (step["did"], step["cells_left_out"]) == ("export", 2)
    missing = next(f for f, ref in session.state.stacks.items() if ref.name == "b")
    assert step["source_sha256_left_out"] == [missing]

    with Session.open(folder) as again:
        controller = AnnotationController(again, "ann")
        assert again.relink([tmp_path]) == ["b.stack.h5"]
        controller.refresh()
        assert controller.names == ["a-0", "a-1", "b-0", "b-1"]
        again.undo_last("ann")
        assert again.state.problems == {}


def test_a_changed_file_is_an_error_of_its_cells_only(
    lab: Path, flat_stack: FlatStack, tmp_path: Path
) -> None:
    folder = lab / "work" / "session"
    flat_stack(lab / "raw" / "b.stack.h5", seed=9)
    with Session.open(folder) as session:
        assert list(session.state.problems.values()) == ["changed since it was added"]
        assert AnnotationController(session, "ann").names == ["a-0", "a-1"]
    (lab / "raw" / "a.stack.h5").write_bytes(b"not HDF5")
    told = run("status", folder).output
    assert "a.stack.h5 cannot be read: its 2 cells (2 kept)" in told
    assert "b.stack.h5 changed since it was added" in told
    refused = run("export", folder, "--out", tmp_path / "d.h5", "--leave-out-missing")
    assert refused.exit_code == 1
    assert "4 kept cells cannot be exported" in refused.stderr
    assert not (tmp_path / "d.h5").exists()


def test_a_session_that_may_not_be_written_holds_new_places_in_memory(
    lab: Path, tmp_path: Path, read_only: ReadOnly
) -> None:
    folder = lab / "work" / "session"
    (lab / "raw").rename(tmp_path / "usb")
    with read_only(folder) as view:
        before = (view / JOURNAL).read_bytes()
        with pytest.raises(FgafError, match=r"cannot write .*; --read-only opens the session"):
            open_session(view)
        session, _ = open_session(view, read_only=True, raw=[tmp_path / "usb"])
        with session:
            assert session.state.problems == {}
        out = tmp_path / "d.h5"
        done = run("export", view, "--out", out, "--raw", tmp_path / "usb")
        assert done.exit_code == 0, done.output
        assert (view / JOURNAL).read_bytes() == before


def test_a_session_in_use_elsewhere_is_exported_with_raw(lab: Path, tmp_path: Path) -> None:
    folder = lab / "work" / "session"
    (lab / "raw").rename(tmp_path / "usb")
    with Session.open(folder):
        before = (folder / JOURNAL).read_bytes()
        done = run("export", folder, "--out", tmp_path / "d.h5", "--raw", tmp_path / "usb")
        assert done.exit_code == 0, done.output
        assert (folder / JOURNAL).read_bytes() == before


def test_status_writes_nothing_and_export_says_which_line_was_torn(
    lab: Path, tmp_path: Path
) -> None:
    folder = lab / "work" / "session"
    (lab / "raw").rename(tmp_path / "usb")
    with (folder / JOURNAL).open("ab") as journal:
        journal.write(b'{"number": 99, "ti')
    before = (folder / JOURNAL).read_bytes()
    for command in ("status", "agreement"):
        told = run(command, folder, "--raw", tmp_path / "usb")
        assert told.exit_code == 0, told.output
        assert (folder / JOURNAL).read_bytes() == before
    done = run("export", folder, "--out", tmp_path / "d.h5", "--raw", tmp_path / "usb")
    assert done.exit_code == 0, done.output
    assert "of the journal was torn by a crash and does not count" in done.stderr
    assert (folder / JOURNAL).read_bytes().startswith(before)


def test_a_file_is_found_among_many_by_its_header(
    lab: Path, flat_stack: FlatStack, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for seed in range(10):
        flat_stack(many / f"{seed}.stack.h5", seed=seed + 20)
    (many / "0.h5").write_text("no stack")
    (lab / "raw" / "a.stack.h5").rename(many / "z.stack.h5")
    shutil.copy(many / "z.stack.h5", many / "a copy.h5")
    with RawStack.open(many / "z.stack.h5") as stack:
        content = stack.fingerprint
    for names, expected in ((["z.stack.h5"], "z.stack.h5"), (["b.stack.h5"], "a copy.h5")):
        assert find_files({content: names}, [many], []) == {content: many / expected}
    whole = (many / "z.stack.h5").read_bytes()
    (many / "a copy.h5").write_bytes(whole[: len(whole) // 2])
    assert find_files({content: ["a copy.h5"]}, [many], []) == {content: many / "z.stack.h5"}
    with pytest.raises(FgafError, match="does not exist; give a folder"):
        find_files({content: []}, [tmp_path / "none"], [])


def test_stacks_given_to_open_are_those_of_the_session(lab: Path, tmp_path: Path) -> None:
    (lab / "raw").rename(tmp_path / "usb")
    paths = sorted((tmp_path / "usb").glob("*.h5"))
    session, _ = open_session(lab / "work" / "session", paths)
    with session:
        assert session.state.problems == {}
