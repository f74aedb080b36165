"""The person at the terminal, who answers questions while the program can still be stopped."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import click

from fgaf.base.console import echo
from fgaf.base.errors import SettingError

_LOOK_S = 0.05


class Person:
    """Asks the person at the terminal; a thread reads, because a read cannot be given up.

    Parameters
    ----------
    what_for
        Why a person is needed, for the error.

    Raises
    ------
    SettingError
        Input or errors are no terminal, or the command prints JSON for another program.
    """

    def __init__(self, what_for: str) -> None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise SettingError(
                f"{what_for} needs a person at a terminal: run this in one, without redirection"
            )
        command = click.get_current_context(silent=True)
        if command is not None and command.params.get("as_json"):
            raise SettingError(
                f"{what_for} needs a person, who answers questions: leave out --json"
            )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listening = False

    def confirms(
        self, question: str, within_s: float, check: Callable[[], None] = lambda: None
    ) -> bool:
        """Ask a question that Return confirms; lines typed before it do not count.

        Parameters
        ----------
        question
            What to do before Return.
        within_s
            Longest wait.
        check
            Called meanwhile; it may raise to end the wait.

        Returns
        -------
        bool
            Whether it was confirmed in time.
        """
        if not self._listening:
            self._listening = True
            descriptor = sys.stdin.fileno()
            threading.Thread(target=self._listen, args=(descriptor,), daemon=True).start()
        with suppress(queue.Empty):
            while True:
                self._lines.get_nowait()
        echo(f"{question}, then press Return", err=True)
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            check()
            with suppress(queue.Empty):
                self._lines.get(timeout=_LOOK_S)
                return True
        return False

    def _listen(self, descriptor: int) -> None:
        """Read lines until the terminal is gone, past `sys.stdin`, whose lock must stay free."""
        with suppress(OSError):
            while line := os.read(descriptor, 1024):
                self._lines.put(line.decode(errors="replace"))
        self._listening = False
