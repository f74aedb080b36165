"""Outcomes of work on several items: a result or an error for each, in any order or in theirs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Final, TypeVar

from fgaf.base.errors import FgafError

Item = TypeVar("Item")
Result = TypeVar("Result")

Outcomes = Generator[tuple[int, Result | Exception], None, None]
"""The number of an item, and its result or its error."""
TOO_LITTLE_MEMORY: Final = "there is too little memory for it; take fewer --workers"


class LostWorkerError(FgafError):
    """The process that worked on an item ended without an answer."""


def attempt(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    """Work on one item; return the result or the error.

    Parameters
    ----------
    function
        What to do.
    item
        What to do it with.
    """
    try:
        return function(item)
    except MemoryError as error:
        short = LostWorkerError(TOO_LITTLE_MEMORY)
        short.__cause__ = error
        return short
    except Exception as error:
        return error


def in_order(outcomes: Outcomes[Result], names: Sequence[str]) -> Generator[Result, None, None]:
    """Put results into the order of their items; the first error in that order is raised.

    Parameters
    ----------
    outcomes
        In the order in which they come; closed at the end.
    names
        What the items are called in errors.

    Raises
    ------
    LostWorkerError
        The process that worked on an item ended; the message names the item.
    """
    early: dict[int, Result | Exception] = {}
    with closing(outcomes):
        for number, name in enumerate(names):
            while number not in early:
                came, outcome = next(outcomes)
                early[came] = outcome
            outcome = early.pop(number)
            if isinstance(outcome, LostWorkerError):
                raise LostWorkerError(f"{name}: {outcome}") from outcome
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
