"""Cached results of a method, for the lifetime of its object."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def kept(method: Callable[Arguments, Result], most: int) -> Callable[Arguments, Result]:
    """Cache the last results of a bound method, by its (hashable) arguments.

    The cache does not keep the method's object alive, so the tables of a microscope are freed
    together with the microscope, and not at some later garbage collection.

    Parameters
    ----------
    method
        Bound method.
    most
        Maximum number of results; the least recently used is dropped first.
    """
    held = weakref.WeakMethod(method)

    @lru_cache(maxsize=most)
    def remembered(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        alive = held()
        if alive is None:
            raise ReferenceError("the object of a remembered method is gone")
        return alive(*arguments, **named)

    return cast(Callable[Arguments, Result], remembered)
