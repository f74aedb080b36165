"""Sweeps with the drivers of real drives, unmodified, and a camera that keeps real time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ms2000_peer import ASI_FIELD, ASI_MANUAL, ASI_TIGER
from proscan_peer import FIELD, MANUAL
from serial_peer import SerialPeer, SerialPersonality

from fgaf import SettingError
from fgaf.acquire import (
    DeviceError,
    Devices,
    Frame,
    RampStage,
    Rig,
    StackPlan,
    Sweep,
    SweepSettings,
    WallClock,
    load_rig,
    open_rig,
    record_stacks,
)
from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import TrialRampStage
from fgaf.dataset import RawStack

PLAN = StackPlan(0.5, 1.0, 10.0)
INTERVAL_S, EXPOSURE_S = 0.05, 0.002
PATIENCE = 99
"""Ramps, as many as it takes on a busy computer."""
StartPeer = Callable[[SerialPersonality], SerialPeer]


class FreeCamera:
    """Runs free at 20 frames a second of the computer's clock; every frame is different."""

    name = "free"
    shape = (4, 6)
    bit_depth = 8
    frame_interval_s = INTERVAL_S
    stamp_error_s = 0.0

    def __init__(self, clock: WallClock) -> None:
        self._clock, self._begun_ns, self._count = clock, 0, 0
        self._noise = np.random.default_rng(0)

    def stream(self, latest: bool = False) -> None:  # noqa: ARG002
        self._begun_ns, self._count = self._clock.now_ns(), 0

    def next_frame(self, timeout_s: float) -> Frame | None:
        middle_ns = self._begun_ns + round((self._count * INTERVAL_S + EXPOSURE_S / 2) * 1e9)
        wait_s = (middle_ns - self._clock.now_ns()) / 1e9 + EXPOSURE_S / 2
        time.sleep(max(0.0, min(wait_s, timeout_s)))
        if wait_s > timeout_s:
            return None
        self._count += 1
        pixels = self._noise.integers(0, 255, self.shape, dtype=np.uint8)
        return Frame(pixels, self._count, 0, middle_ns, EXPOSURE_S * 1e6)

    def start(self) -> None: ...

    def trigger(self, timeout_s: float) -> Frame:  # noqa: ARG002
        raise AssertionError("a sweep does not trigger")

    def stop(self) -> None: ...

    def close(self) -> None: ...


def tables(driver: str, **options: Any) -> Rig:
    stage = StageTable(
        driver=driver,
        limits_um=(-100, 100),
        settle_ms=0,
        approach_um=1.0,
        tolerance_um=0.2,
        timeout_s=2.0,
        options=options,
    )
    return Rig(camera=CameraTable(driver="free", exposure_ms=EXPOSURE_S * 1e3), stage=stage)


def sweep_of(devices: Devices, rig: Rig) -> Sweep:
    return Sweep(devices, rig.camera, rig.stage, SweepSettings(ramps=PATIENCE))


@contextmanager
def swept(stage: Any, rig: Rig, target: Path) -> Iterator[np.ndarray]:
    """Record one sweep; yields the z of its planes."""
    clock = WallClock()
    with Devices(FreeCamera(clock), stage, clock) as devices:
        record_stacks(devices, rig, PLAN, [target], method=sweep_of(devices, rig))
    with RawStack.open(target) as stack:
        stack.verify()
        yield stack.z_um


@dataclass(frozen=True)
class Case:
    driver: str
    personality: SerialPersonality
    speeds: str  # what its commands for the speed begin with


CASES = {
    "asi manual": Case("asi", ASI_MANUAL, "S Z="),
    "asi field": Case("asi", replace(ASI_FIELD, idle_early=False), "S Z="),
    "asi tiger": Case("asi", ASI_TIGER, "S Z="),
    "prior manual": Case("prior", MANUAL, "SMZ,"),
    "prior field": Case("prior", FIELD, "SMZ,"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_serial_drive_is_swept_and_its_speed_restored(
    case: Case, start_peer: StartPeer, open_serial: Callable[..., Any], tmp_path: Path
) -> None:
    peer = start_peer(replace(case.personality, speed_um_per_s=500.0))
    stage = open_serial(case.driver, peer, timeout_s=1.0)
    assert isinstance(stage, RampStage)
    with swept(stage, tables(case.driver, port=peer.url), tmp_path / "x.stack.h5") as z_um:
        assert np.abs(z_um - list(PLAN)).max() <= 0.125
    assert peer.position_um == pytest.approx(10, abs=0.2)
    assert peer.speed_um_per_s == pytest.approx(500)
    assert sum(line.startswith(case.speeds) for line in peer.commands) >= 2


def test_a_prior_measures_its_speed_once(
    start_peer: StartPeer, open_prior: Callable[..., Any]
) -> None:
    peer = start_peer(replace(MANUAL, speed_um_per_s=300.0, percent=60))
    stage = open_prior(peer, timeout_s=1.0)
    assert isinstance(stage, TrialRampStage)
    with pytest.raises(DeviceError, match="has no measured speed"):
        stage.ramp_to(16, 10)
    stage.try_speed(13)
    asked = len(peer.commands)
    stage.try_speed(13)
    assert len(peer.commands) == asked
    assert peer.position_um == pytest.approx(10, abs=0.1)
    stage.ramp_to(16, 20)
    assert peer.percent == 4
    stage.stop()
    stage.move_to(10)
    assert peer.percent == 60
    with pytest.raises(DeviceError, match=r"moves at .* µm/s, not at 1; change --step"):
        stage.ramp_to(16, 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"speed_um_per_s": 1e6}, "too fast to measure its speed"),
        ({"unknown": frozenset({"SMZ"})}, "refused SMZ"),
    ],
    ids=["too fast", "no such command"],
)
def test_a_prior_whose_speed_cannot_be_measured_is_one_line(
    change: dict[str, Any], says: str, start_peer: StartPeer, open_prior: Callable[..., Any]
) -> None:
    stage = open_prior(start_peer(replace(MANUAL, **change)))
    with pytest.raises(DeviceError, match=says):
        stage.try_speed(16)


def test_a_micromanager_drive_with_a_speed_is_swept(tmp_path: Path) -> None:
    pytest.importorskip("pymmcore_plus.experimental.unicore")
    from python_devices import Drive

    drive = {"label": "Drive", "library": "python_devices", "name": "Drive"}
    options = {
        "python_devices": True,
        "load": [drive],
        "still_ms": 0,
        "speed": {"property": "Speed", "um_s": 1},
    }
    rig = tables("mmcore", **options)
    sim = load_rig("sim").model_copy(update={"stage": rig.stage})
    with open_rig(sim) as opened:
        assert isinstance(opened.stage, RampStage)
        with swept(opened.stage, rig, tmp_path / "x.stack.h5") as z_um:
            assert np.abs(z_um - list(PLAN)).max() <= 0.125
        assert float(Drive.made.get_property_value("Speed")) == 500


@dataclass(frozen=True)
class Streamed:
    """How far after its exposure a frame arrives, what the rig says of that, and what comes."""

    latency_ms: float
    frames_per_plane: int
    interval_ms: float = 20.0
    options: dict[str, Any] = field(default_factory=dict)


STREAMED = {
    "at once": Streamed(0, 5),
    "after a frame time": Streamed(20, 5),
    "after nearly two": Streamed(39, 5),
    "one is late": Streamed(20, 5, options={"properties": {"LateAfter": 12}}),
    "measured": Streamed(30, 1, 50.0, {"latency": {"ms": 30, "error_ms": 1}}),
}


def both(**camera: Any) -> Rig:
    """A rig of a drive and a camera of Micro-Manager."""
    load = [{"label": name, "library": "python_devices", "name": name} for name in ("Drive", "Eye")]
    speed = {"property": "Speed", "um_s": 1}
    rig = tables("mmcore", python_devices=True, load=load, still_ms=0, speed=speed)
    exposing = CameraTable(
        driver="mmcore", exposure_ms=2, timeout_s=1.0, retries=PATIENCE, options=camera
    )
    return rig.model_copy(update={"camera": exposing})


def opened_at_rest(rig: Rig, interval_ms: float = 20.0) -> Devices:
    """Open the rig until its camera's pace was not measured on a busy computer."""
    for _ in range(PATIENCE):
        devices = open_rig(rig)
        if devices.camera.stamp_error_s < 1.5e-3 * interval_ms:  # type: ignore[attr-defined]
            return devices
        devices.close()
    raise AssertionError("the computer is never at rest")


@pytest.mark.parametrize("case", STREAMED.values(), ids=STREAMED)
def test_z_of_a_micromanager_stream_is_where_the_drive_was(case: Streamed, tmp_path: Path) -> None:
    pytest.importorskip("pymmcore_plus.experimental.unicore")
    from python_devices import Eye

    timing = {"Latency_ms": case.latency_ms, "Interval_ms": case.interval_ms}
    properties = case.options.get("properties", {}) | timing
    rig = both(**(case.options | {"properties": properties}))
    settings = SweepSettings(case.frames_per_plane, tolerance_um=0.2, ramps=PATIENCE)
    path = tmp_path / "x.stack.h5"
    with opened_at_rest(rig, case.interval_ms) as devices:
        sweep = Sweep(devices, rig.camera, rig.stage, settings)
        record_stacks(devices, rig, PLAN, [path], method=sweep)
        assert sweep.last is not None
        unsure_s = sweep.last.error_s + devices.camera.stamp_error_s  # type: ignore[attr-defined]
        unsure_um = sweep.last.speed_um_s * unsure_s
    with RawStack.open(path) as stack:
        stack.verify()
        true_um = [Eye.made.focus_um[int(shot)] for shot in stack.frames[:, 0, 0]]
        assert np.abs(stack.z_um - true_um).max() <= unsure_um + 0.01
        told = json.loads(stack.header.device_settings)["camera"]
        assert told["frame_interval_ms"] == pytest.approx(case.interval_ms, rel=0.02)


def test_a_micromanager_stream_of_unknown_latency_is_refused_where_it_matters() -> None:
    pytest.importorskip("pymmcore_plus.experimental.unicore")
    rig = both()
    with (
        opened_at_rest(rig) as devices,
        pytest.raises(SettingError, match=r"an error of up to 2\d ms.*-per-plane [56]"),
    ):
        sweep_of(devices, rig).check(PLAN)


def test_what_cannot_be_swept_says_why(tmp_path: Path) -> None:
    pytest.importorskip("pymmcore_plus.experimental.unicore")
    load = [{"label": "Drive", "library": "python_devices", "name": "Drive"}]
    rig = tables("mmcore", python_devices=True, load=load)
    with open_rig(load_rig("sim").model_copy(update={"stage": rig.stage})) as devices:
        devices.camera = FreeCamera(WallClock())
        with pytest.raises(SettingError, match=r"cannot keep a set speed \(.*speed = \{ property"):
            sweep_of(devices, rig)
    path = tmp_path / "x.stack.h5"
    empty = [f"simulation.{each}=0" for each in ("cells", "debris", "round_cells")]
    sim = load_rig("sim", ("simulation.shape=[16, 16]", *empty))
    with open_rig(sim) as devices:
        record_stacks(devices, sim, PLAN, [path])
    replay = tables("replay", stack=str(path))
    replay = replay.model_copy(update={"camera": CameraTable(driver="replay")})
    with (
        open_rig(replay) as devices,
        pytest.raises(SettingError, match="a replay has no images between the recorded planes"),
    ):
        sweep_of(devices, replay)
