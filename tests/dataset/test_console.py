"""What every command does with an error: one line, an exit code, a traceback only when asked."""

import io
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from fgaf.base.console import Program, Tool, count, echo, finish
from fgaf.base.errors import FgafError, SettingError
from fgaf.base.names import printable
from fgaf.dataset.commands.main import main


@dataclass(frozen=True)
class Case:
    name: str
    raised: BaseException
    code: int
    line: str


CASES = [
    Case(
        "failed", FgafError("the lamp is off;\n switch it on"), 1, "the lamp is off; switch it on"
    ),
    Case("setting", SettingError("no such rig; take sim"), 2, "no such rig; take sim"),
    Case("system", FileNotFoundError(2, "No such file", "a.tif"), 1, "a.tif: No such file"),
    Case("ctrl-c", KeyboardInterrupt(), 1, "stopped from the keyboard"),
]


def outcome(command: click.Command, *words: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        command.main(list(words), prog_name="tool")
    return ended.value.code


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_error_is_one_line(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    @click.command(cls=Tool)
    def tool() -> None:
        raise case.raised

    assert outcome(tool) == case.code
    assert capsys.readouterr().err == f"error: {case.line}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["run", "--size", "big"], "'big' is not a valid integer; see `tool run --help`"),
        (["run", "--sise", "3"], "No such option '--sise'"),
        (["walk"], "No such command 'walk'; see `tool --help`"),
    ],
)
def test_a_wrong_option_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.group(cls=Program)
    def tool() -> None:
        """Do."""

    @tool.command()
    @click.option("--size", type=int)
    def run(size: int) -> None:
        """Run."""

    assert outcome(tool, *words) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert line in printed


def test_the_traceback_needs_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command(cls=Tool)
    def tool() -> None:
        raise FgafError("no")

    monkeypatch.setattr("sys.argv", ["tool", "--debug"])
    with pytest.raises(FgafError):
        tool.main(["--debug"])


def test_ctrl_c_in_a_destructor_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    class Closing:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    @click.command(cls=Tool)
    def tool() -> None:
        Closing()
        threading.Event().wait(30)
        echo("it went on")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as ended:
            tool.main([])
    finally:
        signal.signal(signal.SIGINT, before)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (1, "")
    assert printed.err == "error: stopped from the keyboard\n"


@pytest.mark.parametrize("interrupted", [True, False])
def test_ctrl_c_is_known_behind_the_error_of_compiled_code(
    interrupted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command(cls=Tool)
    def tool() -> None:
        try:
            raise KeyboardInterrupt if interrupted else ValueError
        except BaseException as error:
            raise SystemError("returned a result with an exception set") from error

    if interrupted:
        assert outcome(tool) == 1
        assert capsys.readouterr().err == "error: stopped from the keyboard\n"
    else:
        with pytest.raises(SystemError):
            tool.main([])


def test_json_takes_the_place_of_words(capsys: pytest.CaptureFixture[str]) -> None:
    finish("wrote it", ["go", "on"], {"planes": 9}, as_json=True)
    assert capsys.readouterr().out == '{\n  "planes": 9\n}\n'
    finish("wrote it", ["go", "on"])
    assert capsys.readouterr().out == "wrote it\nnext: go on\n"


def test_a_command_that_comes_next_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fgaf-data", "info", Path("day 1", "it's.h5"), "--image", "a.png"]
    finish("wrote it", words)
    line = capsys.readouterr().out.splitlines()[-1].removeprefix("next: ")
    if sys.platform != "win32":
        assert shlex.split(line) == list(map(str, words))


HOSTILE = "a\x1b]0;b\x07\x1b[31m\x9b2J\u202ec\rd\udce9\u2028\x7f\u2066"


def test_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = r"a\x1b]0;b\x07\x1b[31m\x9b2J\u202ec\rd\udce9\u2028\x7f\u2066"
    assert printable(HOSTILE) == shown
    plain = "µm ± λ, Łódź, 精子, ligne\n\ttab"
    assert printable(plain) == plain

    @click.command(cls=Tool)
    @click.argument("name")
    def tool(name: str) -> None:
        if name == "bad":
            raise FgafError(f"no {HOSTILE}")
        finish(f"wrote {name}", ["show", name])

    assert outcome(tool, HOSTILE) == 0
    assert capsys.readouterr().out == f"wrote {shown}\nnext: show '{shown}'\n"
    assert outcome(tool, "bad") == 1
    assert outcome(tool, "x", f"--{HOSTILE}") == 2
    said = capsys.readouterr().err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", said)


def test_names_inside_files_are_shown_escaped(
    tmp_path: Path, write_stack: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a\x1b[2J.stack.h5"
    write_stack(tmp_path / "a.stack.h5", sample_id="donor \x1b]0;owned\x07").rename(path)
    for words in (["info", str(path)], ["validate", str(path)]):
        assert outcome(main, *words) == 0
        said = capsys.readouterr().out
        assert "\x1b" not in said
        assert r"a\x1b[2J" in said


def test_a_terminal_of_few_letters_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "cp1252", newline="\n"))
    echo("5 µm, Łódź")
    sys.stdout.flush()
    assert written.getvalue() == "5 µm, \\u0141ód\\u017a\n".encode("cp1252")


def test_all_output_goes_through_echo() -> None:
    rooms = Path(__file__).parents[2]
    found = [
        f"{path}: {line}"
        for room in ("dataset", "acquire", "curate", "model")
        for path in (rooms / room).rglob("*.py")
        if path != rooms / "dataset" / "console.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"click\.s?echo|secho\(|\bprint\(", line) and "printable(" not in line
    ]
    assert not found


def test_numbers_have_their_nouns() -> None:
    assert [count(n, noun) for n in (0, 1, 2) for noun in ("plane", "patch")] == [
        *("0 planes", "0 patches"),
        *("1 plane", "1 patch"),
        *("2 planes", "2 patches"),
    ]
