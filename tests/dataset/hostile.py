"""Runs commands in one process, and tells what each said, what time and memory it took."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

MOST_BYTES = 500 << 20
MOST_S = 10.0
"""Of the processor; far above the second that is promised, as it counts what is imported then."""

_SCRIPT = """
import json, re, sys, time
from pathlib import Path
from click.testing import CliRunner
from importlib import import_module
from importlib.metadata import entry_points

most, wanted = json.loads(sys.argv[1])
names = {name for name, *_ in wanted}
scripts = entry_points(group="console_scripts")
commands = {script.name: script.load() for script in scripts if script.name in names}
torch = {"fgaf-predict": ["torch", "fgaf.model.inference.depth"]}
for name in ["h5py", "numpy", "tifffile", "PIL.Image", "zarr", *torch.get(wanted[-1][0], ())]:
    import_module(name)
try:  # far more than may be used, as each thread reserves some; but not the whole machine
    import resource
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 8 * most, held + 8 * most))
except ImportError:
    pass

def peak(name):
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return 1024 * int(re.search(name + r":\\s+(\\d+)", status.read_text())[1])

for name, *words in wanted:
    if peak("VmHWM"):
        Path("/proc/self/clear_refs").write_text("5")
    begun, held = time.process_time(), peak("VmRSS")
    done = CliRunner().invoke(commands[name], words)
    broke = done.exception is not None and not isinstance(done.exception, SystemExit)
    said = repr(done.exception) if broke else done.output
    took = time.process_time() - begun, peak("VmHWM") - held
    print(json.dumps([said, -1 if broke else done.exit_code, *took]))
"""


@dataclass(frozen=True)
class Said:
    """What a command said, its exit code (-1 for a traceback), and the time and memory it took."""

    text: str
    code: int
    seconds: float
    n_bytes: int


def run(commands: Sequence[Sequence[str]]) -> list[Said]:
    """Run commands one after the other in one process; each is its name and its words."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps([MOST_BYTES, [list(c) for c in commands]])],
        capture_output=True,
        timeout=60 + MOST_S * len(commands),
        text=True,
        check=False,
    )
    said = [Said(*json.loads(line)) for line in done.stdout.splitlines()]
    assert len(said) == len(commands), done.stderr
    return said


def require_refused(said: Said, *words: str) -> None:
    """One line that holds `words`, in time, exit code 1 or 2."""
    assert said.code in (1, 2), said
    assert said.text.count("\n") == 1, said
    assert said.seconds < MOST_S, said
    assert said.n_bytes < MOST_BYTES, said
    for word in words:
        assert word in said.text, said
