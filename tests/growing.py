"""Kills a program that writes a file which grows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py


def kill_while_growing(code: str, path: Path, table: str, *arguments: str) -> Path:
    """Run code with a path, and kill it when a table of its file has rows; returns the part."""
    part = path.with_name(path.name + ".part")
    command = [sys.executable, "-c", code, str(path), *arguments]
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        deadline = time.monotonic() + 120
        while _rows_in_a_copy(part, table) == 0:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    return part


def _rows_in_a_copy(part: Path, table: str) -> int:
    """Rows that are in the file now, seen through a copy: never too many."""
    copy = part.with_name("copy.h5")
    try:
        shutil.copyfile(part, copy)
        with h5py.File(copy) as file:
            return min(len(column) for column in file[table].values())
    except (OSError, KeyError):
        return 0
