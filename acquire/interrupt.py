"""Controlled stop: signals set a flag that the run checks, so that the drive can go back first."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fgaf.base.errors import FgafError

_log = logging.getLogger(__name__)

_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
)


class InterruptError(FgafError):
    """A stop was requested; the exit code is that of the signal, as in shells."""

    def __init__(self, cause: str, exit_code: int = 1) -> None:
        super().__init__(cause)
        self.exit_code = exit_code


class Interrupt:
    """A request to stop, checked by the run between its waits."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None

    def request(self, number: int = signal.SIGINT) -> None:
        """Request a stop, as if this signal had come."""
        self._signal = signal.Signals(number)

    @property
    def requested(self) -> signal.Signals | None:
        """The signal that requested a stop, None before."""
        return self._signal

    def check(self) -> None:
        """Stop here if requested.

        Raises
        ------
        InterruptError
            A stop was requested.
        """
        if self._signal is not None:
            _log.info("%s: a stop of the run is requested", self._signal.name)
            raise InterruptError(f"stopped by {self._signal.name}", 128 + self._signal)

    @classmethod
    @contextmanager
    def on_signals(cls, *, last: bool = False) -> Iterator[Interrupt]:
        """Turn Ctrl-C, SIGTERM and SIGHUP into a stop request; the first one counts.

        Later ones have no effect: the drive must still go back, and every wait on the way is
        finite. A SIGHUP that is ignored, as with nohup, stays ignored. Outside the main thread,
        which gets no signals, nothing is done.

        Parameters
        ----------
        last
            The process ends after the block if a stop was requested. Later signals then have no
            effect until it has said why.
        """
        interrupt = cls()
        if threading.current_thread() is not threading.main_thread():
            yield interrupt
            return

        def note(number: int, _frame: FrameType | None) -> None:
            if interrupt._signal is None:
                interrupt.request(number)

        before = {
            number: signal.signal(number, note)
            for number in _SIGNALS
            if not (number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN)
        }
        try:
            yield interrupt
        finally:
            if not (last and interrupt.requested is not None):
                for number, handler in before.items():
                    signal.signal(number, handler)
