"""Adds the current action to errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.interrupt import InterruptError
from fgaf.base.errors import FgafError


@contextmanager
def error_context(what: str) -> Iterator[None]:
    """Begin every error of the block with `what`; drivers may raise any error.

    Raises
    ------
    DeviceError
        Instead of any error except the next.
    InterruptError
        A stop was requested; the message ends with `what`.
    """
    try:
        yield
    except InterruptError as error:
        raise InterruptError(f"{error} at {what}", error.exit_code) from error
    except FgafError as error:
        raise DeviceError(f"{what}: {error}") from error
    except Exception as error:
        raise DeviceError(f"{what}: {type(error).__name__}: {error}") from error
