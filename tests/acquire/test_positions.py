"""Several places of the specimen: their list, their limits, and the way back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fgaf import FgafError, SettingError
from fgaf.acquire import (
    DeviceError,
    Interrupt,
    Position,
    Rig,
    StackPlan,
    load_rig,
    open_rig,
    read_positions,
    record_stacks,
    stack_paths,
)
from fgaf.acquire.commands.main import main
from fgaf.acquire.drivers.simulated_xy_stage import SimulatedXYStage
from fgaf.dataset import RawStack

PLAN = StackPlan(0.5, 1.0)
PLACES = (Position("left", -400, 30, 2.0), Position("right", 500.5, -20))


def written(folder: Path, text: str) -> Path:
    path = folder / "places.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "x_um,y_um,z_um,name\n-400,30,2,left\n500.5,-20,,\n")
    assert read_positions(path) == (PLACES[0], Position("p02", 500.5, -20))
    path = written(tmp_path, "\ufeffy_um,x_um\r\n1,2\r\n")
    assert read_positions(path) == (Position("p01", 2, 1),)


@dataclass(frozen=True)
class Wrong:
    text: str
    says: str


WRONG = [
    Wrong("", "has no position"),
    Wrong("x_um,y_um\n", "has no position"),
    Wrong("x_um,yum\n1,2\n", r"unknown column 'yum'; did you mean y_um\?"),
    Wrong("x_um\n1\n", r"line 2: y_um is ''; give a number"),
    Wrong("x_um,y_um\n1,2\n1,far\n", "line 3: y_um is 'far'; give a number"),
    Wrong("x_um;y_um\n1,5;2\n", "separate columns by commas"),
    Wrong("x_um,y_um\nnan,2\n", "line 2: x_um: nan is out of bounds"),
    Wrong("x_um,y_um\n1,5,2,5\n", "line 2: more values than columns"),
    Wrong("x_um,y_um,name\n1,2,a\n3,4,a\n", "two are named 'a'; give each a name of its own"),
    Wrong("x_um,y_um,name\n1,2,A1\n3,4,a1\n", "'A1' and 'a1' are one name on Windows"),
    Wrong("x_um,y_um,name\n1,2,p02\n3,4,\n", "two are named 'p02'"),
    Wrong("x_um,y_um,name\n1,2,a/b\n", "'a/b' is not a plain name"),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.text)
def test_a_wrong_list_is_one_line_that_says_where(case: Wrong, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=case.says) as caught:
        read_positions(written(tmp_path, case.text))
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="does not exist"):
        read_positions(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(bytes(range(256)))
    with pytest.raises(SettingError, match="is not UTF-8 text"):
        read_positions(tmp_path / "picture.csv")


def test_every_place_is_visited_in_every_round_and_its_field_named(
    rig: Rig, tmp_path: Path
) -> None:
    paths = stack_paths(tmp_path, 2, "x", positions=PLACES)
    assert [path.name for path in paths] == [
        "x_left_r001.stack.h5",
        "x_right_r001.stack.h5",
        "x_left_r002.stack.h5",
        "x_right_r002.stack.h5",
    ]
    with open_rig(rig) as devices:
        stage, across = devices.stage, devices.xy_stage
        recorded = record_stacks(devices, rig, PLAN, paths, every_s=20, positions=PLACES)
        assert isinstance(across, SimulatedXYStage)
        assert across.specimen_um() == (0, 0)
        assert abs(stage.position_um()) < 0.05
    assert recorded.late == ()
    headers, begun, first = [], [], []
    for path in paths:
        with RawStack.open(path) as stack:
            headers.append(stack.header)
            begun.append(int(stack.planes["time_host_ns"][0]) / 1e9)
            first.append(stack.frames[0])
    assert [header.field for header in headers] == ["x_left", "x_right"] * 2
    assert [header.center_um for header in headers] == [2, 0, 2, 0]
    assert [header.position_x_um for header in headers] == [-400, 500.5] * 2
    assert [header.position_y_um for header in headers] == [30, -20] * 2
    assert begun == sorted(begun)
    assert begun[2] - begun[0] == pytest.approx(20, abs=0.2)
    background = [np.abs(first[0].astype(int) - other).mean() for other in (first[1], first[2])]
    assert background[0] != background[1]


def test_without_positions_the_header_says_so(rig: Rig, tmp_path: Path) -> None:
    (path,) = stack_paths(tmp_path, name="x")
    with open_rig(rig) as devices:
        record_stacks(devices, rig, PLAN, [path])
    with RawStack.open(path) as stack:
        assert stack.header.position_x_um is None
        assert stack.header.position_y_um is None


IMPOSSIBLE = [
    Wrong("xy_stage.x_limits_um=[-100, 600]", r"position left at .* limits -100 to 600 µm in x"),
    Wrong("xy_stage.y_limits_um=[-10, 100]", r"position right at .* limits -10 to 100 µm in y"),
    Wrong("stage.limits_um=[-4, 2.5]", r"position left at .*: planes from 1 to 3 µm"),
]


@pytest.mark.parametrize("case", IMPOSSIBLE, ids=lambda case: case.text)
def test_the_whole_list_is_checked_before_anything_moves(
    case: Wrong, small: tuple[str, ...], tmp_path: Path
) -> None:
    rig = load_rig("sim", (*small, case.text))
    paths = stack_paths(tmp_path, name="x", positions=PLACES)
    with open_rig(rig) as devices, pytest.raises(SettingError, match=case.says):
        record_stacks(devices, rig, PLAN, paths, positions=PLACES)
    assert list(tmp_path.iterdir()) == []


class Stuck:
    """The rig's x/y stage, which stops half way from some move on."""

    def __init__(self, stage: Any, after: int) -> None:
        self._stage, self._left = stage, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    @property
    def limits_xy_um(self) -> Any:
        return self._stage.limits_xy_um

    @property
    def name(self) -> str:
        return str(self._stage.name)

    def move_xy_to(self, x_um: float, y_um: float) -> None:
        self._left -= 1
        x, y = self._stage.specimen_um()
        part = 1.0 if self._left >= 0 else 0.5
        self._stage.move_xy_to(x + part * (x_um - x), y + part * (y_um - y))


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (1, r"position right: the x/y stage came to rest at 50\.250, 5\.000 µm, .*1 of 2 stacks"),
        (2, r"all stacks were taken, but the x/y stage could not return to 0\.000, 0\.000 µm"),
    ],
    ids=["on the way", "on the way back"],
)
def test_x_and_y_that_do_not_arrive_are_an_error_that_says_where_they_are(
    after: int, says: str, rig: Rig, tmp_path: Path
) -> None:
    paths = stack_paths(tmp_path, name="x", positions=PLACES)
    with open_rig(rig) as devices:
        devices.xy_stage = Stuck(devices.xy_stage, after)
        with pytest.raises(DeviceError, match=says):
            record_stacks(devices, rig, PLAN, paths, positions=PLACES)


def test_an_interrupt_brings_x_and_y_back(rig: Rig, tmp_path: Path) -> None:
    interrupt = Interrupt()
    paths = stack_paths(tmp_path, name="x", positions=PLACES)

    def stop_at_the_second(items: Any, _label: str, _length: int | None) -> Any:
        for number, item in enumerate(items):
            if number == 1:
                interrupt.request()
            yield item

    says = r"at position right; .*1 of 2 stacks were done; the drive is back at .*x, y are back at"
    with open_rig(rig) as devices:
        stage: Any = devices.xy_stage
        with pytest.raises(FgafError, match=says):
            record_stacks(
                devices,
                rig,
                PLAN,
                paths,
                positions=PLACES,
                interrupt=interrupt,
                progress=stop_at_the_second,
            )
        assert stage.specimen_um() == (0, 0)


def acq(*words: object) -> Result:
    small = [f"--set=simulation.{each}" for each in ("shape=[48, 64]", "cells=1", "debris=1")]
    return CliRunner().invoke(main, [str(word) for word in (*words, *small)])


@pytest.mark.parametrize("command", ["stack", "sweep"])
def test_the_command_shows_the_places_and_visits_them(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = written(tmp_path, "x_um,y_um\n100,200\n-300,50\n")
    words = (command, "--positions", places, "--out", "raw", "--name", "x", "--range", 1)
    dry = acq(*words, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "2 positions: p01 at x = 100, y = 200 µm; p02 at x = -300, y = 50 µm" in dry.output
    assert not (tmp_path / "raw").exists()
    done = acq(*words, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [place["name"] for place in told["positions"]] == ["p01", "p02"]
    assert sorted(path.name for path in Path("raw").glob("*.h5")) == [
        "x_p01.stack.h5",
        "x_p02.stack.h5",
    ]


def test_a_stage_without_x_and_y_is_one_line(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (path,) = stack_paths(tmp_path, name="x")
    with open_rig(rig) as devices:
        record_stacks(devices, rig, PLAN, [path])
    replay = '[camera]\ndriver = "replay"\n[stage]\ndriver = "replay"\n[stage.options]\n'
    toml = f'{replay}stack = "x.stack.h5"\n'
    (tmp_path / "rig.toml").write_text(toml, encoding="utf-8")
    places = written(tmp_path, "x_um,y_um\n1,2\n")
    words = ("stack", "--rig", "rig.toml", "--range", "1", "--positions", str(places))
    done = CliRunner().invoke(main, [*words, "--out", "raw"])
    assert done.exit_code == 2
    assert "does not move in x and y" in done.stderr
    assert done.stderr.count("\n") == 1
