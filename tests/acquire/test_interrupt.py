"""Signals: the first one is a request, later ones change nothing, and the drive goes back."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fgaf.acquire import Interrupt, InterruptError
from fgaf.acquire.commands.main import main
from fgaf.acquire.simulation.painter import Canvas, Painter
from fgaf.dataset import recover

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

BEFORE = 3


@contextmanager
def handled(number: int, handler: signal.Handlers) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_counts(first: str) -> None:
    handlers = [signal.getsignal(number) for number in signal.Signals]
    with Interrupt.on_signals() as interrupt:
        interrupt.check()
        for name in (first, "SIGINT", "SIGTERM", "SIGHUP"):
            os.kill(os.getpid(), signal.Signals[name])
        with pytest.raises(InterruptError, match=f"stopped by {first}") as caught:
            interrupt.check()
    assert caught.value.exit_code == 128 + signal.Signals[first]
    assert [signal.getsignal(number) for number in signal.Signals] == handlers


def test_after_the_last_block_of_a_process_signals_change_nothing_more() -> None:
    number = signal.SIGTERM
    with ExitStack() as restored:
        for each in (number, signal.SIGINT, signal.SIGHUP):
            restored.enter_context(handled(each, signal.SIG_DFL))
        with Interrupt.on_signals(last=True):
            pass
        assert signal.getsignal(number) is signal.SIG_DFL
        with Interrupt.on_signals(last=True) as interrupt:
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested is number


def test_under_nohup_a_closed_terminal_stops_nothing() -> None:
    with handled(signal.SIGHUP, signal.SIG_IGN), Interrupt.on_signals() as interrupt:
        os.kill(os.getpid(), signal.SIGHUP)
        interrupt.check()


@pytest.mark.parametrize(
    "words",
    [
        ("stack", "--center", "16", "--range", "1", "--name", "x"),
        ("sweep", "--center", "16", "--range", "1", "--name", "x"),
        ("live", "--frames", "9"),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_no_cell_is_drawn_after_a_signal_within_a_plane(
    words: tuple[str, ...], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plane far out of focus takes seconds, its single cells do not."""
    drawn: list[object] = []
    draw = Painter.sperm

    def interrupted(painter: Painter, canvas: Canvas, *about: Any) -> None:
        drawn.append(canvas)
        if len(drawn) == BEFORE:
            os.kill(os.getpid(), signal.Signals[name])
        draw(painter, canvas, *about)

    monkeypatch.setattr(Painter, "sperm", interrupted)
    monkeypatch.chdir(tmp_path)
    settings = ("simulation.shape=[48, 64]", f"simulation.cells={2 * BEFORE - 1}")
    overrides = [word for setting in settings for word in ("--set", setting)]
    done = CliRunner().invoke(main, [*words, *overrides])
    assert len(drawn) == BEFORE
    assert done.exit_code == (0 if words[0] == "live" else 128 + signal.Signals[name])


def test_outside_the_main_thread_there_are_no_signals() -> None:
    asked: list[bool] = []

    def run() -> None:
        with Interrupt.on_signals() as interrupt:
            interrupt.request(signal.SIGTERM)
            with pytest.raises(InterruptError):
                interrupt.check()
            asked.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    assert asked


def test_a_terminal_that_is_closed_ends_the_run_with_the_drive_back(tmp_path: Path) -> None:
    """Its end is a SIGHUP, and every later line fails."""
    import pty

    empty = [f"simulation.{each}=0" for each in ("cells", "debris", "round_cells")]
    settings = ("simulation.shape=[48, 64]", "stage.options.start_um=3.0", *empty)
    words = [word for setting in settings for word in ("--set", setting)]
    acq = str(Path(sys.executable).with_name("acq"))
    words = [acq, "stack", "--range", "60", "--realtime", "--out", str(tmp_path), *words]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(acq, [*words, "--name", "x"])
    shown = b""
    while not re.search(rb" [2-9]%", shown):
        shown += os.read(terminal, 4096)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert recover(tmp_path / "x.stack.h5.part").planes > 0
