"""A record of what a command did: `--log FILE` and `--verbose`.

Every module has a logger of its own name. Messages cost almost nothing unless a command gets one
of the two options.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from fgaf.base.errors import SettingError
from fgaf.base.files import reason
from fgaf.base.names import printable

_log = logging.getLogger(__name__)

_ROOM: Final = "fgaf"
_VENDORS: Final = ("pymmcore-plus",)
"""Loggers of libraries whose messages all go to the file, and none to the terminal."""
_LINE: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_DATE: Final = re.compile(rb"\d{4}-\d\d-\d\dT")
_USER: Final = re.compile(r"(\w://)[^/\s@?#]+@")
_QUERY: Final = re.compile(r"(\w://[^\s?'\"]*\?)[^\s'\"]+")


@contextmanager
def recording(
    command: str,
    options: Mapping[str, Any],
    file: Path | None,
    verbose: bool,
    tell: Callable[[str], None],
) -> Iterator[None]:
    """Write what the modules log while the block runs, and how it ends.

    Parameters
    ----------
    command, options
        Name of the command, for the first lines.
    file
        All messages are appended to this file, with the traceback of an error; None for no file.
    verbose
        Whether the more important messages appear on stderr.
    tell
        Prints one line if the file cannot be written; the block then goes on.

    Raises
    ------
    SettingError
        The folder of `file` is missing, or `file` is not a log.
    """
    if file is None and not verbose:
        yield
        return
    handlers: list[logging.Handler] = [_on_terminal(verbose)]
    if file is not None and (in_file := _in_file(file, tell)):
        handlers.append(in_file)
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in (_ROOM, *_VENDORS)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(min(handler.level for handler in handlers))
    for handler in handlers:
        root.addHandler(handler)
    try:
        with _first_and_last_line(command, options):
            yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _first_and_last_line(command: str, options: Mapping[str, Any]) -> Iterator[None]:
    from fgaf.base.version import __version__  # takes some ms; `--help` need not wait

    begun_s = time.perf_counter()
    python = platform.python_version()
    _log.info(
        "%s begins: fgaf %s, Python %s, %s", command, __version__, python, platform.platform()
    )
    _log.debug("process %d in %s", os.getpid(), Path.cwd())
    _log.debug("options: %s", ", ".join(f"{name}={value!s}" for name, value in options.items()))
    try:
        yield
    except click.exceptions.Exit as error:
        _log.info("%s ends with exit code %d", command, error.exit_code)
        raise
    except BaseException as error:
        what = " ".join(str(error).split()) or type(error).__name__
        spent_s = time.perf_counter() - begun_s
        _log.error("%s failed after %.1f s: %s", command, spent_s, what, exc_info=True)
        raise
    _log.info("%s ends well after %.1f s", command, time.perf_counter() - begun_s)


def _on_terminal(verbose: bool) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO if verbose else logging.WARNING)
    handler.setFormatter(_Safe("%(message)s"))
    handler.addFilter(_is_for_terminal)
    return handler


def _is_for_terminal(record: logging.LogRecord) -> bool:
    """Leave out our tracebacks, and messages of other libraries below a warning."""
    if record.name.partition(".")[0] == _ROOM:
        return not record.exc_info
    return record.levelno >= logging.WARNING and record.name not in _VENDORS


def _is_for_file(record: logging.LogRecord) -> bool:
    """Leave out messages of other libraries below a warning; some enable all messages."""
    ours = record.name.partition(".")[0] in (_ROOM, *_VENDORS)
    return ours or record.levelno >= logging.WARNING


def _in_file(path: Path, tell: Callable[[str], None]) -> logging.Handler | None:
    if not path.parent.is_dir():
        raise SettingError(f"--log: there is no folder {path.parent}; make it or choose another")
    try:
        if path.is_file():
            with path.open("rb") as there:
                start = there.read(16)
            if start and not _DATE.match(start):
                raise SettingError(f"--log: {path} is not a log of fgaf; choose another name")
        return _LogFile(path, path.open("ab", buffering=0), tell)
    except OSError as error:
        tell(_unwritten(path, error))
        return None


def _unwritten(path: Path, error: OSError) -> str:
    return (
        f"warning: the log {path} cannot be written ({reason(error)}); "
        "the run continues, its log is incomplete"
    )


class _LogFile(logging.Handler):
    """Appends lines without a buffer: what was logged before a crash is in the file.

    The first line that cannot be written is reported; later lines are still tried.
    """

    def __init__(self, path: Path, raw: BinaryIO, tell: Callable[[str], None]) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(_Safe(_LINE))
        self.addFilter(_is_for_file)
        self._path, self._raw, self._tell = path, raw, tell
        self._told = self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Append one record."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        left = memoryview(("\n" * self._torn + line + "\n").encode())
        try:
            while left:
                left = left[self._raw.write(left) :]
                self._torn = bool(left)
        except OSError as error:
            if not self._told:
                self._told = True
                with suppress(OSError):  # the terminal may be gone
                    self._tell(_unwritten(self._path, error))

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._raw.close()
        super().close()


class _Safe(logging.Formatter):
    """Log lines without secrets; all lines of a record but the first are indented."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """Write the time in UTC, to the millisecond."""
        at = datetime.fromtimestamp(record.created, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def format(self, record: logging.LogRecord) -> str:
        """Write a record: control characters are escaped, keys in addresses are left out."""
        text = printable(super().format(record)).rstrip("\n").replace("\n", "\n    ")
        return _QUERY.sub(r"\1***", _USER.sub(r"\1***@", text))
