"""Several programs in one folder, dead ones, names, and file systems that lack something."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fgaf.base.errors import ExistsError, SettingError
from fgaf.base.files import publish, publishing, require_all_new, require_new
from fgaf.base.folder_lock import LockedError, working_in
from fgaf.base.names import require_distinct, require_portable
from fgaf.dataset.commands.main import main
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.raw import RawHeader, RawWriter

RUN = "import sys; from fgaf.dataset.commands.main import main; main(sys.argv[1:])"
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


def imported(source: Path, out: Path, **more: object) -> subprocess.Popen[str]:
    words = ["import", str(source), "--step", "0.5", "--out", str(out)]
    command = [sys.executable, "-c", RUN, *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **more)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("one_source", [False, True])
@pytest.mark.parametrize("imports", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_imports_at_once_publish_every_file(imports: int, one_source: bool, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (5, 64, 64), dtype=np.uint16)
    sources = [tmp_path / f"{0 if one_source else k}.tif" for k in range(imports)]
    for source in set(sources):
        tifffile.imwrite(source, pixels, metadata=None)
    out = tmp_path / "new" / "raw"
    processes = [imported(source, out) for source in sources]
    said = [process.communicate(timeout=120)[1] for process in processes]
    refused = [line for line in said if line]
    reasons = ("exists already", "another program is writing it")
    assert all(any(reason in line for reason in reasons) for line in refused), refused
    assert len(refused) == (imports - 1 if one_source else 0)
    assert {p.name for p in out.iterdir()} == {f"{source.stem}.stack.h5" for source in sources}
    assert all(validate(path).ok for path in out.iterdir())


@posix
def test_what_a_killed_program_left_is_removed_and_what_a_live_one_builds_is_not(
    tmp_path: Path,
) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from fgaf.base.files import publishing\n"
        "with publishing(Path(sys.argv[1])) as part:\n"
        "    part.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.txt")])
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with publishing(tmp_path / "b.txt") as slow:
        slow.write_text("slow")
        with publishing(tmp_path / "c.txt") as quick:
            quick.write_text("quick")
        assert not left.exists()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "b.txt": "slow",
        "c.txt": "quick",
    }


@posix
def test_a_kill_at_any_step_leaves_nothing_that_the_next_program_does_not_remove(
    tmp_path: Path,
) -> None:
    code = (
        "import itertools, os, signal, sys; from pathlib import Path\n"
        "from fgaf.base.files import publishing\n"
        "place = Path(sys.argv[1])\n"
        "def publish(name):\n"
        "    with publishing(place / name, overwrite=True) as part: part.write_text(name)\n"
        "def die_at(step):\n"
        "    left = itertools.count(-step)\n"
        "    def look(event, _):\n"
        "        if event == 'open' or event.startswith('os.'):\n"
        "            if next(left) == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    sys.addaudithook(look)\n"
        "for step in itertools.count():\n"
        "    if not (child := os.fork()):\n"
        "        die_at(step); publish('a'); os._exit(0)\n"
        "    if os.waitpid(child, 0)[1] == 0: break\n"
        "    publish('b')\n"
        "    left = [path.name for path in place.iterdir() if path.name not in ('a', 'b')]\n"
        "    assert not left, (step, left)\n"
        "print(step)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert int(done.stdout) >= 8  # folder, lock, file, its rename, and their removals


def test_a_file_that_came_up_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def too_late() -> None:
        with publishing(path) as part:
            part.write_text("mine")
            path.write_text("another's")

    with pytest.raises(ExistsError, match="exists already"):
        too_late()
    assert path.read_text() == "another's"
    assert list(tmp_path.iterdir()) == [path]


def test_a_published_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with publishing(tmp_path / "published") as part:
        part.touch()
    assert (tmp_path / "published").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_that_windows_holds_is_renamed_when_it_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, target = tmp_path / "part", tmp_path / "target"
    part.write_text("new")
    replace, waits = Path.replace, list[float]()

    def held(self: Path, to: Path) -> Path:
        if len(waits) < 3:
            error = PermissionError(13, "Access is denied")
            error.winerror = 32  # type: ignore[misc, unused-ignore]
            raise error
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", held)
    publish(part, target, sleep=waits.append)
    assert target.read_text() == "new"
    assert len(waits) == 3
    part.write_text("newer")
    waits.clear()
    with pytest.raises(PermissionError):
        publish(part, target, sleep=lambda _: None)


@pytest.fixture
def no_locks(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Environment in which the file system answers every lock with an error."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs gcc on Linux")

    def made(error: str) -> dict[str, str]:
        source, library = tmp_path / "flock.c", tmp_path / "flock.so"
        source.write_text(
            "#include <errno.h>\n"
            f"int flock(int file, int how) {{ errno = {error}; return -(file == how || 1); }}\n"
        )
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
        return {"LD_PRELOAD": str(library)}

    return made


@pytest.mark.parametrize(
    "error",
    [
        "ENOLCK",
        pytest.param("ENOSYS", marks=pytest.mark.slow),
        pytest.param("EOPNOTSUPP", marks=pytest.mark.slow),
    ],
)
def test_a_file_system_without_locks_is_said_once(
    error: str, no_locks: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    source = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 4000, (5, 16, 16), dtype=np.uint16)
    tifffile.imwrite(source, pixels, metadata=None)
    process = imported(source, tmp_path / "raw", env=no_locks(error))
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert said.count("no file locks") == 1
    assert said.count("\n") == 1
    assert validate(tmp_path / "raw" / "a.stack.h5").ok


@pytest.mark.parametrize(
    "name",
    [
        "con",
        "NUL.stack.h5",
        "Aux .h5",
        "com1.h5",
        "LPT³",
        "a.",
        "a ",
        "a:b.h5",
        "a?",
        "x" * 241,
        "",
    ],
)
def test_names_that_windows_forbids_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match="choose another name"):
        require_portable(name)


@pytest.mark.parametrize("name", ["console.h5", "com10", ".hidden", "ä µ.stack.h5", "nul_1", "a.b"])
def test_names_that_windows_takes_are_not(name: str) -> None:
    require_portable(name)


@pytest.mark.parametrize(
    ("one", "other"), [("Donor", "donor"), ("\u00e4", "a\u0308"), ("a", "a"), ("É", "e\u0301")]
)
def test_names_that_are_one_on_some_file_system_are_refused(
    one: str, other: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="a name of its own"):
        require_distinct([one, "b", other])
    with pytest.raises(SettingError, match="a name of its own"):
        require_all_new([tmp_path / one, tmp_path / other])
    (tmp_path / one).touch()
    with pytest.raises((SettingError, ExistsError)):
        require_new(tmp_path / other)


@pytest.mark.parametrize("names", [("nul.tif",), ("A.tif", "sub/a.tif")])
def test_an_import_refuses_such_names_before_it_writes(
    names: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [tmp_path / name for name in names]
    for source in sources:
        source.parent.mkdir(exist_ok=True)
        tifffile.imwrite(source, np.zeros((5, 16, 16), np.uint16), metadata=None)
    words = ["import", *map(str, sources), "--step", "0.5", "--out", str(tmp_path / "raw")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "Windows" in capsys.readouterr().err
    assert not (tmp_path / "raw").exists()


COMMANDS = {
    "subset": ["subset", "good.h5", "--most", "3", "--out"],
    "split": ["split", "good.h5", "--name", "mine", "--out"],
    "card": ["card", "good.h5", "--out"],
    "npz": ["export", "good.h5", "--to", "npz", "--out"],
    "imagefolder": ["export", "good.h5", "--to", "imagefolder", "--out"],
    "anonymise": ["anonymise", "good.h5", "--new-key", "key", "--out"],
    "contact sheet": ["info", "good.h5", "--image"],
}


@pytest.mark.parametrize("out", ["Nul.h5", "aux/a.h5", "GOOD.h5", "SUB/a.h5", "a\u0308.h5"])
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_refuses_such_names_before_it_writes(
    words: list[str],
    out: str,
    good_archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(good_archive, "good.h5")
    Path("sub").mkdir()
    Path("\u00e4.h5").touch()
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(main, [*words, out])
    assert done.exit_code == 2, done.output
    assert "Windows" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_serves_one_program_and_is_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with working_in(folder):
        with pytest.raises(LockedError, match=r"in use by another program \(.*process \d+"):
            working_in(folder).__enter__()
        (folder / "result").touch()
    assert [p.name for p in folder.iterdir()] == ["result"]
    with pytest.raises(ValueError, match="no start"), working_in(tmp_path / "other" / "run"):
        raise ValueError("no start")
    assert not (tmp_path / "other").exists()


def test_a_recording_under_way_and_one_that_broke_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.stack.h5"
    header = RawHeader.new(step_um=0.5, half_range_um=0.5, center_um=0, bit_depth=8)
    with RawWriter(path, header, (3, 4, 4), np.uint8) as writer:
        with pytest.raises(ExistsError, match="is being written by another program"):
            RawWriter(path, header, (3, 4, 4), np.uint8, overwrite=True)
        left = shutil.copy(writer.part, tmp_path / "left")
    assert not path.parent.exists()
    path.parent.mkdir()
    shutil.move(left, writer.part)
    with pytest.raises(ExistsError, match="acq recover"):
        RawWriter(path, header, (3, 4, 4), np.uint8)
