"""Outputs that nobody named: free, said, never replaced."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fgaf.base.folder_lock import user_name
from fgaf.base.outputs import claim_folder, free_path
from fgaf.dataset.commands.main import main

NAMES = [
    ("dataset-run", "dataset-run-2"),
    ("dataset.h5", "dataset-2.h5"),
    ("v1.2.h5", "v1.2-2.h5"),
    ("a.ome.zarr", "a-2.ome.zarr"),
    ("a.OME.TIF", "a-2.OME.TIF"),
]


@pytest.mark.parametrize(("name", "second"), NAMES)
def test_a_taken_name_is_numbered_before_its_ending(name: str, second: str, tmp_path: Path) -> None:
    assert free_path(tmp_path / name).name == name
    (tmp_path / name).touch()
    assert free_path(tmp_path / name).name == second
    (tmp_path / second).mkdir()
    assert free_path(tmp_path / name).name == second.replace("-2", "-3")


def test_a_name_whose_companion_is_taken_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "dataset.session").mkdir()
    assert free_path(tmp_path / "dataset.h5", beside=".session").name == "dataset-2.h5"


def test_a_name_of_which_another_case_is_taken_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "Data-run").mkdir()
    assert free_path(tmp_path / "data-run").name == "data-run-2"
    assert claim_folder(tmp_path / "data-run").name == "data-run-2"


def test_folders_claimed_at_once_are_all_different(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim_folder(tmp_path / "run"), range(24)))
    assert len(set(claimed)) == 24
    assert all(folder.is_dir() for folder in claimed)


BUILDS = """
import sys
from pathlib import Path
from fgaf.base.folder_lock import user_name
from fgaf.base.outputs import claiming
with claiming(Path(sys.argv[1])):
    print("begun", flush=True)
    sys.stdin.read()
"""


@contextmanager
def being_built(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program builds a file; killed when the block ends."""
    command = [sys.executable, "-c", BUILDS, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "begun\n"
        try:
            yield builder
        finally:
            builder.kill()


def test_a_name_that_a_live_program_builds_is_taken_from_the_start(
    good_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subset, out = ["subset", str(good_archive)], tmp_path / f"{good_archive.stem}-subset.h5"
    with being_built(out) as builder:
        done = CliRunner().invoke(main, subset)
        assert done.stdout.splitlines()[0] == f"writing {out.stem}-2.h5"
        for more in (["--out", str(out)], ["--out", out.name.upper()], ["--overwrite"]):
            done = CliRunner().invoke(main, [*subset, *more])
            assert done.exit_code == 1
            assert f"being written by another program ({user_name()} on" in done.stderr
            assert f"process {builder.pid}" in done.stderr
    assert not out.exists()
    assert any(tmp_path.glob(".fgaf-*"))
    done = CliRunner().invoke(main, subset)
    assert done.stdout.splitlines()[0] == f"writing {out.name}"
    assert {p.name for p in tmp_path.iterdir()} == {out.name, f"{out.stem}-2.h5"}


def test_commands_started_at_once_lose_no_work(good_archive: Path, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("fgaf-data")
    command = [program, "subset", good_archive, "--most", "3"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=tmp_path, **pipes) for _ in range(4)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    names = {out.splitlines()[0].removeprefix("writing ") for out, _ in said}
    assert {p.name for p in tmp_path.iterdir()} == names
    assert names == {f"{good_archive.stem}-subset{n}.h5" for n in ("", "-2", "-3", "-4")}


def test_a_start_that_fails_leaves_no_claim(tmp_path: Path) -> None:
    (tmp_path / "none.h5").write_bytes(b"no archive")
    words = ["subset", str(tmp_path / "none.h5"), "--out", str(tmp_path / "new" / "a.h5")]
    assert CliRunner().invoke(main, words).exit_code == 1
    assert [p.name for p in tmp_path.iterdir()] == ["none.h5"]


COMMANDS = {
    "split": (["split", "good.h5", "--name", "mine"], "good-split.h5"),
    "subset": (["subset", "good.h5", "--most", "3"], "good-subset.h5"),
    "merge": (["merge", "good.h5", "good.h5"], "merged.h5"),
    "card": (["card", "good.h5"], "good-card.md"),
    "npz": (["export", "good.h5", "--to", "npz"], "good.npz"),
    "imagefolder": (["export", "good.h5", "--to", "imagefolder"], "good-imagefolder"),
}


@pytest.mark.parametrize(("arguments", "name"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_writes_to_a_free_name_and_says_it_first(
    arguments: list[str],
    name: str,
    good_archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "good.h5").write_bytes(good_archive.read_bytes())
    monkeypatch.chdir(tmp_path)
    stem, dot, ending = name.partition(".")
    for wanted in (name, f"{stem}-2{dot}{ending}"):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[0] == f"writing {wanted}"
        assert Path(wanted).exists()


def test_an_import_says_its_folder_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    planes = np.random.default_rng(1).integers(0, 255, (5, 32, 32), dtype=np.uint8)
    tifffile.imwrite("five.tif", planes, metadata=None, photometric="minisblack")
    done = CliRunner().invoke(main, ["import", "five.tif", "--step", "0.5", "--pixel-size", "0.1"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "writing raw"
    assert Path("raw", "five.stack.h5").is_file()


def test_json_keeps_standard_output_to_itself(
    good_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["subset", str(good_archive), "--json"])
    name = f"{good_archive.stem}-subset.h5"
    assert json.loads(done.stdout)["path"] == name
    assert done.stderr.splitlines()[0] == f"writing {name}"


def test_info_takes_several_files_and_offers_the_contact_sheet_of_one(good_archive: Path) -> None:
    one = CliRunner().invoke(main, ["info", str(good_archive)])
    assert one.stdout.splitlines()[-1].startswith("next: fgaf-data info ")
    assert one.stdout.splitlines()[-1].endswith(f"--image {good_archive.stem}.png")
    two = CliRunner().invoke(main, ["info", str(good_archive), str(good_archive), "--json"])
    assert [each["path"] for each in json.loads(two.stdout)] == [str(good_archive)] * 2


def test_acq_stack_needs_no_more_than_step_and_range(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("acq"), "stack", "--step", "0.5", "--range", "0.5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (written,) = (tmp_path / "raw").glob("*.stack.h5")
    assert done.stdout.splitlines()[0] == f"writing {Path('raw', written.name)}"
    assert done.stdout.splitlines()[-1] == f"next: fgaf-curate auto {Path('raw', written.name)}"
