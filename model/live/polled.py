"""A device that is looked at again and again while the loop works."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from fgaf.acquire.devices import Clock
from fgaf.base.errors import FgafError

_END_S = 10.0


class Polled(ABC):
    """A device that is read and commanded by `look`.

    In real time a thread of its own looks (`start`, `stop`), since a serial device takes about a
    frame to answer; in simulated time the loop does.

    Parameters
    ----------
    name
        Name of the thread.
    clock
        Clock of the pauses.
    rest_s
        Pause between two looks.
    """

    def __init__(self, name: str, clock: Clock, rest_s: float) -> None:
        self._name, self._clock, self._rest_s = name, clock, rest_s
        self._ended = threading.Event()
        self._error: FgafError | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def look(self) -> None:
        """Read the position once, and send the newest command.

        Raises
        ------
        DeviceError
            The device is gone, or does not do what it was told.
        """

    def start(self) -> None:
        """Look once, then go on in a thread."""
        self.look()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the device may still be on its last move."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def _require_well(self) -> None:
        """Raise the error that ended the thread, if any."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self.look()
                self._clock.sleep(self._rest_s)
        except FgafError as error:
            self._error = error


class Attached(Polled):
    """A device that works beside the loop, such as a pump."""

    @abstractmethod
    def working(self) -> AbstractContextManager[None]:
        """Make the block in which it works; after it, also after an error, it is at rest."""
