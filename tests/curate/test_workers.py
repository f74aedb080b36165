"""Many stacks: the same archive for any number of workers, whatever dies on the way."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from distributed import LocalCluster

from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.base.folder_lock import LockedError
from fgaf.base.workers.files import on_files
from fgaf.base.workers.outcomes import LostWorkerError
from fgaf.curate.auto import auto
from fgaf.curate.boxes import BoxSearch
from fgaf.curate.commands.main import main
from fgaf.curate.compile import compile_archive
from fgaf.curate.detection.crop import PatchSettings
from fgaf.curate.session.journal import JOURNAL, read_journal
from fgaf.curate.session.session import Session
from fgaf.curate.session.state import read_state
from fgaf.dataset.archive import write_archive

SETTINGS = PatchSettings(48)
NAMES = ["a", "b", "b~2", "c", "d"]
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def raw(stack_taker: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five small stacks in two folders, two of one name; a copy of one; a field taken twice."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "z").mkdir()
    seeds = {"a": 80, "b": 82, "z/b": 83, "c": 80, "d": 81}
    paths = []
    for number, (name, seed) in enumerate(seeds.items()):
        path = folder / f"{name}.stack.h5"
        options = {"cells": 3, "debris": 0, "shape": (200, 230), "start_s": 5.0 * number}
        paths.append(stack_taker(path, seed, "brightfield", **options))
    copy = folder / "copy.stack.h5"
    copy.write_bytes(paths[0].read_bytes())
    return [*paths, copy]


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
    ) as made:
        yield made


def written(folder: Path) -> list[dict[str, Any]]:
    """Records of a session without what differs between any two runs."""
    records, torn = read_journal(folder)
    assert torn is None
    passing = {"time_utc", "uuid", "number", "folder", "path"}
    return [
        {key: value for key, value in record.items() if key not in passing}
        for record in records
        if record["record"] != "repair"
    ]


def archived(folder: Path) -> bytes:
    """The archive of a session, as if all of it were written in one second."""
    now = "2026-01-01T00:00:00+00:00"
    archive = compile_archive(read_state(read_journal(folder)[0], folder), created_utc=now)
    times = archive.cells.labelled_utc
    times[:] = now
    path = write_archive(folder / "archive.h5", archive)
    try:
        return path.read_bytes()
    finally:
        path.unlink()


def workers_here() -> list[BaseProcess]:
    """The worker processes of this process, without those of the tests' cluster."""
    children = multiprocessing.active_children()
    return [child for child in children if not child.name.startswith("Dask")]


@dataclass(frozen=True)
class Whole:
    """A session that nothing interrupted, of one worker."""

    folder: Path
    records: list[dict[str, Any]]
    archive: bytes


@pytest.fixture(scope="module")
def whole(raw: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole") / "session"
    report = auto(raw, folder, SETTINGS)
    assert [stack.name for stack in report.stacks] == NAMES
    assert report.kept >= 5
    assert report.repeats == [["a", "c"]]
    return Whole(folder, written(folder), archived(folder))


def stopping(paths: Sequence[Path]) -> Generator[Path, None, None]:
    """Fails after two stacks, as a full disk would."""
    yield from paths[:2]
    raise FgafError("the disk is full")


def test_any_number_of_workers_gives_the_same_session_and_archive(
    raw: list[Path], whole: Whole, tmp_path: Path
) -> None:
    report = auto(raw, tmp_path, SETTINGS, workers=3)
    assert written(tmp_path) == whole.records
    assert archived(tmp_path) == whole.archive
    assert [stack.name for stack in report.stacks] == NAMES
    assert not workers_here()


def test_a_cluster_gives_the_same_session_archive_and_boxes(
    raw: list[Path], whole: Whole, tmp_path: Path, cluster: LocalCluster
) -> None:
    address = cluster.scheduler_address
    out = tmp_path / "d.h5"
    done = run("auto", *raw, "--patch", 48, "--out", out, "--scheduler", address)
    assert done.exit_code == 0, done.output
    assert written(out.with_suffix(".session")) == whole.records
    assert archived(out.with_suffix(".session")) == whole.archive
    tables = []
    for name, where in (("here", ("--workers", 1)), ("there", ("--scheduler", address))):
        table = tmp_path / f"{name}.csv"
        done = run("detect", *raw[:3], "--out", table, *where)
        assert done.exit_code == 0, done.output
        tables.append(table.read_text())
    assert tables[0] == tables[1]


def test_boxes_stand_in_the_order_of_the_files(raw: list[Path], tmp_path: Path) -> None:
    files = [raw[3], raw[0], raw[2], raw[1]]
    tables = []
    for workers in (1, 3):
        table = tmp_path / f"{workers}.csv"
        done = run("detect", *files, "--out", table, "--workers", workers)
        assert done.exit_code == 0, done.output
        tables.append(table.read_text())
    assert tables[0] == tables[1]
    images = [row["image"] for row in csv.DictReader(tables[0].splitlines())]
    assert list(dict.fromkeys(images)) == list(map(str, files))


def test_a_stopped_run_goes_on_and_gives_the_same(
    raw: list[Path], whole: Whole, tmp_path: Path
) -> None:
    lines: list[str] = []
    with pytest.raises(FgafError, match="the disk is full"):
        auto(
            *(raw, tmp_path, SETTINGS),
            workers=2,
            progress=stopping,
            say=lines.append,
        )
    assert lines == [f"2 of 5 stacks are in {tmp_path}; add --resume to go on with the others"]
    begun = (tmp_path / JOURNAL).read_bytes()
    report = auto(raw, tmp_path, resume=True)
    assert (tmp_path / JOURNAL).read_bytes().startswith(begun)
    assert written(tmp_path) == whole.records
    assert archived(tmp_path) == whole.archive
    assert [stack.name for stack in report.stacks] == NAMES
    again = auto(raw, tmp_path, resume=True)
    assert (again.kept, again.repeats) == (report.kept, report.repeats)
    assert written(tmp_path) == whole.records


def test_a_journal_cut_at_any_line_goes_on_and_gives_the_same(
    raw: list[Path], whole: Whole, tmp_path: Path
) -> None:
    lines = (whole.folder / JOURNAL).read_bytes().splitlines(keepends=True)
    ends = [n for n, line in enumerate(lines) if b'"record": "stack"' in line]
    cuts = {"before the last stack": ends[-1], "in its decisions": ends[-1] - 1, "torn": -1}
    for name, cut in cuts.items():
        folder = tmp_path / name
        folder.mkdir()
        kept = lines[:cut] if cut > 0 else [*lines[: ends[-1]], lines[ends[-1]][:30]]
        (folder / JOURNAL).write_bytes(b"".join(kept))
        auto(raw, folder, SETTINGS, resume=True)
        assert archived(folder) == whole.archive, name


CHILD = """
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from fgaf.curate.auto import auto
from fgaf.curate.detection.crop import PatchSettings

def waiting(paths):
    for number, path in enumerate(paths):
        if number == 2:
            print("two stacks are done", flush=True)
            sys.stdin.read()
        yield path

auto([*map(Path, sys.argv[2:])], Path(sys.argv[1]), PatchSettings(48), workers=2, progress=waiting)
"""


@posix
def test_a_killed_run_leaves_no_process_and_goes_on(
    raw: list[Path], whole: Whole, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), *map(str, raw)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "two stacks are done\n"
        with pytest.raises(LockedError, match=f"process {child.pid}"):
            auto(raw, tmp_path, resume=True)
        child.kill()
        child.communicate(timeout=60)  # its workers hold the same pipe
    auto(raw, tmp_path, SETTINGS, resume=True, workers=2)
    assert written(tmp_path) == whole.records
    assert archived(tmp_path) == whole.archive


@posix
def test_a_worker_that_is_killed_is_one_line_that_names_the_stack(
    raw: list[Path], whole: Whole, tmp_path: Path
) -> None:
    def killing(paths: Sequence[Path]) -> Generator[Path, None, None]:
        for number, path in enumerate(paths):
            if number == 1:
                for worker in workers_here():
                    worker.kill()
            yield path

    says = r"^[bcd]\.stack\.h5: its worker process was ended by SIGKILL; it may have run out of"
    with pytest.raises(LostWorkerError, match=says) as caught:
        auto(raw, tmp_path, SETTINGS, workers=2, progress=killing)
    assert "\n" not in str(caught.value)
    assert not workers_here()
    auto(raw, tmp_path, resume=True)
    assert archived(tmp_path) == whole.archive


def until(path: Path, holds: bytes, times: int) -> None:
    """Wait until a file holds something."""
    end = time.monotonic() + 120
    while not (path.exists() and path.read_bytes().count(holds) >= times):
        assert time.monotonic() < end
        time.sleep(0.01)


AT_A_TERMINAL = """
import signal
from fgaf.curate.commands.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for jobs behind them
main()
"""


@posix
@pytest.mark.parametrize(
    ("kind", "lines", "team"),
    [
        ("session", 1, ("--workers", "2")),
        ("stack", 2, ("--workers", "2")),
        pytest.param("stack", 2, ("--scheduler", "local:2"), marks=pytest.mark.slow),
    ],
    ids=["begun", "at work", "cluster"],
)
def test_ctrl_c_is_said_in_a_line_and_the_session_is_whole(
    raw: list[Path], whole: Whole, tmp_path: Path, kind: str, lines: int, team: tuple[str, str]
) -> None:
    out = tmp_path / "d.h5"
    words = ["auto", *map(str, raw), "--patch", "48", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL, *words, *team],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        until(out.with_suffix(".session") / JOURNAL, b'"record": "%s"' % kind.encode(), lines)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to workers too
        _, said = child.communicate(timeout=60)
    *hints, last = said.splitlines()
    assert (child.returncode, last) == (1, "error: stopped from the keyboard")
    assert all(re.match(r"\d of 5 stacks are in .*; add --resume to go on", h) for h in hints)
    assert len(hints) == (kind == "stack")
    done = run(*words, "--workers", 1, "--resume")
    assert done.exit_code == 0, done.output
    assert written(out.with_suffix(".session")) == whole.records


def test_resume_finds_the_only_unfinished_session_and_its_settings(
    raw: list[Path], whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("auto", *raw, "--workers", 1, "--json")
    done = run(*words, "--resume")
    assert done.exit_code == 2
    assert "there is no unfinished session named dataset.session or the like" in done.stderr
    for name in ("dataset-2.session", "other.session"):
        with pytest.raises(FgafError, match="the disk is full"):
            auto(raw, Path(name), SETTINGS, progress=stopping)
    done = run(*words, "--resume")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines()[0] == "writing dataset-2.h5"
    assert json.loads(done.stdout)["path"] == "dataset-2.h5"
    assert written(tmp_path / "dataset-2.session") == whole.records
    for name in ("dataset-3.session", "dataset-4.session"):
        Session.create(Path(name), SETTINGS).close()
    done = run(*words, "--resume")
    assert "several unfinished sessions (dataset-3.session, dataset-4.session)" in done.stderr


@dataclass(frozen=True)
class Other:
    """An option with which a session of --patch 48 cannot go on."""

    name: str
    words: tuple[object, ...]
    says: str


OTHERS = [
    Other("patch", ("--patch", 96), "with --patch 48 --step 0.5 --half-range 2, not --patch 96"),
    Other("step", ("--patch", 48, "--step", 1), "--half-range 2, not --patch 48 --step 1 --half"),
    Other("pixel", ("--pixel-size", 0.2), "with --pixel-size of each stack, not 0.2; leave it out"),
    Other("head", ("--head-length", 3), "with --head-length 4.7, not 3; leave it out"),
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.name)
def test_other_settings_are_refused_with_both_values(
    raw: list[Path], whole: Whole, tmp_path: Path, other: Other
) -> None:
    out = tmp_path / "d.h5"
    done = run("auto", *raw, "--session", whole.folder, "--out", out, "--resume", *other.words)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert other.says in done.stderr
    assert written(whole.folder) == whole.records


def test_sessions_of_other_stacks_software_or_of_people_are_refused(
    raw: list[Path], whole: Whole, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError, match="holds the stack c, which was not given; give it too"):
        auto(raw[:3], whole.folder, resume=True)
    monkeypatch.setattr("fgaf.curate.auto.software", lambda: "fgaf 99")
    with pytest.raises(SettingError, match=r"was begun by fgaf 0.*, and this is fgaf 99: go on"):
        auto(raw, whole.folder, resume=True)
    monkeypatch.undo()
    session.close()
    with pytest.raises(SettingError, match="curated by hand, cell one is not decided"):
        auto([tmp_path / "a.stack.h5"], session.folder, resume=True)
    done = run("auto", *raw, "--session", whole.folder, "--out", tmp_path / "d.h5")
    assert "already contains a session" in done.stderr
    assert "--resume" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_stack_stops_the_run_after_those_before_it(
    raw: list[Path], tmp_path: Path, workers: int
) -> None:
    bad = tmp_path / "bad.stack.h5"
    pixels = bytearray(raw[3].read_bytes())
    pixels[len(pixels) // 2] ^= 1
    bad.write_bytes(pixels)
    words = ("auto", raw[0], raw[1], bad, raw[4], "--patch", 48, "--workers", workers)
    done = run(*words, "--out", tmp_path / "d.h5")
    assert done.exit_code == 1
    hint, error = done.stderr.splitlines()
    assert hint.startswith("2 of 4 stacks are in ")
    assert "bad.stack.h5" in error


def test_a_worker_that_sees_another_file_or_none_is_refused(
    raw: list[Path], tmp_path: Path
) -> None:
    from fgaf.base.workers.files import _digest, _Order

    search = BoxSearch()
    with pytest.raises(FgafError, match="a worker runs another version of fgaf"):
        _Order(search, "other")((raw[0], 1))
    with pytest.raises(FgafError, match=r"a worker sees no file .*moved\.h5; put it where all"):
        _Order(search, _digest(search))((tmp_path / "moved.h5", 1))
    with pytest.raises(FgafError, match=r"a worker sees another file at .*a\.stack\.h5; give all"):
        _Order(search, _digest(search))((raw[0], 1))

    def exchanging(paths: Sequence[Path]) -> Generator[Path, None, None]:
        for number, path in enumerate(paths):
            if number == 1:
                path.write_bytes(raw[3].read_bytes())
            yield path

    copies = [tmp_path / path.name for path in raw[:2]]
    for path, copy in zip(raw, copies, strict=False):
        copy.write_bytes(path.read_bytes())
    with pytest.raises(FormatError, match=r"b\.stack\.h5 is another file where it was searched"):
        auto(copies, tmp_path / "s", SETTINGS, progress=exchanging)


@dataclass(frozen=True)
class Wrong:
    name: str
    words: tuple[object, ...]
    says: str
    code: int = 2


WRONG = [
    Wrong("no worker", ("--workers", 0), "0 is out of bounds; give 1 to 1024"),
    Wrong("too many", ("--workers", 1025), "1025 is out of bounds"),
    Wrong("both", ("--workers", 2, "--scheduler", "local:2"), "leave out --workers"),
    Wrong("no number", ("--scheduler", "local:two"), "starts no workers; write it as local:2"),
    Wrong("nobody there", ("--scheduler", "tcp://127.0.0.1:1"), "no Dask scheduler answers at", 1),
    Wrong("no address", ("--scheduler", "smoke://signal"), "no Dask scheduler answers at", 1),
]


@pytest.mark.parametrize("command", ["auto", "detect"])
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_wrong_workers_are_one_line(
    raw: list[Path], tmp_path: Path, command: str, wrong: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgaf.base.workers.cluster.CONNECT_S", 1)
    done = run(command, *raw, "--out", tmp_path / "out", *wrong.words)
    assert (done.exit_code, done.stderr.count("\n")) == (wrong.code, 1), done.output
    assert wrong.says in done.stderr
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True)
class Broken:
    """A search that fails in a way that nobody foresaw."""

    error: Exception | None

    def __call__(self, path: Path) -> str:
        if path.name == "bad" and self.error is None:
            os._exit(3)
        if path.name == "bad" and self.error is not None:
            raise self.error
        return path.name


BROKEN = [
    (None, LostWorkerError, "bad: its worker process ended with exit code 3"),
    (MemoryError(), LostWorkerError, "bad: there is too little memory for it; take fewer --work"),
    (ZeroDivisionError("x"), ZeroDivisionError, "x"),
]


@pytest.mark.parametrize(("error", "kind", "says"), BROKEN, ids=["dead", "memory", "bug"])
def test_results_before_an_error_come_first(
    error: Exception | None, kind: type[Exception], says: str
) -> None:
    results = on_files(
        Broken(error),
        [Path(name) for name in ("one", "two", "bad", "four")],
        workers=2,
        scheduler=None,
        say=print,
    )
    assert [next(results), next(results)] == ["one", "two"]
    with pytest.raises(kind, match=says) as caught:
        next(results)
    if isinstance(error, ZeroDivisionError):
        assert "in __call__" in caught.value.__notes__[0]
    assert not workers_here()
