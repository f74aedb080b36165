"""The Basler driver against faults that Basler's emulator cannot make."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest
from pylon_fake import FakeCamera, Feature, Shot, install

from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import DeviceError, WallClock
from fgaf.acquire.drivers.basler import open_camera
from fgaf.acquire.drivers.basler_camera import BaslerCamera
from fgaf.acquire.rig import Opening, Rig


@pytest.fixture
def opening() -> Opening:
    rig = Rig(camera=CameraTable(driver="basler"), stage=StageTable(driver="prior"))
    return Opening(rig, WallClock())


def start(
    monkeypatch: pytest.MonkeyPatch, opening: Opening, fake: FakeCamera, **options: Any
) -> BaslerCamera:
    install(monkeypatch, fake)
    camera = open_camera({"exposure_ms": 2} | options, opening)
    camera.start()
    return camera


@dataclass(frozen=True)
class Fault:
    """The last of these shots must be refused, all before it accepted."""

    name: str
    shots: tuple[Shot, ...]
    says: str
    device_class: str = "BaslerUsb"


FAULTS = [
    Fault("gap", (Shot(0), Shot(1), Shot(3)), "block 3 after 1: a frame was lost"),
    Fault("repeat", (Shot(0), Shot(1), Shot(1)), "block 1 after 1: .* came twice"),
    Fault("first lost", (Shot(1),), "block 1 after the start"),
    Fault("first lost on GigE", (Shot(2),), "block 2 after the start", "BaslerGigE"),
    Fault("gap on GigE", (Shot(1), Shot(3)), "block 3 after 1", "BaslerGigE"),
    Fault("broken", (Shot(0), Shot(1, succeeded=False)), r"was incomplete.*0xe1000014"),
    Fault("other shape", (Shot(0, shape=(4, 5)),), r"uint8\[4, 5\] instead of uint8\[4, 6\]"),
    Fault("no frame", (Shot(0), Shot(None)), r"no frame within 0\.05 s"),
    Fault("unplugged in the wait", (Shot(0), Shot(None, removed=True)), "was unplugged"),
    Fault("unplugged, empty", (Shot(0, shape=(0, 6), removed=True),), "was unplugged"),
    Fault("unplugged, broken", (Shot(0, succeeded=False, removed=True),), "was unplugged"),
    Fault("unplugged at the trigger", (Shot(raises="gone", removed=True),), "was unplugged"),
    Fault("refused trigger", (Shot(raises="node is\nlocked"),), "failed: node is locked"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_one_line_and_not_for_ever(
    fault: Fault, monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    fake = FakeCamera(list(fault.shots), device_class=fault.device_class)
    camera = start(monkeypatch, opening, fake)
    for _ in fault.shots[:-1]:
        camera.trigger(5)
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=fault.says) as caught:
        camera.trigger(90 if fault.shots[-1].block is not None or fault.shots[-1].removed else 0.05)
    assert time.monotonic() - begun < 60
    assert "\n" not in str(caught.value)
    assert all(result.released for result in fake.results if result.IsValid())
    camera.close()
    assert fake.calls[-1] == "close"


def test_after_a_fault_the_camera_is_armed_anew(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    camera = start(monkeypatch, opening, FakeCamera([Shot(0), Shot(4), Shot(0), Shot(1)]))
    first = camera.trigger(1)
    with pytest.raises(DeviceError, match="block 4"):
        camera.trigger(1)
    assert camera.trigger(1).frame_id > first.frame_id
    camera.trigger(1)


def test_gige_numbers_go_round_and_may_be_absent(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    blocks = [*range(1, 65536), 1, 2]
    fake = FakeCamera([Shot(block) for block in blocks], device_class="BaslerGigE")
    camera = start(monkeypatch, opening, fake)
    frames = [camera.trigger(1).frame_id for _ in blocks]
    assert frames == list(range(1, len(blocks) + 1))
    fake.shots[:] = [Shot(0), Shot(0)]
    camera.start()
    assert [camera.trigger(1).frame_id for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("features", "expected_ns"),
    [({}, 1_001_000_000), ({"GevTimestampTickFrequency": 125_000_000}, 8_001_000_000)],
    ids=["USB: nanoseconds", "GigE: ticks"],
)
def test_the_stamp_is_the_middle_of_the_exposure(
    features: dict[str, Any],
    expected_ns: int,
    monkeypatch: pytest.MonkeyPatch,
    opening: Opening,
) -> None:
    fake = FakeCamera([Shot(0, stamp=1_000_000_000)], features=features)
    frame = start(monkeypatch, opening, fake).trigger(1)
    assert frame.time_device_ns == expected_ns
    assert abs(opening.clock.now_ns() - frame.time_host_ns) < 5e9


def test_the_frame_owns_its_pixels(monkeypatch: pytest.MonkeyPatch, opening: Opening) -> None:
    fake = FakeCamera([Shot(0)])
    frame = start(monkeypatch, opening, fake).trigger(1)
    assert fake.results[0].released
    assert not fake.results[0].memory.any()
    assert (frame.pixels == 77).all()


def test_a_camera_that_is_never_ready_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    camera = start(monkeypatch, opening, FakeCamera([Shot(0)], ready=False))
    with pytest.raises(DeviceError, match=r"not ready for a trigger within 0\.05 s"):
        camera.trigger(0.05)


def test_the_trigger_is_configured_before_opening(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    fake = FakeCamera()
    start(monkeypatch, opening, fake)
    assert fake.calls == ["configuration", "open"]


def test_older_gige_names_are_known(monkeypatch: pytest.MonkeyPatch, opening: Opening) -> None:
    older = {"ExposureTime": None, "ExposureTimeAbs": 0.0, "GainRaw": 0, "GainAuto": "Once"}
    fake = FakeCamera([Shot(1)], device_class="BaslerGigE", features=older)
    frame = start(monkeypatch, opening, fake, gain=300.0).trigger(1)
    assert frame.exposure_us == 2000
    assert (fake.nodes["GainRaw"].Value, fake.nodes["GainAuto"].Value) == (300, "Off")


class Clipped(Feature):
    """A feature that takes multiples of 1500 only, as some exposure times are clipped."""

    def __setattr__(self, name: str, value: Any) -> None:
        clip = name == "Value" and isinstance(value, float)
        super().__setattr__(name, 1500.0 * round(value / 1500) if clip else value)


def test_an_exposure_that_the_camera_clips_is_read_back_and_said(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    fake = FakeCamera([Shot(0)])
    fake.nodes["ExposureTime"] = Clipped(0.0)
    camera = start(monkeypatch, opening, fake)
    assert camera.trigger(1).exposure_us == camera.effective.values["exposure_us"] == 1500
    assert camera.effective.notes == ("the camera exposes for 1.5 ms, not for 2 ms as requested",)


def test_the_whole_sensor_is_read_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    fake = FakeCamera()
    assert start(monkeypatch, opening, fake).shape == (4, 6)
    assert (fake.nodes["OffsetX"].Value, fake.nodes["OffsetY"].Value) == (0, 0)


RESIZED = {"DecimationHorizontal": 2, "DecimationVertical": 2, "ScalingHorizontal": 0.5}


def test_a_decimation_that_another_program_left_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    fake = FakeCamera(features=RESIZED)
    assert start(monkeypatch, opening, fake).effective.binning == 1
    assert [fake.nodes[feature].Value for feature in RESIZED] == [1, 1, 1]


@pytest.mark.parametrize("feature", RESIZED)
def test_a_decimation_that_stays_is_refused(
    feature: str, monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    fake = FakeCamera(features=RESIZED, fixed=(feature,))
    with pytest.raises(DeviceError, match=f"keeps {feature} = {RESIZED[feature]}, which"):
        start(monkeypatch, opening, fake)


@pytest.mark.parametrize(
    ("cameras", "options", "says"),
    [
        ((), {}, "no Basler camera was found"),
        (("1", "2"), {}, "give camera.options.serial_number, one of 1, 2"),
        (("1", "2"), {"serial_number": "3"}, "no Basler camera 3; found 1, 2"),
    ],
    ids=["none", "several", "another"],
)
def test_which_camera_is_never_guessed(
    cameras: tuple[str, ...],
    options: dict[str, Any],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    opening: Opening,
) -> None:
    install(monkeypatch, *(FakeCamera(serial_number=serial) for serial in cameras))
    with pytest.raises(DeviceError, match=says):
        open_camera({"exposure_ms": 1} | options, opening)


@pytest.mark.parametrize("given", ["2", 2])
def test_the_camera_asked_for_is_opened(
    given: str | int, monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    install(monkeypatch, FakeCamera(serial_number="1"), FakeCamera(serial_number="2"))
    camera = open_camera({"exposure_ms": 1, "serial_number": given}, opening)
    assert camera.name == "Basler acA1920-40um, serial 2"


def test_a_camera_in_use_is_one_line(monkeypatch: pytest.MonkeyPatch, opening: Opening) -> None:
    install(monkeypatch, FakeCamera(in_use=True))
    with pytest.raises(DeviceError, match=r"close pylon Viewer .* by another application\.$"):
        open_camera({"exposure_ms": 1}, opening)


STREAM_FAULTS = [
    Fault("gap", (Shot(0), Shot(1), Shot(3)), "block 3 after 1: a frame was lost"),
    Fault("repeat", (Shot(0), Shot(0)), "block 0 after 0: .* came twice"),
    Fault("first lost", (Shot(1),), "block 1 after the start"),
    Fault("broken", (Shot(0), Shot(1, succeeded=False)), "was incomplete"),
    Fault("unplugged", (Shot(0), Shot(None, removed=True)), "was unplugged"),
]


@pytest.mark.parametrize("fault", STREAM_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_a_stream_is_one_line(
    fault: Fault, monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    fake = FakeCamera(list(fault.shots))
    camera = start(monkeypatch, opening, fake)
    camera.stream()
    for _ in fault.shots[:-1]:
        assert camera.next_frame(1) is not None
    with pytest.raises(DeviceError, match=fault.says):
        camera.next_frame(1)
    assert all(result.released for result in fake.results if result.IsValid())


def test_the_latest_frame_may_skip_blocks(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    camera = start(monkeypatch, opening, FakeCamera([Shot(0), Shot(7)]))
    camera.stream(latest=True)
    assert camera.next_frame(1) is not None
    assert camera.next_frame(1) is not None
    assert camera.next_frame(0) is None


class LatchedClock:
    """A camera's clock, which counts from another moment than the run's."""

    def __init__(self, opening: Opening, ticks_per_s: int) -> None:
        self._opening, self._ticks_per_s = opening, ticks_per_s
        self.Value = 0
        self.Max = 0

    def Execute(self) -> None:  # noqa: N802
        now_s = self._opening.clock.now_ns() / 1e9 - 1_700_000_000
        self.Value = round(now_s * self._ticks_per_s)


def test_stamps_of_a_stream_are_translated_by_the_cameras_clock(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    shot = Shot(0, stamp=200_000_000 * 1_000)
    fake = FakeCamera([shot])
    latch = LatchedClock(opening, 1_000_000_000)
    fake.nodes |= {"TimestampLatch": latch, "TimestampLatchValue": latch}
    monkeypatch.setattr("pylon_fake.Feature", object)
    camera = start(monkeypatch, opening, fake)
    camera.stream()
    frame = camera.next_frame(1)
    assert frame is not None
    assert camera.stamp_error_s < 0.01
    begun_s = frame.time_host_ns / 1e9 - 0.001
    assert abs(begun_s - 1_700_000_000 - 200) < 0.01
