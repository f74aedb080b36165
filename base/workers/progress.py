"""Progress inside the items of long work, reported to whoever shows it: a bar, or a parent process.

Work says how far it is with `steps` and `part`, and need not know who listens; without a listener
nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import length_hint
from typing import TypeVar

Item = TypeVar("Item")
Listener = Callable[[float], None]


class _Work:
    """A piece of work, and the share of it that is left."""

    def __init__(self, tell: Listener) -> None:
        self._tell = tell
        self.left = 1.0

    def advance(self, share: float) -> None:
        self.left -= share
        self._tell(share)


_work: ContextVar[_Work | None] = ContextVar("work", default=None)


@contextmanager
def reporting(tell: Listener) -> Iterator[_Work]:
    """Listen to the work in this block.

    Parameters
    ----------
    tell
        Called with the share of the work that was done since the last call; the sum is at most 1.

    Yields
    ------
    The work, without anything done.
    """
    before, work = _work.get(), _Work(tell)
    _work.set(work)
    try:
        yield work
    finally:
        _work.set(before)


def is_heard() -> bool:
    """Whether somebody listens to the present work."""
    return _work.get() is not None


def advance(share: float) -> None:
    """Report that a share of the present work was done.

    Parameters
    ----------
    share
        From 0 to 1.
    """
    if (work := _work.get()) is not None:
        work.advance(share)


@contextmanager
def part(share: float) -> Iterator[None]:
    """Make what is reported in this block a part of the present work, done at its end.

    Parameters
    ----------
    share
        Of what is left of the present work, from 0 to 1.
    """
    whole = _work.get()
    if whole is None:
        yield
        return
    size = share * whole.left
    with reporting(lambda done: whole.advance(size * done)) as work:
        yield
        work.advance(work.left)


def steps(items: Iterable[Item], length: int | None = None) -> Iterator[Item]:
    """Iterate over equal parts of what is left of the present work.

    Parameters
    ----------
    items
        What to iterate over.
    length
        Number of items, if `items` has no length; without any, nothing is reported.
    """
    left = length_hint(items) if length is None else length
    if not is_heard():
        yield from items
        return
    for item in items:
        with part(1 / left if left > 0 else 0.0):
            yield item
        left -= 1
