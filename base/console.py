"""What all commands share: errors in one line, a log, progress with ETA, a closing line or JSON."""

import _thread
import atexit
import io
import itertools
import json
import logging
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from operator import length_hint
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

import click

from fgaf.base import extras
from fgaf.base.errors import FgafError
from fgaf.base.files import reason
from fgaf.base.log import recording
from fgaf.base.names import printable
from fgaf.base.workers.progress import reporting

_log = logging.getLogger(__name__)

Item = TypeVar("Item")

_LOG, _VERBOSE = "log_file", "verbose"

_FINE = 1000
"""Steps of a bar for each item."""

_AGAIN_S = 0.02
"""Time after which a dropped Ctrl-C is raised again."""

_SIGNALLED = 128
"""Exit codes above it mean that a signal ended the run."""


class _OneLine(click.Command):
    """A command that reports a failure in one line on stderr; --debug adds the traceback."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self, click.Group):  # in a group each command has them
            self.params += _log_options()
        debug = click.Option(
            ["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."
        )
        self.params.append(debug)
        click.version_option(package_name="fgaf")(self)

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        run: Callable[..., Any] = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **kwargs)
        try:
            with _interrupts_kept():
                code = run(*args, standalone_mode=False, **kwargs)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            echo(f"error: {_usage_line(error)}", err=True)
            code = error.exit_code
        except click.Abort:
            echo("error: stopped from the keyboard", err=True)
            code = 1
        code = code if isinstance(code, int) else 0
        if code > _SIGNALLED:
            atexit.register(_end_deaf)
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        file, verbose = ctx.params.pop(_LOG, None), ctx.params.pop(_VERBOSE, False)
        tell = partial(echo, err=True)
        try:
            with recording(ctx.command_path, ctx.params, file, verbose, tell), _interrupts_known():
                return super().invoke(ctx)
        except (FgafError, OSError, KeyboardInterrupt) as error:
            if "--debug" in sys.argv or isinstance(error, BrokenPipeError):
                raise
            with suppress(OSError):  # if the terminal is gone, the exit code still counts
                echo(f"error: {_line(error)}", err=True)
            ctx.exit(getattr(error, "exit_code", 1))
        except ModuleNotFoundError as error:
            if not extras.known(error) or "--debug" in sys.argv:
                raise
            echo(f"error: {extras.missing(error)}", err=True)
            ctx.exit(1)


def _end_deaf() -> None:
    """Ignore signals while Python ends: they would print a traceback, or change the exit code."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _interrupt() -> None:
    """Interrupt the main thread as Ctrl-C does, also where it waits."""
    main = threading.main_thread().ident
    if sys.platform == "win32" or main is None:
        _thread.interrupt_main()
    else:
        signal.pthread_kill(main, signal.SIGINT)


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Raise a Ctrl-C again that came inside a destructor or callback, where Python drops it."""
    before = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if dropped.exc_type is KeyboardInterrupt:
            later = threading.Timer(_AGAIN_S, _interrupt)  # now it would end this hook
            later.daemon = True
            later.start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def _interrupts_known() -> Iterator[None]:
    """Raise a Ctrl-C again that a library turned into an error of its own.

    Compiled code that leaves a lock while the signal comes ends with a SystemError.
    """
    try:
        yield
    except (FgafError, OSError, click.ClickException, click.exceptions.Exit):
        raise
    except Exception as error:
        if not _follows_an_interrupt(error):
            raise
        raise KeyboardInterrupt from error


def _follows_an_interrupt(error: BaseException) -> bool:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if isinstance(link, KeyboardInterrupt):
            return True
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return False


def _log_options() -> list[click.Parameter]:
    file = click.Path(path_type=Path, dir_okay=False)
    return [
        click.Option(
            ["--log", _LOG],
            type=file,
            metavar="FILE",
            help="Append to this file what happens: moves, frames, files, errors.",
        ),
        click.Option(["--verbose"], is_flag=True, help="Say on stderr what happens."),
    ]


class Tool(_OneLine):
    """A program of one command."""


class Program(_OneLine, click.Group):
    """A program of several commands."""


def progress(
    items: Iterable[Item], label: str, length: int | None = None
) -> Generator[Item, None, None]:
    """Iterate over `items` with a progress bar and the time left; silent if stderr is no terminal.

    The bar also moves within an item whose work reports how far it is, see
    `fgaf.base.workers.progress`.
    Close it before a line is printed.

    Parameters
    ----------
    items
        What to iterate over.
    label
        Text before the bar.
    length
        Number of items, if `items` has no length.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    n = length_hint(items) if length is None else length
    with click.progressbar(length=n * _FINE, label=label, file=cast(TextIO, _Terminal())) as bar:
        done = 0.0

        def advance(share: float) -> None:
            nonlocal done
            done += share
            bar.update(max(round(done * _FINE) - bar.pos, 0))

        source = iter(items)
        for number in itertools.count(1):
            with reporting(advance):  # a generator works before it yields
                try:
                    item = next(source)
                except StopIteration:
                    break
                yield item
            advance(max(number - done, 0.0))
        bar.finish()
        bar.render_progress()


def bar(label: str) -> Callable[[Sequence[Item]], Generator[Item, None, None]]:
    """A progress bar with this label, for functions that wrap a list of theirs.

    Parameters
    ----------
    label
        Text before the bar.
    """
    return lambda items: progress(items, label, len(items))


class _Terminal(io.TextIOBase):
    """The terminal on stderr, for a bar; if it is closed, the work continues without a bar."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return True


def echo(text: str, err: bool = False, nl: bool = True) -> None:
    """Print to stdout or stderr; no text can control the terminal or fail because of its encoding.

    Parameters
    ----------
    text
        What to print.
    err
        Whether to print to stderr.
    nl
        Whether to end with a new line.
    """
    _log.debug("says: %s", text)
    _print(text, err, nl)


def _print(text: str, err: bool = False, nl: bool = True) -> None:
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
    click.echo(shown, err=err, nl=nl)


def reads_tables() -> bool:
    """Whether stdout is a terminal: there a person reads, in a pipe or a file a program."""
    return sys.stdout.isatty()


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()
) -> str:
    """Lay out a table for the width of the terminal; long texts are wrapped inside their column.

    Parameters
    ----------
    headings
        Of the columns.
    rows
        The cells of each row, as text.
    numbers
        Columns to align at the right, counted from 0.

    Examples
    --------
    >>> print(table(["cells", "number"], [["kept", "12"], ["lost", "3"]], numbers=[1]))
    <BLANKLINE>
      cells   number
     ────────────────
      kept        12
      lost         3
    <BLANKLINE>
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    plain = "utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    laid = Table(box=box.ASCII2 if plain else box.SIMPLE_HEAD)
    for place, heading in enumerate(headings):
        laid.add_column(Text(heading), justify="right" if place in numbers else "left")
    for row in rows:
        laid.add_row(*(Text(printable(cell)) for cell in row))
    text = io.StringIO()
    Console(file=text, width=shutil.get_terminal_size().columns).print(laid)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def count(number: int, noun: str) -> str:
    """Write a number with its noun, singular or plural.

    Parameters
    ----------
    number
        How many.
    noun
        What is counted, in the singular.

    Examples
    --------
    >>> count(1, "patch"), count(2, "patch"), count(1200, "plane")
    ('1 patch', '2 patches', '1200 planes')
    """
    plural = f"{noun}es" if noun.endswith(("ch", "sh", "s", "x")) else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def command_line(*words: object) -> str:
    """Write a command for the shell of this system; arguments with spaces are quoted.

    Examples
    --------
    >>> print(command_line("fgaf-data", "info", "day 1.h5"))
    fgaf-data info 'day 1.h5'
    """
    join = subprocess.list2cmdline if sys.platform == "win32" else shlex.join
    return join(list(map(str, words)))


def finish(
    lines: str,
    next_command: Sequence[object] | None = None,
    result: dict[str, Any] | list[Any] | None = None,
    as_json: bool = False,
) -> None:
    """Say what was done and what to run next, or print `result` as JSON for a script.

    Parameters
    ----------
    lines
        What was done.
    next_command
        Words of the next command.
    result, as_json
        The result for a script, and whether to print it in place of `lines`.
    """
    if as_json:
        _print(json.dumps(result, indent=2, default=str))
        return
    echo(lines)
    if next_command:
        echo(f"next: {command_line(*next_command)}")


def _usage_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see `{context.command_path} --help`" if context else message


def _line(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "stopped from the keyboard"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{reason(error)}"
    return " ".join(str(error).split())
