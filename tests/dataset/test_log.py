"""What `--log` and `--verbose` leave behind, and what they never do."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fgaf.base.console import Tool, echo
from fgaf.base.errors import FgafError

RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ +[\w.-]+: .*")
HOSTILE = "a\x1b[2J\x9b\u202eb\n2026-01-01T00:00:00.000Z INFO    fgaf: forged"
log = logging.getLogger("fgaf.test")


@click.command(cls=Tool)
@click.argument("words", nargs=-1)
def tool(words: tuple[str, ...]) -> None:
    log.debug("moves")
    log.info("words: %s", ", ".join(words))
    logging.getLogger("some.library").warning("a library warns")
    logging.getLogger("some.library").info("a library whispers")
    logging.getLogger("pymmcore-plus").warning("a vendor chats")
    log.warning("we warn")
    if "fail" in words:
        raise FgafError("the lamp is off")
    echo("done")


@pytest.fixture(autouse=True, params=[logging.WARNING, logging.DEBUG], ids=["as usual", "loud"])
def _others(request: pytest.FixtureRequest) -> Iterator[None]:
    """Libraries as Python starts them, and as pymmcore-plus leaves them."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(request.param)
    yield
    root.setLevel(level)


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_each_record_is_a_line_with_time_level_and_logger(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for number in ("one", "two"):
        done = CliRunner().invoke(tool, [number, "--log", str(path)])
        assert done.stdout == "done\n"
        assert done.stderr == "a library warns\nwe warn\n"
    found = lines(path)
    assert all(map(RECORD.fullmatch, found))
    told = [line.split(maxsplit=2)[1:] for line in found]
    half = len(told) // 2
    assert told[3:half] == [
        ["DEBUG", "fgaf.test: moves"],
        ["INFO", "fgaf.test: words: one"],
        ["WARNING", "some.library: a library warns"],
        ["WARNING", "pymmcore-plus: a vendor chats"],
        ["WARNING", "fgaf.test: we warn"],
        ["DEBUG", "fgaf.base.console: says: done"],
        ["INFO", told[half - 1][1]],
    ]
    assert "tool begins: fgaf " in found[0]
    assert "options: words=('one',)" in found[2]
    assert re.search(r"tool ends well after \d+\.\d s$", found[half - 1])
    assert "words=('two',)" in found[half + 2]


def test_verbose_says_less_and_no_tracebacks() -> None:
    done = CliRunner().invoke(tool, ["fail", "--verbose"])
    assert done.exit_code == 1
    first, *rest = done.stderr.splitlines()
    assert first.startswith("tool begins")
    assert rest == ["words: fail", "a library warns", "we warn", "error: the lamp is off"]


def test_an_error_leaves_its_traceback_in_the_file_only(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    done = CliRunner().invoke(tool, ["fail", "--log", str(path), "--verbose"])
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    text = path.read_text(encoding="utf-8")
    assert re.search(
        r"ERROR +fgaf\.base\.log: tool failed after .* s: the lamp is off\n    Trace", text
    )
    assert 'raise FgafError("the lamp is off")' in text


def test_nothing_stays_behind(tmp_path: Path) -> None:
    def state() -> list[object]:
        names = (None, "fgaf", "pymmcore-plus")
        return [(*logger.handlers, logger.level) for logger in map(logging.getLogger, names)]

    before = state()
    CliRunner().invoke(tool, ["fail", "--log", str(tmp_path / "a.log"), "--verbose"])
    assert state() == before


def test_names_neither_steer_a_terminal_nor_forge_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    done = CliRunner().invoke(tool, [HOSTILE, "--log", str(path), "--verbose"])
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text + done.stderr)
    assert r"words: a\x1b[2J\x9b\u202eb" in text
    assert not [line for line in text.splitlines() if line.endswith("forged") and line[0] == "2"]
    assert "\n    2026-01-01T00:00:00.000Z INFO    fgaf: forged" in text


def test_keys_in_addresses_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    words = [
        "https://me:secret@host/a.h5",
        "https://host/b.h5?X-Signature=secret&e=1",
        "http://c/?t",
    ]
    CliRunner().invoke(tool, [*words, "--log", str(path)])
    text = path.read_text(encoding="utf-8")
    assert "secret" not in text
    assert "words: https://***@host/a.h5, https://host/b.h5?***" in text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no/a.log", "there is no folder {folder}/no; make it or choose another"),
        ("stack.h5", "{folder}/stack.h5 is not a log of fgaf; choose another name"),
        (".", "File '{folder}' is a directory"),
    ],
)
def test_a_place_that_cannot_be_meant_is_a_usage_line(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "stack.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    done = CliRunner().invoke(tool, ["x", "--log", str(tmp_path / name)])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert says.format(folder=tmp_path) in done.stderr.replace("\\", "/")
    assert (tmp_path / "stack.h5").read_bytes() == b"\x89HDF\r\n\x1a\n"


@pytest.fixture
def full() -> str:
    path = Path("/dev/full")
    if not path.exists():
        pytest.skip("no full device here")
    return str(path)


def test_a_full_disk_is_told_once_and_stops_nothing(full: str) -> None:
    done = CliRunner().invoke(tool, ["x", "--log", full])
    assert done.exit_code == 0
    assert done.stdout == "done\n"
    (told,) = (line for line in done.stderr.splitlines() if "the log" in line)
    assert told == (
        "warning: the log /dev/full cannot be written (No space left on device); "
        "the run continues, its log is incomplete"
    )


def test_a_log_that_cannot_be_opened_is_told_and_stops_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(tool, ["x", "--log", str(tmp_path / ("a" * 300))])
    assert done.exit_code == 0
    assert done.stderr.count("cannot be written (File name too long)") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_disk_that_has_room_again_is_written_on_a_line_of_its_own(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    @click.command(cls=Tool)
    def filling() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
        log.info("this does not fit")
        log.info("nor does this")
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        log.info("this fits")

    path = tmp_path / "a.log"
    try:
        done = CliRunner().invoke(filling, ["--log", str(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.exit_code == 0
    assert done.stderr.count("File too large") == 1
    torn, whole, _ = lines(path)[-3:]
    assert len(torn) == 20
    assert RECORD.fullmatch(whole)
    assert whole.endswith("this fits")


def test_every_command_takes_both_options_and_no_group_does() -> None:
    def check(command: click.Command) -> int:
        named = {option for parameter in command.params for option in parameter.opts}
        if isinstance(command, click.Group):
            assert not {"--log", "--verbose"} & named
            return sum(map(check, command.commands.values()))
        assert {"--log", "--verbose", "--debug"} <= named, command.name
        return 1

    scripts = distribution("fgaf").entry_points.select(group="console_scripts")
    assert sum(check(script.load()) for script in scripts) > 30
