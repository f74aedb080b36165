"""The Basler driver against Basler's own camera emulator."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fgaf.acquire.device_tables import CameraTable, StageTable
from fgaf.acquire.devices import (
    Camera,
    DeviceError,
    IncompleteFrameError,
    StreamingCamera,
    WallClock,
)
from fgaf.acquire.drivers.basler import open_camera
from fgaf.acquire.drivers.basler_camera import BaslerCamera
from fgaf.acquire.rig import Opening, Rig
from fgaf.base.errors import SettingError

pytest.importorskip("pypylon", reason="pypylon is not installed")

REGION = {"height": 48, "width": 64}
OpenBasler = Callable[..., BaslerCamera]


@pytest.fixture
def opening() -> Opening:
    rig = Rig(camera=CameraTable(driver="basler"), stage=StageTable(driver="prior"))
    return Opening(rig, WallClock())


@pytest.fixture
def open_basler(opening: Opening) -> Iterator[OpenBasler]:
    """Open the emulator with small frames; all cameras are closed after the test."""
    cameras: list[BaslerCamera] = []

    def open_with(**more: Any) -> BaslerCamera:
        options = {"exposure_ms": 1, "serial_number": "0815-0000", "region": REGION} | more
        cameras.append(open_camera(options, opening))
        return cameras[-1]

    yield open_with
    for camera in cameras:
        camera.close()


def playing(path: Path) -> dict[str, Any]:
    """Return the features that make the emulator show an image, or a folder of them in turn."""
    return {"TestImageSelector": "Off", "ImageFilename": str(path), "ImageFileMode": "On"}


def save_images(folder: Path, count: int) -> list[np.ndarray]:
    """Write `count` different images of the region's size."""
    noise = np.random.default_rng(7)
    images = [noise.integers(0, 255, (48, 64), dtype=np.uint8) for _ in range(count)]
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return images


def test_each_trigger_gives_the_next_image_untouched(
    open_basler: OpenBasler, tmp_path: Path
) -> None:
    images = save_images(tmp_path, 12)
    camera = open_basler(features=playing(tmp_path))
    assert isinstance(camera, Camera)
    assert "0815-0000" in camera.name
    camera.start()
    frames = [camera.trigger(5) for _ in images]
    camera.stop()
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame.pixels, image)
    for before, after in itertools.pairwise(frames):
        assert after.frame_id == before.frame_id + 1
        assert after.time_host_ns > before.time_host_ns


@pytest.mark.parametrize(("pixel_format", "dtype"), [("Mono8", "uint8"), ("Mono12", "uint16")])
def test_frames_are_as_announced(
    pixel_format: str, dtype: str, open_basler: OpenBasler, opening: Opening
) -> None:
    camera = open_basler(pixel_format=pixel_format, exposure_ms=2.5, gain=1.0)
    camera.start()
    before_ns = opening.clock.now_ns()
    frame = camera.trigger(5)
    assert frame.pixels.shape == camera.shape == (48, 64)
    assert frame.pixels.dtype == dtype
    assert frame.pixels.max() < 2**camera.bit_depth
    assert frame.pixels.flags.owndata or frame.pixels.base is None
    assert frame.exposure_us == pytest.approx(2500)
    assert frame.time_device_ns == 0
    assert frame.time_host_ns - 1_250_000 >= before_ns


def test_the_region_counts_rows_and_columns_from_the_sensor(open_basler: OpenBasler) -> None:
    camera = open_basler(region={"y": 16, "x": 32, "height": 40, "width": 80})
    assert camera.shape == (40, 80)
    assert (camera.device.OffsetY.Value, camera.device.OffsetX.Value) == (16, 32)
    camera.close()
    camera = open_basler(region={"height": 40, "width": 80})
    assert (camera.device.OffsetY.Value, camera.device.OffsetX.Value) == (0, 0)


def test_more_frames_than_buffers_can_be_kept(open_basler: OpenBasler) -> None:
    camera = open_basler()
    camera.start()
    frames = [camera.trigger(5) for _ in range(14)]
    assert len({frame.frame_id for frame in frames}) == 14
    copies = [frame.pixels.copy() for frame in frames]
    camera.trigger(5)
    for frame, copy in zip(frames, copies, strict=True):
        np.testing.assert_array_equal(frame.pixels, copy)


def test_a_new_start_leaves_nothing_behind(open_basler: OpenBasler, tmp_path: Path) -> None:
    save_images(tmp_path, 5)
    camera = open_basler(features=playing(tmp_path))
    camera.start()
    camera.trigger(5)
    camera.device.ExecuteSoftwareTrigger()
    camera.start()
    assert camera.trigger(5).frame_id == 1
    assert camera.trigger(5).frame_id == 2


def test_a_failed_buffer_is_an_error_and_the_next_frame_is_whole(open_basler: OpenBasler) -> None:
    camera = open_basler()
    camera.start()
    first = camera.trigger(5)
    camera.device.ForceFailedBufferCount.Value = 1
    camera.device.ForceFailedBuffer.Execute()
    with pytest.raises(DeviceError, match=r"incompletely grabbed.*\(error 0x00000000\)") as caught:
        camera.trigger(5)
    assert "\n" not in str(caught.value)
    assert camera.trigger(5).frame_id > first.frame_id


def test_a_frame_that_does_not_come_in_time_is_not_taken_for_the_next(
    open_basler: OpenBasler,
) -> None:
    camera = open_basler()
    camera.start()
    first = camera.trigger(5)
    with pytest.raises(DeviceError, match=r"within 0\.002 s"):
        camera.trigger(0.002)
    frame = camera.trigger(5)
    assert frame.frame_id > first.frame_id
    assert frame.time_host_ns > first.time_host_ns


def test_not_started_is_an_error(open_basler: OpenBasler) -> None:
    camera = open_basler()
    with pytest.raises(DeviceError, match="is not started"):
        camera.trigger(1)
    camera.stop()


@dataclass(frozen=True)
class Refused:
    """Options a camera cannot follow, and what the error says."""

    says: str
    options: dict[str, Any] = field(default_factory=dict)
    kind: type[Exception] = DeviceError


@pytest.mark.parametrize(
    "refused",
    [
        Refused("there is no Basler camera 42; found .*0815", {"serial_number": "42"}),
        Refused("refuses Width = 65000", {"region": {"height": 8, "width": 65000}}),
        Refused("refuses ExposureTime", {"exposure_ms": 3.6e6}),
        Refused("refuses Gama", {"features": {"Gama": 1.0}}),
        Refused("did you mean gain", {"gian": 1.0}, SettingError),
        Refused("did you mean width", {"region": {**REGION, "widht": 8}}, SettingError),
        Refused("pixel_format", {"pixel_format": "RGB8"}, SettingError),
    ],
    ids=lambda refused: refused.says,
)
def test_refused_options_are_one_line(refused: Refused, open_basler: OpenBasler) -> None:
    with pytest.raises(refused.kind, match=refused.says) as caught:
        open_basler(**refused.options)
    assert "\n" not in str(caught.value)


def test_a_missing_pypylon_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, opening: Opening
) -> None:
    for module in ("pypylon", "pypylon.pylon", "pypylon.genicam"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DeviceError, match=r"pip install .*fgaf\[basler\]"):
        open_camera({"exposure_ms": 1}, opening)


def test_a_stream_gives_every_image_in_order(open_basler: OpenBasler, tmp_path: Path) -> None:
    images = save_images(tmp_path, 6)
    camera = open_basler(features=playing(tmp_path))
    assert isinstance(camera, StreamingCamera)
    assert camera.frame_interval_s > 0
    camera.stream()
    frames = [camera.next_frame(5) for _ in images]
    camera.stop()
    for frame, image in zip(frames, images, strict=True):
        assert frame is not None
        np.testing.assert_array_equal(frame.pixels, image)
    assert [frame.frame_id for frame in frames if frame] == [1, 2, 3, 4, 5, 6]
    camera.start()
    assert camera.trigger(5).frame_id == 1


def test_looking_at_a_stream_does_not_wait(open_basler: OpenBasler) -> None:
    camera = open_basler(exposure_ms=5000)
    camera.stream()
    assert camera.next_frame(0) is None
    camera.stop()
    with pytest.raises(DeviceError, match="is not streaming"):
        camera.next_frame(0)


def test_a_failed_buffer_of_a_stream_is_incomplete(open_basler: OpenBasler) -> None:
    camera = open_basler()
    camera.stream()
    camera.device.ForceFailedBufferCount.Value = 1
    camera.device.ForceFailedBuffer.Execute()

    def three() -> None:
        for _ in range(3):
            camera.next_frame(5)

    with pytest.raises(IncompleteFrameError, match="incompletely grabbed"):
        three()
    assert camera.next_frame(5) is not None
