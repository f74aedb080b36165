"""What errors say besides their cause: the action, and the state the devices were left in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


@contextmanager
def failures_of(device: str) -> Iterator[None]:
    """Turn an error that a driver did not foresee into one of the device.

    Parameters
    ----------
    device
        The device, with its article, which begins the error.

    Raises
    ------
    DeviceError
        Instead of any error but those of fgaf.
    """
    try:
        yield
    except FgafError:
        raise
    except Exception as error:
        raise DeviceError(f"{device} failed: {type(error).__name__}: {error}") from error


@contextmanager
def ending(end: Callable[[], str], well: str = "", done: str = "") -> Iterator[None]:
    """Bring a device to rest after the block, also after an error, which then says how that went.

    Parameters
    ----------
    end
        Brings it to rest; returns the problem, empty if there is none.
    well
        What an error of the block says when there was no problem; empty for nothing.
    done
        What the block has done; begins the error when only the end fails.

    Raises
    ------
    FgafError
        The error that ended the block, with the state of the device; or the end failed.
    """
    try:
        yield
    except FgafError as error:
        if not (fate := end() or well):
            raise
        line = f"{error}; {fate}"
        if isinstance(error, InterruptError):
            raise InterruptError(line, error.exit_code) from error
        raise DeviceError(line) from error
    except BaseException as error:
        if fate := end() or well:
            error.add_note(fate)
        raise
    if lost := end():
        raise DeviceError(f"{done}, but {lost}" if done else lost)
