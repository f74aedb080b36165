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
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import connection, resource_tracker
from typing import Any, Final

from fgaf.base.errors import FgafError
from fgaf.base.workers.outcomes import Item, LostWorkerError, Outcomes, Result, attempt
from fgaf.base.workers.progress import Listener, advance, is_heard, reporting

_OURS: Final = "fgaf"
_LEAST_TOLD: Final = 0.01
"""Least share of an item that a worker reports."""


def in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Outcomes[Result]:
    """Work on items in several processes; a single worker is this process.

    What the workers report of their items is reported here, see `fgaf.base.workers.progress`: each
    item advances the work by 1.

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
                if (answer := worker.answer()) is None:
                    continue
                number, (outcome,) = worker.number, answer
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
        self.process = context.Process(
            target=_serve, args=(theirs, function, level, is_heard()), daemon=True
        )
        with without_interrupts():
            self.process.start()
        theirs.close()
        self.number = -1
        self._told = 0.0

    def give(self, number: int, item: Any) -> None:
        """Send it an item."""
        self.number, self._told = number, 0.0
        with suppress(OSError):  # that it is dead is said by `answer`
            self.link.send(item)

    def answer(self) -> tuple[Any] | None:
        """Receive its result or error; None if it only reports how far it is."""
        try:
            told = self.link.recv()
        except (EOFError, OSError):
            self.process.join()
            lost = LostWorkerError(
                f"its worker process {_fate(self.process.exitcode or 0)}; it may have run out of "
                "memory: take fewer --workers"
            )
            told = lost, []
        if isinstance(told, float):
            self._told += told
            advance(told)
            return None
        outcome, records = told
        for record in records:
            logging.getLogger(record.name).handle(record)
        advance(1 - self._told)
        return (outcome,)

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


def _serve(link: Any, function: Callable[[Any], Any], level: int, heard: bool) -> None:
    """Answer one item after the other; runs in the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    kept = _Kept()
    logging.getLogger().addHandler(kept)
    logging.getLogger(_OURS).setLevel(level)
    with suppress(EOFError, OSError):  # the parent has ended
        while True:
            item = link.recv()
            with reporting(_reporter(link)) if heard else nullcontext():
                outcome = attempt(function, item)
            if isinstance(outcome, Exception):
                outcome = _portable(outcome)
            link.send((outcome, kept.taken()))


def _reporter(link: Any) -> Listener:
    """Sends shares of an item, a hundred of them at most."""
    untold = 0.0

    def tell(share: float) -> None:
        nonlocal untold
        untold += share
        if untold >= _LEAST_TOLD:
            link.send(untold)
            untold = 0.0

    return tell


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
