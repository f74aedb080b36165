"""A pump that a person works: questions at a terminal, and what happens without one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
import pytest
from click.testing import CliRunner

from fgaf.acquire import Interrupt, InterruptError
from fgaf.acquire.device_tables import CameraTable, PumpTable, StageTable
from fgaf.acquire.devices import DeviceError, Pump, WallClock
from fgaf.acquire.drivers.manual import ManualPump, open_pump
from fgaf.acquire.rig import Opening, Rig
from fgaf.base.errors import SettingError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")


def open_by_hand(interrupt: Interrupt | None = None, **options: Any) -> ManualPump:
    table = PumpTable(driver="manual", options={"confirm_s": 10.0} | options)
    rig = Rig(camera=CameraTable(driver="x"), stage=StageTable(driver="x"), pump=table)
    return open_pump(table, Opening(rig, WallClock(), interrupt=interrupt or Interrupt()))


@dataclass
class Desk:
    """A terminal, and the person at it: `answers` gets every line shown, and types its return."""

    theirs: int
    answers: Callable[[str], bytes]
    shown: list[str]

    def sit(self) -> None:
        text = b""
        while block := _read(self.theirs):
            *lines, text = (text + block).split(b"\n")
            for line in lines:
                self.shown.append(line.decode().strip())
                os.write(self.theirs, self.answers(self.shown[-1]))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def confirms(line: str) -> bytes:
    return b"\n" if line.endswith("press Return") else b""


def silent(_: str) -> bytes:
    return b""


@contextmanager
def at_desk(answers: Callable[[str], bytes] = confirms) -> Iterator[Desk]:
    """Replace input and errors by a terminal with a person."""
    import pty
    import tty

    theirs, ours = pty.openpty()
    tty.setraw(ours)
    sitting = Desk(theirs, answers, [])
    files = [os.fdopen(ours, "r"), os.fdopen(os.dup(ours), "w")]
    person = threading.Thread(target=sitting.sit, daemon=True)
    person.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", files[0])
            patch.setattr("sys.stderr", files[1])
            yield sitting
    finally:
        for file in files:
            file.close()
        os.write(theirs, b"\n")  # ends a read that waits
        person.join(5)
        os.close(theirs)


def test_the_person_begins_and_ends() -> None:
    with at_desk() as desk:
        pump = open_by_hand(name="CellTram")
        assert isinstance(pump, Pump)
        pump.stop()
        pump.start(1.2)
        assert pump.flow_nl_s() == 1.2
        pump.start(-0.5)
        assert pump.flow_nl_s() == -0.5
        pump.stop()
        assert pump.flow_nl_s() == 0
        pump.close()
    assert desk.shown == [
        "DRAW 1.2 nL/s with the CellTram, then press Return",
        "EXPEL 0.5 nL/s with the CellTram, then press Return",
        "STOP the CellTram, then press Return",
    ]


def test_nobody_there_is_an_error_in_time() -> None:
    with at_desk(silent):
        pump = open_by_hand(confirm_s=0.2)
        with pytest.raises(DeviceError, match=r"nobody confirmed within 0\.2 s: DRAW 1\.2 nL/s"):
            pump.start(1.2)
        assert pump.flow_nl_s() == 0
        with pytest.raises(DeviceError, match=r"nobody confirmed within 0\.2 s: STOP the injector"):
            pump.close()


def test_what_was_typed_before_does_not_confirm() -> None:
    with at_desk(lambda line: b"\n\n" if "DRAW" in line else b""):
        pump = open_by_hand(confirm_s=0.2)
        pump.start(1.2)
        with pytest.raises(DeviceError, match="STOP"):
            pump.stop()


def test_a_stop_request_ends_the_wait_and_the_person_is_asked_to_stop() -> None:
    interrupt = Interrupt()

    def interrupted(line: str) -> bytes:
        if "DRAW" in line:
            interrupt.request()
            return b""
        return b"\n"

    with at_desk(interrupted) as desk:
        pump = open_by_hand(interrupt)
        with pytest.raises(InterruptError):
            pump.start(1.2)
        pump.close()
    assert desk.shown[-1] == "STOP the injector, then press Return"


def test_without_a_terminal_it_does_not_open() -> None:
    with pytest.raises(SettingError, match="needs a person at a terminal"):
        open_by_hand()


@click.command()
@click.option("--json", "as_json", is_flag=True)
def work(as_json: bool) -> None:  # noqa: ARG001
    with at_desk():
        open_by_hand().start(1.2)


def test_a_command_that_prints_json_does_not_ask() -> None:
    done = CliRunner().invoke(work, ["--json"])
    assert isinstance(done.exception, SettingError)
    assert "leave out --json" in str(done.exception)
    assert CliRunner().invoke(work, []).exit_code == 0
