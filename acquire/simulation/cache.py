"""Results of a method kept for the next call, for as long as its object lives and no longer."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def kept(method: Callable[Arguments, Result], most: int) -> Callable[Arguments, Result]:
    """Remember the last results of a bound method, by its (hashable) arguments.

    The method's object may hold what this returns: it is not kept alive by it, so that the tables
    of a microscope go when the microscope does, and not when memory happens to be cleaned.

    Parameters
    ----------
    method
        Bound method.
    most
        Results kept; the longest unused goes first.
    """
    held = weakref.WeakMethod(method)

    @lru_cache(maxsize=most)
    def remembered(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        alive = held()
        if alive is None:
            raise ReferenceError("the object of a remembered method is gone")
        return alive(*arguments, **named)

    return cast(Callable[Arguments, Result], remembered)
