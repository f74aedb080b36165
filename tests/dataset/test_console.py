"""What every command does with an error: one line, an exit code, a traceback only when asked."""

from dataclasses import dataclass

import click
import pytest

from fgaf.dataset.console import Program, Tool, finish
from fgaf.dataset.errors import FgafError, SettingError


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
    Case("ctrl-c", KeyboardInterrupt(), 1, "stopped by the keyboard"),
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


def test_json_takes_the_place_of_words(capsys: pytest.CaptureFixture[str]) -> None:
    finish("wrote it", "go on", {"planes": 9}, as_json=True)
    assert capsys.readouterr().out == '{\n  "planes": 9\n}\n'
    finish("wrote it", "go on")
    assert capsys.readouterr().out == "wrote it\nnext: go on\n"
