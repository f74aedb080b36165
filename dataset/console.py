"""What all commands share: errors in one line, progress with ETA, a closing line or JSON."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import click

from fgaf.dataset.errors import FgafError
from fgaf.dataset.files import reason

Item = TypeVar("Item")


class _OneLine(click.Command):
    """A command whose failures are one line on stderr, and whose traceback needs --debug."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
            code = run(*args, standalone_mode=False, **kwargs)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            click.echo(f"error: {_usage_line(error)}", err=True)
            code = error.exit_code
        except click.Abort:
            click.echo("error: stopped by the keyboard", err=True)
            code = 1
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (FgafError, OSError, KeyboardInterrupt) as error:
            if "--debug" in sys.argv or isinstance(error, BrokenPipeError):
                raise
            click.echo(f"error: {_line(error)}", err=True)
            ctx.exit(getattr(error, "exit_code", 1))


class Tool(_OneLine):
    """A program of one command."""


class Program(_OneLine, click.Group):
    """A program of several commands."""


def progress(items: Iterable[Item], label: str, length: int | None = None) -> Iterator[Item]:
    """Iterate `items` under a bar with the time left; silent when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    with click.progressbar(items, length=length, label=label, file=sys.stderr) as bar:
        yield from bar


def finish(
    lines: str,
    next_command: str | None = None,
    result: dict[str, Any] | None = None,
    as_json: bool = False,
) -> None:
    """Say what was done and what to run next, or print `result` as JSON for a script."""
    if as_json:
        click.echo(json.dumps(result, indent=2, default=str))
        return
    click.echo(lines)
    if next_command:
        click.echo(f"next: {next_command}")


def _usage_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see `{context.command_path} --help`" if context else message


def _line(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "stopped by the keyboard"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{reason(error)}"
    return " ".join(str(error).split())
