"""A polite stop: signals set a flag that the run looks at, so that the drive can go back first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fgaf.dataset.errors import FgafError

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)


class InterruptError(FgafError):
    """Somebody asked the run to stop; the exit code is that of the signal, as shells count it."""

    def __init__(self, cause: str, exit_code: int = 1) -> None:
        super().__init__(cause)
        self.exit_code = exit_code


class Interrupt:
    """A request to stop that the run looks at between its waits."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None

    def request(self, number: int = signal.SIGINT) -> None:
        """Ask the run to stop, as if this signal had come."""
        self._signal = signal.Signals(number)

    def check(self) -> None:
        """Stop here when asked to.

        Raises
        ------
        InterruptError
            Somebody asked.
        """
        if self._signal is not None:
            raise InterruptError(f"stopped by {self._signal.name}", 128 + self._signal)

    @classmethod
    @contextmanager
    def on_signals(cls) -> Iterator[Interrupt]:
        """Turn the first Ctrl-C or SIGTERM into a request; a second one ends the process at once.

        To be used in the main thread.
        """
        interrupt = cls()

        def first(number: int, _frame: FrameType | None) -> None:
            interrupt.request(number)
            for each in _SIGNALS:
                signal.signal(each, signal.default_int_handler)

        before = {number: signal.signal(number, first) for number in _SIGNALS}
        try:
            yield interrupt
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
