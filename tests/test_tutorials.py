"""The tutorials run as they are typed, and the doctests of every module are right."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "tutorials"
ROOMS = ("base", "dataset", "acquire", "curate", "model")
sys.path.insert(0, str(ROOT / "tests" / "drivers"))

from proscan_peer import FIELD, ProScanPeer  # noqa: E402

pytestmark = pytest.mark.long

FENCE = re.compile(r"^```(console|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SMALL_FIELD = {
    "shape": "[480, 480]",
    "cells": "5",
    "debris": "0",
    "round_cells": "0",
    "motile": "false",
    "margin_um": "16",
    "separation_um": "14",
    "depth_spread_um": "0.8",
}
STILL_SPOT = SMALL_FIELD | {"shape": "[64, 96]", "cells": "1", "margin_um": "2"}
QUICK = "--epochs 1 --backbone shufflenet_v2_x0_5 --set width=32 --set tta=false --threads 1"


@dataclass(frozen=True)
class Step:
    """One command of a page, and the lines that the page shows below it."""

    words: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def fails(self) -> bool:
        """Whether the page says that it is refused."""
        return any(line.startswith("error:") for line in self.shown)


@dataclass(frozen=True)
class Edit:
    """Lines of a rig file that the reader fills in."""

    lines: tuple[str, ...]


def read_page(name: str) -> Iterator[Step | Edit]:
    """Yield what the reader does, in order."""
    for kind, text in FENCE.findall((PAGES / name).read_text(encoding="utf-8")):
        if kind == "toml":
            yield Edit(tuple(text.splitlines()))
            continue
        for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, *shown = block.splitlines()
            yield Step(tuple(shlex.split(command)), tuple(shown))


def expanded(words: tuple[str, ...], folder: Path) -> Iterator[str]:
    """Replace patterns by the files that fit, as shells do, and as the commands do on Windows."""
    for word in words:
        if "*" in word:
            yield from sorted(str(path.relative_to(folder)) for path in folder.glob(word))
        else:
            yield word


def run(step: Step, more: dict[str, list[str]], folder: Path) -> None:
    """Run a command with the words that `more` adds to it, and compare what it prints.

    What the installed program calls is called here: a process for each would import anew.
    """
    known = [key for key in more if " ".join(step.words).startswith(key)]
    words = [*expanded(step.words, folder), *(word for key in known for word in more[key])]
    assert shutil.which(words[0], path=str(Path(sys.executable).parent)) is not None, words[0]
    (program,) = entry_points(group="console_scripts", name=words[0])
    with chdir(folder):
        done = CliRunner().invoke(program.load(), words[1:], prog_name=words[0])
    printed = (done.stdout + done.stderr).replace("\\", "/")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    assert (done.exit_code != 0) == step.fails, f"{words}\n{printed}"
    at = 0
    for line in step.shown:
        pattern = ".*".join(re.escape(part) for part in line.strip().split("..."))
        found = re.compile(rf"^[ \t]*{pattern}[ \t]*$", re.MULTILINE).search(printed, at)
        assert found is not None, f"{words}: no line like {line!r} in\n{printed[at:]}"
        at = found.end() if line != "..." else at


def fill_in(edit: Edit, rig: Path) -> None:
    """Replace the lines of the rig file that have the keys of the edit."""
    text = rig.read_text(encoding="utf-8")
    for line in edit.lines:
        key = line.partition(" =")[0]
        text = re.sub(rf"^{key} = .*$", line, text, flags=re.MULTILINE)
    rig.write_text(text, encoding="utf-8")


def settings(table: dict[str, str]) -> list[str]:
    """Name settings of the simulation on a command line."""
    return [word for key, value in table.items() for word in ("--set", f"simulation.{key}={value}")]


def test_from_a_first_stack_to_a_report(tmp_path: Path) -> None:
    more = {"acq stack": settings(SMALL_FIELD), "fgaf-train": QUICK.split()}
    for step in read_page("first-stack.md"):
        assert isinstance(step, Step)
        run(step, more, tmp_path)
    outputs = (
        *("dataset.h5", "cells.png", "dataset-run/history.png", "dataset-run/confusion.png"),
        *("dataset-smoke/report.html", "depths.csv"),
    )
    for name in outputs:
        assert (tmp_path / name).is_file(), name


@pytest.fixture
def drive() -> Iterator[ProScanPeer]:
    pytest.importorskip("serial", reason="pyserial is not installed")
    quick = replace(FIELD, early_reply_s=0.002, delay_s=0.0, speed_um_per_s=1000, start_um=0.0)
    peer = ProScanPeer(quick)
    yield peer
    peer.switch_off()


def test_a_microscope_of_ones_own(drive: ProScanPeer, tmp_path: Path) -> None:
    rig = tmp_path / "rig.toml"
    more = {
        "acq devices": ["--port", drive.url],
        "acq rig new": ["--port", drive.url, "--camera", "simulated"],
        "acq check": ["--seconds", "0.1"],
    }
    for step in read_page("my-microscope.md"):
        if isinstance(step, Step):
            run(step, more, tmp_path)
        else:
            fill_in(step, rig)
        if isinstance(step, Step) and step.words[:3] == ("acq", "rig", "new"):
            world = "\n".join(f"{key} = {value}" for key, value in STILL_SPOT.items())
            text = rig.read_text(encoding="utf-8").replace("[simulation]", f"[simulation]\n{world}")
            rig.write_text(text, encoding="utf-8")
    assert (tmp_path / "checked.toml").is_file()
    assert len(list((tmp_path / "raw").glob("slide1_*.stack.h5"))) == 1
    assert drive.position_um == pytest.approx(0)


def test_the_lines_that_a_page_explains_are_ones_that_commands_say() -> None:
    page = (PAGES / "my-microscope.md").read_text(encoding="utf-8")
    first_columns = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    told = [line for column in first_columns for line in re.findall(r"`([a-z' ]+)`", column)]
    files = [path for room in ("base", "acquire") for path in (ROOT / room).rglob("*.py")]
    said = "".join(path.read_text(encoding="utf-8") for path in files)
    assert len(told) > 8
    assert [line for line in told if line not in said] == []


def spot(depth_um: float, noise: np.random.Generator) -> np.ndarray:
    """Make a patch: a spot that widens and fades with depth, dark above the focus."""
    y, x = np.mgrid[-24:24, -24:24]
    width = 3 + 2 * abs(depth_um)
    shape = np.exp(-(y**2 + x**2) / (2 * width**2)) * (3 / width) ** 2
    image = 120 + (60 if depth_um <= 0 else -60) * shape + noise.normal(0, 2, (48, 48))
    return np.clip(image, 0, 255).astype(np.uint8)


def make_patches(folder: Path) -> None:
    """Write the same cells in the three layouts of the page."""
    noise = np.random.default_rng(1)
    depths = (-1, -0.5, 0, 0.5, 1)
    images, labels = [], []
    for donor in range(1, 5):
        for cell in range(1, 4):
            patches = [spot(depth, noise) for depth in depths]
            images += patches
            labels += range(len(depths))
            stack = folder / "stacks" / f"donor{donor}" / f"cell{cell}.tif"
            stack.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(stack, np.stack(patches), photometric="minisblack")
            for depth, patch in zip(depths, patches, strict=True):
                path = folder / "patches" / f"{depth}um" / f"donor{donor}_cell{cell}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(patch).save(path)
    np.savez(folder / "patches.npz", images=np.stack(images), labels=np.array(labels))


def test_patches_of_ones_own(tmp_path: Path) -> None:
    make_patches(tmp_path)
    for step in read_page("my-patches.md"):
        assert isinstance(step, Step)
        run(step, {"fgaf-train": QUICK.split()}, tmp_path)
    for name in ("dataset-card.md", "cells.png", "dataset-split-run/confusion.png", "depths.csv"):
        assert (tmp_path / name).is_file(), name


def with_doctests() -> list[str]:
    """Name the modules that hold a doctest that runs."""
    return [
        ".".join(("fgaf", *path.relative_to(ROOT).with_suffix("").parts))
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if re.search(r">>> (?!.*doctest: \+SKIP)", path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("name", with_doctests())
def test_doctests_are_right(name: str) -> None:
    done = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert done.attempted > 0
    assert done.failed == 0
