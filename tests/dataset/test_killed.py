"""SIGKILL at any moment of writing: the old file or the new one, never a third thing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fgaf.dataset.archive import Archive, write_archive
from fgaf.dataset.commands.main import main
from fgaf.dataset.quality.validate import validate
from fgaf.dataset.raw import RawStack

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")

COMPILE = """
from dataclasses import replace
from pathlib import Path
from fgaf.dataset import Archive, write_archive
a = Archive.read(Path("target.h5")); b = replace(a, images=a.images[::-1].copy())
def step(): write_archive(Path("target.h5"), b, overwrite=True)
"""
COMMAND = """
import shlex
from fgaf.dataset.commands.main import main
def step(): main([*shlex.split({arguments!r}), "--overwrite", "--json"], standalone_mode=False)
"""
LOOP = """
step()
import sys
print("ready", file=sys.stderr, flush=True)
for _ in range(1000): step()
"""


@dataclass(frozen=True)
class Writer:
    """What writes `target.h5` over and over, and what the old and the new one are."""

    name: str
    code: str
    target: str = "target.h5"


WRITERS = [
    Writer("compile", COMPILE),
    Writer("split", COMMAND.format(arguments="split one.h5 --name new --out target.h5")),
    Writer("merge", COMMAND.format(arguments="merge one.h5 two.h5 --out target.h5")),
    Writer("subset", COMMAND.format(arguments="subset one.h5 --most 3 --out target.h5")),
    Writer("import", COMMAND.format(arguments="import new.tif --step 0.5 --out ."), "new.stack.h5"),
]


def prepared(folder: Path, archive: Archive) -> None:
    write_archive(folder / "one.h5", archive)
    ids = np.array([f"other-{k}" for k in range(12)], dtype=object)
    write_archive(
        folder / "two.h5",
        replace(archive, images=archive.images // 2, cells=replace(archive.cells, id=ids)),
    )
    write_archive(folder / "target.h5", archive)
    pixels = np.random.default_rng(0).integers(0, 4000, (5, 64, 64), dtype=np.uint16)
    for name, frames in (("new", pixels), ("old", pixels[::-1])):
        tifffile.imwrite(folder / f"{name}.tif", frames, metadata=None)
    arguments = ["import", str(folder / "old.tif"), "--step", "0.5", "--out", str(folder / "was")]
    main([*arguments, "--json"], standalone_mode=False)
    (folder / "was" / "old.stack.h5").rename(folder / "new.stack.h5")


def content(path: Path) -> bytes:
    if path.name.endswith(".stack.h5"):
        with RawStack.open(path) as stack:
            return stack.frames[:].tobytes()
    archive = Archive.read(path)
    return archive.images.tobytes() + b"".join(s.tobytes() for s in archive.splits.values())


def killed(code: str, folder: Path, delay: float) -> None:
    """Run the writer, and kill it some time after its first turn."""
    command = [sys.executable, "-c", code + LOOP]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        until = time.monotonic() + delay
        while time.monotonic() < until:
            pass
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda w: w.name)
@pytest.mark.parametrize(
    "turns", [1, pytest.param(40, marks=pytest.mark.slow)], ids=["once", "forty times"]
)
def test_a_killed_writer_leaves_the_old_file_or_the_new(
    writer: Writer, turns: int, archive: Archive, tmp_path: Path
) -> None:
    prepared(tmp_path, archive)
    target = tmp_path / writer.target
    good = {content(target)}
    killed(writer.code, tmp_path, 0.0)
    assert validate(target).ok
    good.add(content(target))
    assert len(good) == 2
    delays = random.Random(writer.name)
    for _ in range(turns):
        killed(writer.code, tmp_path, delays.uniform(0, 0.05))
        assert validate(target).ok
        assert content(target) in good
        visible = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
        unfinished = {name for name in visible if name.startswith(f"{writer.target}.")}
        assert visible - unfinished == {
            "one.h5", "two.h5", "target.h5", "new.tif", "old.tif", "new.stack.h5", "was"
        }  # fmt: skip
