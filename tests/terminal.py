"""Commands on a pseudo terminal: what a person sees, and a program does not."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROWS, COLUMNS = 40, 100
_RUN: Final = """import importlib, json, sys
for module, name, words in json.loads(sys.argv[1]):
    print("$", *words, flush=True)
    command = getattr(importlib.import_module(module), name)
    try:
        command.main(words, prog_name=name)
    except SystemExit as ended:
        assert not ended.code, ended.code
"""


def on_terminal(words: Sequence[str], cwd: Path) -> str:
    """Run a program with a terminal as its input, output and errors, and give what it showed.

    Parameters
    ----------
    words
        The program and its arguments.
    cwd
        Folder to run it in.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    unset = {"COLUMNS", "LINES"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    with subprocess.Popen(
        words, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = bytearray()
        try:
            while block := os.read(ours, 1 << 16):
                shown += block
        except OSError:  # Linux says so when the last program closes the terminal
            pass
        os.close(ours)
    text = shown.decode()
    assert process.returncode == 0, text
    return text.replace("\r\n", "\n")


def percents(text: str, label: str) -> list[int]:
    """Percentages that a bar went through.

    Parameters
    ----------
    text
        What a command showed.
    label
        Of the bar.
    """
    return [int(found) for found in re.findall(rf"{label}  \[[#-]*\] +(\d+)%", text)]


def commands_on_terminal(
    commands: Sequence[tuple[str, str, Sequence[object]]], cwd: Path
) -> list[str]:
    """Run commands in one process on a terminal, and give what each of them showed.

    Parameters
    ----------
    commands
        Module, name in it, and arguments of each.
    cwd
        Folder to run them in.
    """
    import json

    asked = json.dumps([(module, name, list(map(str, words))) for module, name, words in commands])
    text = on_terminal([sys.executable, "-c", _RUN, asked], cwd)
    return text.split("$ ")[1:]
