"""The command `fgaf-live`: its results, its end, its refusals."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result

from fgaf.model.commands.live import live

OFF = ("--page", "off", "--tcp", "off")


def run(small: tuple[str, ...], *words: str, model: str = "sim") -> Result:
    settings = [word for override in small for word in ("--set", override)]
    return CliRunner().invoke(live, ["sim", model, *settings, *words])


def test_a_run_ends_with_one_line_and_leaves_a_file(small: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "swim.h5"
    done = run(small, *OFF, "--frames", "4", "--record", str(path))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("live for ")
    assert done.stdout.endswith(f"; wrote {path}\n")
    with h5py.File(path) as file:
        assert len(file["frames/frame_id"]) == 4
        assert "simulated" in file.attrs["camera"]


def test_the_recording_has_the_stage(small: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "swim.h5"
    done = run(small, *OFF, "--frames", "3", "--record", str(path), "--follow", "160,120@20px")
    assert done.exit_code == 0, done.output
    with h5py.File(path) as file:
        assert file["frames/stage_x_um"][:].tolist() == [0.0] * 3
        assert json.loads(file.attrs["stage_map"])["x_px_per_um"][0] < 0


def test_the_result_as_json_alone_on_stdout(small: tuple[str, ...]) -> None:
    done = run(small, "--page", "0", "--tcp", "0", "--frames", "3", "--json")
    result = json.loads(done.stdout)
    assert result["frames"] == 3
    assert result["ended"] == "the limit of --frames was reached"
    assert {"dropped", "cells", "rate_hz", "latency_p99_ms", "lines_dropped"} <= result.keys()
    assert "page: http://127.0.0.1:" in done.stderr


def test_a_corrupt_model_is_one_line(small: tuple[str, ...], tmp_path: Path) -> None:
    model = tmp_path / "checkpoint.pt"
    model.write_bytes(b"PK\x03\x04 nothing")
    done = run(small, *OFF, model=str(model))
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_heads_are_of_a_run_of_heads_and_depths_of_one_of_depth(
    small: tuple[str, ...], heads_run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "swim.h5"
    words = [*OFF, "--frames", "3", "--record", str(path)]
    wrong = [
        (run(small, *words, "--heads", "sim"), "sim estimates depth; give a network that segments"),
        (run(small, *words, model=str(heads_run)), "segments heads; give a network that estimates"),
        (run(small, *words, "--heads", "no-run"), "no-run"),
    ]
    for done, says in wrong:
        assert done.exit_code == 1
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
    done = run(small, *words, "--heads", str(heads_run))
    assert done.exit_code == 0, done.output
    with h5py.File(path) as file:
        assert file.attrs["heads"] == str(heads_run)
        assert json.loads(file.attrs["heads_card"])["backbone"] == "unext_s"
        assert len(file["cells/segmented"]) == len(file["cells/id"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--track", "nearest"), "give a cell's number, or centre"),
        (("--follow", "middle"), "give centre, a pixel such as 400,300 (x, y)"),
        (("--follow", "300,10", *OFF), "too near the border of frames of 240 x 320 px"),
        (("--follow", "centre", "--map", "none.toml"), "there is no none.toml: run `acq calibrate"),
        (("--page", "99999"), "give 0 to 65535"),
        (("--frames", "0"), "--frames"),
        (("--head", "0"), "--head-length"),
    ],
)
def test_a_wrong_option_is_one_line(
    small: tuple[str, ...], words: tuple[str, ...], says: str
) -> None:
    done = run(small, *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--tcp", "--page"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_start_that_fails_leaves_no_recording(
    option: str, overwrite: bool, small: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "new" / "swim.h5"
    if overwrite:
        path.parent.mkdir()
        path.write_bytes(b"of before")
    words = [*OFF, "--frames", "2", "--record", str(path), *["--overwrite"] * overwrite]
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run(small, *words, option, str(other.getsockname()[1]))
    assert done.exit_code == 1
    assert f"choose another port with {option}" in done.stderr
    assert [p.read_bytes() for p in tmp_path.rglob("*.*")] == [b"of before"] * overwrite
    assert path.parent.exists() == overwrite


def test_the_folder_of_a_recording_is_made(small: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "new" / "swim.h5"
    done = run(small, *OFF, "--frames", "2", "--record", str(path))
    assert done.exit_code == 0, done.output
    assert [p.name for p in path.parent.iterdir()] == ["swim.h5"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_a_run_with_its_line_and_its_file(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "swim.h5"
    program = Path(sys.executable).with_name("fgaf-live")
    settings = [word for override in small for word in ("--set", override)]
    words = [program, "sim", "sim", *settings, "--page", "0", "--tcp", "0", "--track", "centre"]
    with subprocess.Popen(
        [*words, "--record", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stderr is not None
        port = int(process.stderr.readline().rpartition(":")[2])
        page = http.client.HTTPConnection(process.stderr.readline().split("/")[2], timeout=60)
        with socket.create_connection(("127.0.0.1", port)) as robot, robot.makefile() as lines:
            first = json.loads(next(lines))
            assert first["format"] == "fgaf-live"
            process.send_signal(signal.SIGINT)
            with closing(page):
                told = {"ended": None}
                while told["ended"] is None:
                    page.request("GET", "/snapshot")
                    told = json.loads(page.getresponse().read())
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("live for ")
    assert told["ended"] == "stopped by Ctrl-C"
    assert told["command"].startswith("fgaf-live sim sim --set ")
    assert told["record"] == "swim.h5"
    with h5py.File(path) as file:
        assert file.attrs["complete"]


def test_a_page_open_to_others_is_told_with_its_token(small: tuple[str, ...]) -> None:
    words = ("--frames", "2", "--tcp", "off", "--page", "0", "--host", "0.0.0.0")
    settings = [word for value in small for word in ("--set", value)]
    names = ("--allow-host", "scope.example")
    for more, token in ((("--track", "centre", *names), True), (names, False)):
        done = CliRunner().invoke(live, ["sim", "sim", *settings, *words, *more])
        assert done.exit_code == 0, done.output
        assert ("/?token=" in done.stderr) == token


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_disk_that_fills_up_ends_a_run_with_one_line(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    """The drive is followed by then; nothing crashes, and a file that opens is left."""
    path = tmp_path / "swim.h5"
    settings = [word for override in small for word in ("--set", override)]
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))\n"
        "from fgaf.model.commands.live import live\nlive()"
    )
    words = ["sim", "sim", *settings, *OFF, "--track", "centre", "--record", path]
    done = subprocess.run(
        [sys.executable, "-c", limited, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 1, done.stderr
    assert "cannot write" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "could not return" not in done.stderr
    assert not path.exists()
