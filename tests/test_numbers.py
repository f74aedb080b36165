"""Numbers that people and files give: what cannot be meant is one line, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from fgaf.dataset.options import Number

PROGRAMS = {
    entry.name: entry.load()
    for entry in entry_points(group="console_scripts")
    if entry.value.startswith("fgaf.")
}
PLAIN = (click.types.IntParamType, click.types.FloatParamType)
ABSURD = ("nan", "inf", "-inf", "1e300", "-1e300", str(10**30), str(-(10**30)))


@dataclass(frozen=True)
class Flag:
    """An option of a command that takes a number."""

    program: str
    path: tuple[str, ...]
    name: str
    kind: Any

    def __str__(self) -> str:
        return " ".join((self.program, *self.path, self.name))


def flags(program: str, command: click.Command, path: tuple[str, ...] = ()) -> Iterator[Flag]:
    """Find every option for a number, of a command and of those in it."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from flags(program, inner, (*path, name))
    for param in command.params:
        if isinstance(param.type, (*PLAIN, Number)):
            yield Flag(program, path, param.opts[0], param.type)


FLAGS = [flag for name, command in PROGRAMS.items() for flag in flags(name, command)]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(*words: object) -> Result:
    """Run a command that must refuse its usage in one line, and write nothing."""
    program, *rest = map(str, words)
    before = sorted(Path().rglob("*"))
    done = CliRunner().invoke(PROGRAMS[program], rest)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return done


def test_there_are_options_for_numbers_everywhere() -> None:
    with_numbers = {flag.program for flag in FLAGS}
    assert with_numbers == set(PROGRAMS) - {"fgaf-export"}


@pytest.mark.parametrize("flag", FLAGS, ids=str)
def test_an_option_refuses_what_cannot_be_meant(flag: Flag) -> None:
    assert isinstance(flag.kind, Number), "give it a kind of fgaf.dataset.bounds"
    negative = ("-1",) if flag.kind.bound.least >= 0 else ()
    for value in (*ABSURD, *negative):
        done = refused(flag.program, *flag.path, f"{flag.name}={value}")
        assert flag.name in done.stderr
        assert f"give {flag.kind.bound}" in done.stderr or "is not a valid" in done.stderr


LISTS = [
    (("fgaf-bench", "dataset.h5", "--seeds", "0,-1"), "-1 is out of bounds"),
    (("fgaf-bench", "dataset.h5", "--seeds", f"0,{10**30}"), "is out of bounds"),
    (("fgaf-data", "split", "x.h5", "--name", "n", "--fractions", "nan,0.5,0.5"), "nan is out"),
    (("fgaf-data", "split", "x.h5", "--name", "n", "--fractions", "1e300,0,0"), "1e+300 is out"),
    (("fgaf-train", "dataset.h5", "--set", "lr=nan"), "lr: nan is out of bounds; give 0 to 10"),
    (("fgaf-train", "dataset.h5", "--set", "batch=1000000000000"), "batch: 1000000000000 is out"),
    (("acq", "stack", "--set", "stage.settle_ms=nan"), "stage.settle_ms: nan is out of bounds"),
    (("acq", "stack", "--set", "camera.timeout_s=1e300"), "camera.timeout_s: 1e+300 is out"),
    (("acq", "stack", "--set", "stage.options.start_um=nan"), "start_um: nan is out of bounds"),
    (("acq", "stack", "--set", "camera.options.row_us=inf"), "row_us: inf is out of bounds"),
    (("acq", "stack", "--set", "simulation.cells=1000000000000"), "simulation.cells: 1000000000"),
    (("acq", "stack", "--set", "simulation.photons=inf"), "simulation.photons: inf is out"),
    (("acq", "stack", "--set", "optics.pixel_size_um=-1"), "optics.pixel_size_um: -1 is out"),
    (("acq", "live", "--set", "stage.x_limits_um=[0, inf]"), "stage.x_limits_um.1: inf is out"),
    (("acq", "rig", "show", "sim", "--set", "stage.limits_um=[-inf, 0]"), "stage.limits_um.0"),
]


@pytest.mark.parametrize(("words", "says"), LISTS, ids=lambda v: v if isinstance(v, str) else None)
def test_numbers_in_texts_are_refused_alike(words: tuple[str, ...], says: str) -> None:
    assert says in refused(*words).stderr
