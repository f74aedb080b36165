"""The Micro-Manager driver against pymmcore-plus's core with devices written in Python."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fgaf import FgafError, SettingError
from fgaf.acquire import (
    Devices,
    Position,
    Rig,
    StackPlan,
    StreamingCamera,
    WallClock,
    open_rig,
    record_stacks,
    stack_paths,
)
from fgaf.acquire.commands.main import main
from fgaf.acquire.device_tables import XYStageTable
from fgaf.acquire.devices import (
    Camera,
    DeviceError,
    IncompleteFrameError,
    Stage,
    effective_settings,
)
from fgaf.acquire.drivers.mmcore_camera import MmcoreCameraSettings, _binning_of
from fgaf.acquire.drivers.mmcore_stamps import Arrivals, Pace
from fgaf.base.log import recording
from fgaf.dataset import Optics, RawStack

unicore = pytest.importorskip(
    "pymmcore_plus.experimental.unicore", reason="pymmcore-plus has no Python-side devices"
)

from python_devices import Drive, Eye, Table  # noqa: E402

PLAN = StackPlan(0.5, 1.0, 10.0)
CONFIG = """
#py pyDevice,Eye,python_devices,Eye
#py pyDevice,Drive,python_devices,Drive
#py Property,Core,Initialize,1
#py Property,Core,Camera,Eye
#py Property,Core,Focus,Drive
"""
OpenRig = Callable[..., Devices]


def load(label: str, **properties: Any) -> dict[str, Any]:
    return {
        "label": label,
        "library": "python_devices",
        "name": label,
        "properties": properties,
    }


def make_rig(config: Path | None = None, **more: Any) -> Rig:
    """A rig of both devices; `more` goes to the options of the stage, or of the camera."""
    ours: dict[str, Any] = {"python_devices": True}
    ours |= {"config": config} if config else {"load": [load("Drive"), load("Eye")]}
    camera = more.pop("camera", {})
    table = {"limits_um": (-100, 100), "settle_ms": 0, "timeout_s": 0.6}
    return Rig.model_validate(
        {
            "camera": {"driver": "mmcore", "exposure_ms": 2.0, "timeout_s": 0.3, "options": camera},
            "stage": {"driver": "mmcore", "options": ours | more} | table,
        }
    )


@pytest.fixture
def open_both() -> Iterator[OpenRig]:
    """Open rigs; all are closed after the test."""
    opened: list[Devices] = []

    def open_it(*arguments: Any, **more: Any) -> Devices:
        opened.append(open_rig(make_rig(*arguments, **more)))
        return opened[-1]

    yield open_it
    for devices in opened:
        with suppress(DeviceError):
            devices.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "scope.cfg"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.mark.parametrize("never_busy", [0, 1], ids=["honest", "busy too short"])
def test_a_stack_is_taken_and_the_drive_goes_home(never_busy: int, tmp_path: Path) -> None:
    rig = make_rig(properties={"NeverBusy": never_busy, "Speed": 200})
    with open_rig(rig) as devices:
        record_stacks(devices, rig, PLAN, [tmp_path / "one.stack.h5"])
        assert devices.stage.position_um() == pytest.approx(10)
    with RawStack.open(tmp_path / "one.stack.h5") as stack:
        stack.verify()
        np.testing.assert_allclose(stack.z_um, list(PLAN), atol=0.03)
        assert stack.frames[:, 0, 0].tolist() == [1, 2, 3, 4, 5]
        assert stack.header.stage == "Drive (python_devices Drive) through Micro-Manager"
        assert stack.header.camera.startswith("Eye (python_devices Eye)")
        assert stack.planes["exposure_us"].tolist() == [2000.0] * 5


LIMITS = XYStageTable(x_limits_um=(-50, 50), y_limits_um=(-50, 50))
TABLE = LIMITS.model_copy(update={"options": {"device": "Table"}})


def test_positions_are_visited_and_x_and_y_come_back(tmp_path: Path) -> None:
    devices = [load("Drive"), load("Eye"), load("Table")]
    rig = make_rig(load=devices).model_copy(update={"xy_stage": TABLE})
    places = (Position("a", 10, 20), Position("b", -30, 5))
    with open_rig(rig) as opened:
        paths = stack_paths(tmp_path, name="x", positions=places)
        record_stacks(opened, rig, PLAN, paths, positions=places)
        assert Table.made.moves == [(10, 20), (-30, 5), (0, 0)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x_a.stack.h5", "x_b.stack.h5"]


def test_a_configuration_without_x_and_y_is_named() -> None:
    rig = make_rig().model_copy(update={"xy_stage": LIMITS})
    with pytest.raises(SettingError, match="configuration has no x/y"):
        open_rig(rig)


def test_the_command_takes_one_with_a_configuration_file(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(make_rig(str(config)).to_toml(), encoding="utf-8")  # type: ignore[arg-type]
    arguments = ["stack", "--rig", str(path), "--out", str(tmp_path), "--name", "one"]
    result = CliRunner().invoke(main, [*arguments, "--range", "0.5"])
    assert result.exit_code == 0, result.output


def test_both_share_one_core_until_the_last_is_closed(config: Path, open_both: OpenRig) -> None:
    devices = open_both(config)
    assert isinstance(devices.camera, Camera)
    assert isinstance(devices.stage, Stage)
    assert devices.camera.session is devices.stage.session
    devices.stage.close()
    devices.stage.close()
    devices.camera.start()
    assert devices.camera.trigger(1.0).frame_id == 0
    devices.camera.close()
    assert not devices.camera.session.core.getLoadedDevices()[:-1]


def test_what_the_library_tells_is_in_the_log(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "night.log"
    with recording("acq", {}, path, False, pytest.fail), open_rig(make_rig(config)):
        pass
    text = path.read_text(encoding="utf-8")
    for event in (
        "DEBUG   pymmcore-plus: Unloading all devices",
        "stage: through the package pymmcore_plus, version 0",
        "fgaf.acquire.drivers.mmcore_session: MMCore version",
    ):
        assert event in text, text
    assert capsys.readouterr().err == ""


def test_a_camera_may_stand_alone(open_both: OpenRig) -> None:
    options = {"load": [load("Eye")], "python_devices": True}
    devices = open_both(camera=options)
    assert devices.camera.session is not devices.stage.session


def test_moves_say_that_they_last_though_busy_does_not(open_both: OpenRig) -> None:
    stage = open_both(properties={"NeverBusy": 1, "Speed": 100}, direction=-1).stage
    assert stage.position_um() == pytest.approx(-10)
    stage.move_to(-15)
    begun = time.monotonic()
    while stage.moving():
        assert time.monotonic() - begun < 60
    assert time.monotonic() - begun > 0.05
    assert stage.position_um() == pytest.approx(-15)
    assert Drive.made.moves == [15.0]


def test_stop_and_limits(open_both: OpenRig) -> None:
    stage = open_both(properties={"Speed": 1}).stage
    stage.move_to(90)
    stage.stop()
    assert stage.position_um() < 50
    with pytest.raises(DeviceError, match="outside its limits -100 to 100"):
        stage.move_to(100.5)


def test_region_properties_and_depth(open_both: OpenRig) -> None:
    region = {"y": 3, "x": 4, "height": 8, "width": 16}
    options = {"region": region, "properties": {"Gain": 7}, "bit_depth": 12}
    camera = open_both(camera=options).camera
    assert (camera.shape, camera.bit_depth) == ((8, 16), 12)
    assert int(Eye.made.get_property_value("Gain")) == 7
    camera.start()
    frame = camera.trigger(1.0)
    assert frame.pixels[0].tolist() == list(range(5, 21))
    assert frame.pixels.dtype == np.uint16
    kept = frame.pixels.copy()
    camera.trigger(1.0)
    np.testing.assert_array_equal(frame.pixels, kept)


def test_bytes_are_eight_bit(open_both: OpenRig) -> None:
    camera = open_both(camera={"properties": {"Bytes": 1}, "bit_depth": 12}).camera
    camera.start()
    assert camera.bit_depth == 8
    assert camera.trigger(1.0).pixels.dtype == np.uint8


def wait_until(arrived: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not arrived():
        assert time.monotonic() < deadline


def test_a_stream_counts_its_frames_and_ends(open_both: OpenRig) -> None:
    camera: Any = open_both().camera
    assert isinstance(camera, StreamingCamera)
    assert camera.frame_interval_s == pytest.approx(0.02, abs=1e-3)
    assert camera.stamp_error_s >= camera.frame_interval_s
    for _ in range(2):
        before_ns = time.time_ns()
        camera.stream()
        frames = [camera.next_frame(1) for _ in range(3)]
        assert [frame.frame_id for frame in frames] == [0, 1, 2]
        assert before_ns < frames[1].time_host_ns + 20_000_000 < time.time_ns()
        assert camera.next_frame(0) is None
    camera.stop()
    with pytest.raises(DeviceError, match="is not streaming"):
        camera.next_frame(0)
    camera.start()
    assert camera.trigger(1.0).frame_id == 0


def test_the_latest_frame_of_a_stream_skips_the_others(open_both: OpenRig) -> None:
    camera: Any = open_both().camera
    camera.stream(latest=True)
    first = camera.next_frame(1)
    wait_until(lambda: camera.session.core.getRemainingImageCount() >= 3)
    assert camera.next_frame(1).frame_id >= first.frame_id + 3


@dataclass(frozen=True)
class StreamFault:
    """What becomes of a stream that gave some frames, and what the line says."""

    says: str
    error: type[DeviceError] = DeviceError
    properties: dict[str, int] = field(default_factory=dict)
    buffer_mb: float = 1.0
    latest: bool = False


STREAM_FAULTS = [
    StreamFault(
        r"came .* ms from its expected time: a frame was lost",
        IncompleteFrameError,
        {"LostAfter": 5},
    ),
    StreamFault("the camera ended its stream", properties={"EndsAfter": 5}, latest=True),
    StreamFault("its buffer overflowed", buffer_mb=0.005),
]


@pytest.mark.parametrize("fault", STREAM_FAULTS, ids=lambda fault: fault.says)
def test_a_fault_of_a_micromanager_stream_is_one_line(
    fault: StreamFault, open_both: OpenRig
) -> None:
    camera: Any = open_both().camera
    assert camera.frame_interval_s > 0
    for name, value in fault.properties.items():
        Eye.made.set_property_value(name, value)
    camera.session.core.setCircularBufferMemoryFootprint(fault.buffer_mb)
    camera.stream(fault.latest)
    if fault.buffer_mb < 1:
        wait_until(camera.session.core.isBufferOverflowed)
    with pytest.raises(fault.error, match=fault.says) as caught:
        all(camera.next_frame(1) for _ in range(7))
    assert "\n" not in str(caught.value)
    camera.stop()


def test_a_camera_whose_frames_do_not_come_cannot_run_free(open_both: OpenRig) -> None:
    camera: Any = open_both(camera={"properties": {"Interval_ms": 600}}).camera
    with pytest.raises(DeviceError, match=r"gave no frame for 0\.3 s"):
        camera.stream()


@pytest.mark.parametrize(
    ("arrivals_ms", "interval_ms", "scatter_ms"),
    [
        ([0, 99, *range(110, 310, 10)], 10, 0),
        ([0, 10, *range(20, 200, 10), 245, 246, 247], 10, 0),
        ([0, 10, *(10 * n + (n % 2) for n in range(2, 22))], 10, 0.5),
    ],
    ids=["begins unevenly", "ends late", "scatters"],
)
def test_the_pace_of_a_stream_is_that_of_most_frames(
    arrivals_ms: list[int], interval_ms: float, scatter_ms: float
) -> None:
    pace = Pace.of([1_000_000 * each for each in arrivals_ms])
    assert pace.interval_s * 1e3 == pytest.approx(interval_ms, rel=0.01)
    assert pace.scatter_s * 1e3 == pytest.approx(scatter_ms, abs=0.1)


def test_frames_that_come_at_once_have_no_pace() -> None:
    with pytest.raises(DeviceError, match="the same or decreasing times"):
        Pace.of([0] * 22)


def test_a_late_arrival_counts_as_in_its_turn() -> None:
    arrivals = Arrivals(WallClock(), Pace(0.01, 0.0))
    begun = datetime.now()
    late_ms = [0, 0, 0, 4, 0, 3, 3]
    found = [
        arrivals.next_ns(str(begun + timedelta(milliseconds=10 * n + late)))
        for n, late in enumerate(late_ms)
    ]
    off_ms = [(each - found[0]) / 1e6 - 10 * n for n, each in enumerate(found)]
    assert off_ms == pytest.approx([0, 0, 0, 0.1, 0, 0.1, 0.2], abs=0.01)


def test_a_camera_that_hangs_ends_in_time_and_says_so(open_both: OpenRig) -> None:
    devices = open_both()
    devices.camera.start()
    Eye.made.stuck.set()
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=r"did not expose Eye within 0\.2 s"):
        devices.camera.trigger(0.2)
    with pytest.raises(DeviceError, match="blocked since its attempt to expose Eye"):
        devices.stage.position_um()
    assert time.monotonic() - begun < 30  # when the exposure would end
    Eye.made.freed.set()


@dataclass
class Switch:
    """That of a continuous focus: whether it is on, and whether it can be switched."""

    on: bool = True
    works: bool = True


@pytest.fixture
def focus(monkeypatch: pytest.MonkeyPatch) -> Switch:
    """Give every core a continuous focus, which no Python-side device can be."""
    switch = Switch()

    class CoreWithFocus(unicore.UniMMCore):
        def isContinuousFocusEnabled(self) -> bool:  # noqa: N802
            return switch.on

        def enableContinuousFocus(self, enable: bool) -> None:  # noqa: N802
            switch.on = enable if switch.works else switch.on

    monkeypatch.setattr(unicore, "UniMMCore", CoreWithFocus)
    return switch


@pytest.mark.parametrize("fails", [False, True], ids=["after a stack", "after an error"])
def test_continuous_focus_is_on_again_when_the_drive_is_given_back(
    fails: bool, focus: Switch
) -> None:
    with suppress(RuntimeError), open_rig(make_rig()) as devices:
        assert not focus.on
        assert "switched on again" in effective_settings(devices.stage).notes[-1]
        if fails:
            raise RuntimeError("the run fails")
    assert focus.on


@pytest.mark.parametrize(
    ("known", "given", "found", "said"),
    [
        (0, None, 1, False),
        (-1, None, -1, False),
        (1, -1, -1, True),
        (-1, -1, -1, False),
        (0, -1, -1, False),
    ],
)
def test_the_direction_is_the_rigs_or_that_of_the_configuration(
    known: int,
    given: int | None,
    found: int,
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
    open_both: OpenRig,
) -> None:
    class CoreWithDirection(unicore.UniMMCore):
        def getFocusDirection(self, _label: str) -> int:  # noqa: N802
            return known

    monkeypatch.setattr(unicore, "UniMMCore", CoreWithDirection)
    stage = open_both(**({} if given is None else {"direction": given})).stage
    told = effective_settings(stage)
    assert (told.values["direction"], bool(told.notes)) == (found, said)
    assert stage.position_um() == pytest.approx(10 * found)


def test_the_configurations_pixel_is_recorded_and_another_one_refused(tmp_path: Path) -> None:
    rig = make_rig()
    with open_rig(rig) as devices:
        core = devices.camera.session.core  # type: ignore[attr-defined]
        core.definePixelSizeConfig("40x")
        core.setPixelSizeUm("40x", 0.2)
        core.setPixelSizeConfig("40x")
        told = devices.camera._read_back(MmcoreCameraSettings(exposure_ms=2.0))  # type: ignore[attr-defined]
        assert told.pixel_size_um == pytest.approx(0.2)
        camera: Any = devices.camera
        camera.effective = told
        record_stacks(devices, rig, PLAN, [tmp_path / "one.stack.h5"])
        other = rig.model_copy(update={"optics": Optics(pixel_size_um=0.1)})
        with pytest.raises(SettingError, match=r"0\.1 µm in the rig .* and 0\.2 µm in"):
            record_stacks(devices, other, PLAN, [tmp_path / "two.stack.h5"])
    with RawStack.open(tmp_path / "one.stack.h5") as stack:
        assert stack.header.optics.pixel_size_um == pytest.approx(0.2)
        assert json.loads(stack.header.device_settings)["camera"]["exposure_us"] == 2000


def test_binning_is_set_and_its_pixel_follows(open_both: OpenRig) -> None:
    camera = open_both(camera={"binning": 2}).camera
    assert effective_settings(camera).binning == 2
    assert "2 times as large" in effective_settings(camera).notes[0]


def test_binning_as_a_property_is_refused(open_both: OpenRig) -> None:
    with pytest.raises(SettingError, match="Binning is set by binning"):
        open_both(camera={"properties": {"Binning": 2}})


@pytest.mark.parametrize(("text", "binning"), [("1", 1), ("2x2", 2), ("4", 4), ("1x2", None)])
def test_a_binning_may_be_written_for_both_sides(text: str, binning: int | None) -> None:
    if binning is None:
        with pytest.raises(DeviceError, match="equal along y and x"):
            _binning_of("camera", text)
    else:
        assert _binning_of("camera", text) == binning


def test_continuous_focus_is_switched_off_and_told(focus: Switch, open_both: OpenRig) -> None:
    stage = open_both().stage
    assert not focus.on
    assert stage.name.endswith("continuous focus switched off")
    focus.on = True
    with pytest.raises(DeviceError, match="continuous focus was switched on"):
        stage.move_to(11)


@pytest.mark.parametrize(
    ("works", "policy", "says"),
    [(True, "refuse", "would undo every move"), (False, "off", "cannot be switched off")],
)
def test_continuous_focus_that_stays_on_is_refused(
    works: bool, policy: str, says: str, focus: Switch, open_both: OpenRig
) -> None:
    focus.works = works
    with pytest.raises(DeviceError, match=says):
        open_both(continuous_focus=policy)


@dataclass(frozen=True)
class Wrong:
    """Options that cannot be opened, and what the line says."""

    says: str
    options: dict[str, Any] = field(default_factory=dict)
    camera: dict[str, Any] = field(default_factory=dict)


WRONG = [
    Wrong("no Micro-Manager configuration", {"config": "none.cfg", "load": []}),
    Wrong("either its configuration file", {"load": []}),
    Wrong("did you mean config", {"confg": "x"}),
    Wrong("unknown key load.0.lable; did you mean label", {"load": [{"lable": "Z"}]}),
    Wrong("has no focus drive 'Eye'; give device, one of Drive", {"device": "Eye"}),
    Wrong("has no camera 'Drive'; give device, one of Eye", camera={"device": "Drive"}),
    Wrong("cannot load its devices: ", {"load": [load("Nothing")]}),
    Wrong("has no focus drive; add one", {"load": [load("Eye")]}),
    Wrong("cannot set Sped of Drive to 1", {"properties": {"Sped": 1}}),
    Wrong("latency.error_ms is missing", camera={"latency": {"ms": 4}}),
    Wrong("cannot set the region", camera={"region": {"y": 20, "height": 9, "width": 9}}),
    Wrong("colours at once", {"load": [load("Drive"), load("Colours")]}),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.says)
def test_what_cannot_be_opened_is_one_line(wrong: Wrong, open_both: OpenRig) -> None:
    with pytest.raises(FgafError, match=wrong.says) as caught:
        open_both(**wrong.options, camera=wrong.camera)
    assert "\n" not in str(caught.value)


def test_adapters_that_are_not_installed_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "demo.cfg"
    path.write_text("Device,Camera,DemoCamera,DCam\n", encoding="utf-8")
    rig = make_rig(path, python_devices=False)
    with pytest.raises(DeviceError, match="DemoCamera") as caught:
        open_rig(rig)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"properties": {"StallsAfter": 0.2}}, "has not arrived|came to rest"),
        ({"properties": {"Speed": 0.5}}, "has not arrived"),
    ],
    ids=["obstacle", "slow"],
)
def test_a_fault_is_one_line_and_publishes_nothing(
    options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    rig = make_rig(**options)
    with pytest.raises(FgafError, match=says) as caught, open_rig(rig) as devices:
        record_stacks(devices, rig, PLAN, [tmp_path / "one.stack.h5"])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "one.stack.h5").exists()


def test_a_hand_on_the_drive_during_an_exposure_is_noticed(tmp_path: Path) -> None:
    rig = make_rig()
    with open_rig(rig) as devices:
        snap = Eye.made.snap

        def snap_and_push(buffer: np.ndarray) -> Any:
            Drive.made.push(0.4)
            return snap(buffer)

        Eye.made.snap = snap_and_push  # type: ignore[method-assign]
        with pytest.raises(FgafError, match="moved during the exposure"):
            record_stacks(devices, rig, PLAN, [tmp_path / "one.stack.h5"])
