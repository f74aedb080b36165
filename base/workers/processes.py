"""Worker processes on this machine.

They are started anew (spawn) on every system, get one item at a time through a pipe of their own,
and end with their parent, however that ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from typing import Any, Final

from fgaf.base.errors import FgafError
from fgaf.base.workers.outcomes import Item, LostWorkerError, Outcomes, Result, attempt

_OURS: Final = "fgaf"


def in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Outcomes[Result]:
    """Work on items in several processes; a single worker is this process.

    Parameters
    ----------
    function
        What to do with an item. It, the items and the results are sent between processes.
    items
        What to do it with.
    workers
        Number of processes; no more are started than there are items.

    Yields
    ------
    int and result or Exception
        In the order in which they come. The error of a process that died is a `LostWorkerError`,
        and another process takes its place.
    """
    if min(workers, len(items)) <= 1:
        for number, item in enumerate(items):
            yield number, attempt(function, item)
        return
    waiting = deque(enumerate(items))
    team: dict[Any, _Worker] = {}
    try:
        while waiting and len(team) < workers:
            worker = _Worker(function)
            team[worker.link] = worker
            worker.give(*waiting.popleft())
        while team:
            for link in connection.wait(list(team)):
                worker = team[link]
                number, outcome = worker.number, worker.answer()
                if isinstance(outcome, LostWorkerError) or not waiting:
                    team.pop(link).end()
                    if waiting:
                        worker = _Worker(function)
                        team[worker.link] = worker
                if waiting:
                    worker.give(*waiting.popleft())
                yield number, outcome
    finally:
        for worker in team.values():
            worker.end()


class _Worker:
    """A worker process, and the item that it works on."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.link, theirs = context.Pipe()
        level = logging.getLogger(_OURS).getEffectiveLevel()
        self.process = context.Process(target=_serve, args=(theirs, function, level), daemon=True)
        with without_interrupts():
            self.process.start()
        theirs.close()
        self.number = -1

    def give(self, number: int, item: Any) -> None:
        """Send it an item."""
        self.number = number
        with suppress(OSError):  # that it is dead is said by `answer`
            self.link.send(item)

    def answer(self) -> Any:
        """Receive its result or error."""
        try:
            outcome, records = self.link.recv()
        except (EOFError, OSError):
            self.process.join()
            return LostWorkerError(
                f"its worker process {_fate(self.process.exitcode or 0)}; it may have run out of "
                "memory: take fewer --workers"
            )
        for record in records:
            logging.getLogger(record.name).handle(record)
        return outcome

    def end(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.link.close()


def _fate(exitcode: int) -> str:
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-exitcode).name}"
    return f"was ended by signal {-exitcode}"


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started in this block: their parent ends them."""
    if sys.platform == "win32":
        yield
    else:
        resource_tracker.ensure_running()  # its start would unblock the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(link: Any, function: Callable[[Any], Any], level: int) -> None:
    """Answer one item after the other; runs in the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    kept = _Kept()
    logging.getLogger().addHandler(kept)
    logging.getLogger(_OURS).setLevel(level)
    with suppress(EOFError, OSError):  # the parent has ended
        while True:
            outcome = attempt(function, link.recv())
            if isinstance(outcome, Exception):
                outcome = _portable(outcome)
            link.send((outcome, kept.taken()))


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """An error that can be sent, with its traceback as a note."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - of our own making
    except Exception:
        return FgafError(f"{type(error).__name__}: {error}")
    return error


class _Kept(logging.Handler):
    """Keeps log messages for the parent."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message as text."""
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        self._records.append(record)

    def taken(self) -> list[logging.LogRecord]:
        """Messages since the last call."""
        records, self._records = self._records, []
        return records
