"""What becomes of damaged files: every kind of file, every command that reads it.

The good files, the damages and the commands are those of the tests (``tests/damage``). Each
command is called in a process that may crash or hang, and is then started anew. A damage is
*reported* where the command fails in one line, *told* where it names what is lost and goes on,
*harmless* where it answers and writes the same as
of the good file, and anything else is a fault, which is printed with its seed.

Run ``python benchmarks/damage.py [--damages N] [--processes P] [--kind KIND]
[--only WORD] [--good FOLDER]``.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LAB = Path(__file__).parents[1] / "tests" / "damage" / "lab.py"
sys.path.insert(0, str(LAB.parent))
START_S, CALL_S = 300.0, 60.0

Task = tuple[str, int, str]


class Server:
    """A process that damages files in a folder of its own and calls the commands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def ask(self, task: Task) -> Iterator[dict[str, Any]]:
        """What became of a damage under each command; a crash and a hang are faults too."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        kind, seed, only = task
        asked = {"kind": kind, "seed": seed, "only": only}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        while line := self._line(CALL_S):
            answer: dict[str, Any] = json.loads(line)
            if not answer:
                return
            yield answer
        verdict = "hang" if self._hangs else "crash"
        self.close()
        yield {"command": "", "damage": "?", "verdict": verdict, "said": ""}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(LAB), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        if not self._line(START_S):
            raise RuntimeError("the good files could not be made")

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        lines = self._lines
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    def _line(self, seconds: float) -> str:
        """The next line; empty where the process has ended, or says nothing for so long."""
        self._hangs = False
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            self._hangs = True
            return ""


def examine(
    damages: int, processes: int, kinds: Sequence[str], only: str, folder: Path
) -> tuple[dict[tuple[str, str], Counter[str]], list[str]]:
    """Judge all damages.

    Returns
    -------
    dict, list of str
        Kind and command to the count of each verdict; a line per fault.
    """
    from lab import KINDS, Lab

    Lab(folder / "0")
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    counts: dict[tuple[str, str], Counter[str]] = {}
    for kind in KINDS:
        if kinds and kind.name not in kinds:
            continue
        for command in kind.commands:
            if only in command.name:
                counts[kind.name, command.name] = Counter()
        for seed in range(damages):
            tasks.put((kind.name, seed, only))
    faults: list[str] = []

    def work(number: int) -> None:
        own = folder / str(number)
        if number:
            for place in ("good", "other"):
                _copy(folder / "0" / place, own / place)
        server = Server(own)
        while True:
            try:
                kind, seed, only = tasks.get_nowait()
            except queue.Empty:
                break
            commands = iter(command for known, command in counts if known == kind)
            for answer in server.ask((kind, seed, only)):
                command, verdict = next(commands), answer["verdict"]
                counts[kind, command][verdict] += 1
                if verdict not in ("reported", "told", "harmless"):
                    line = f"{kind}, {command}, seed {seed}, {answer['damage']}: {verdict}"
                    faults.append(f"{line}\n{answer['said']}")
                    print(faults[-1], file=sys.stderr, flush=True)
        server.close()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts, faults


def _copy(source: Path, target: Path) -> None:
    import shutil

    if not target.exists():
        shutil.copytree(source, target)


def table(counts: dict[tuple[str, str], Counter[str]]) -> str:
    """Lay the counts out in Markdown."""
    lines = [
        "| file | command | damages | reported | told, goes on | harmless | faults |",
        "|---|---|---|---|---|---|---|",
    ]
    for (kind, command), found in counts.items():
        fine = [found[verdict] for verdict in ("reported", "told", "harmless")]
        shown = " | ".join(str(n) for n in (found.total(), *fine, found.total() - sum(fine)))
        lines.append(f"| {kind} | `{command}` | {shown} |")
    return "\n".join(lines)


def main() -> None:
    """Judge, print the table, and fail where there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damages", type=int, default=300, help="per kind of file and command")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", metavar="WORD", help="commands that name it")
    parser.add_argument("--kind", action="append", default=[], help="of file; all when left out")
    parser.add_argument("--good", type=Path, help="folder that keeps the good files")
    chosen = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = chosen.good or Path(name)
        counts, faults = examine(chosen.damages, chosen.processes, chosen.kind, chosen.only, folder)
    print(table(counts))
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
