"""`acq live`: the newest frame, what it looks like, and a clean end."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fgaf.acquire import (
    DeviceError,
    Devices,
    Frame,
    IncompleteFrameError,
    Interrupt,
    Rig,
    open_rig,
)
from fgaf.acquire.commands.main import main
from fgaf.acquire.control.preview import Look, Preview
from tests.screen import needs_screen


def live(small: tuple[str, ...], *words: str) -> Result:
    settings = [word for override in small for word in ("--set", override)]
    return CliRunner().invoke(main, ["live", *settings, *words])


class Around:
    """A camera with some of its members replaced."""

    def __init__(self, camera: Any, **instead: Any) -> None:
        self._camera = camera
        self.__dict__.update(instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._camera, name)


def preview_of(devices: Devices, rig: Rig, interrupt: Interrupt | None = None) -> Preview:
    return Preview(devices, rig.camera, interrupt or Interrupt())


def test_only_the_newest_frame_is_shown(rig: Rig) -> None:
    with open_rig(rig) as devices:
        ids = []
        for frame in preview_of(devices, rig).frames(4):
            ids.append(frame.frame_id)
            age_ns = devices.clock.now_ns() - frame.time_host_ns
            assert age_ns < 2.1 * 5e6
            devices.clock.sleep(0.1)
    assert np.all(np.diff(ids) > 10)


def test_a_camera_that_cannot_run_free_is_triggered(rig: Rig) -> None:
    class Triggered:
        def __init__(self, camera: Any) -> None:
            for member in ("name", "shape", "bit_depth", "start", "trigger", "stop", "close"):
                setattr(self, member, getattr(camera, member))

    with open_rig(rig) as devices:
        triggered = replace(devices, camera=Triggered(devices.camera))
        assert [frame.frame_id for frame in preview_of(triggered, rig).frames(3)] == [0, 1, 2]


def test_incomplete_frames_are_passed_over_and_counted(rig: Rig) -> None:
    left = iter([True, False, True, False, False])

    with open_rig(rig) as devices:
        camera: Any = devices.camera

        def next_frame(timeout_s: float) -> Frame | None:
            frame: Frame | None = camera.next_frame(timeout_s)
            if next(left):
                raise IncompleteFrameError("half a frame came")
            return frame

        preview = preview_of(replace(devices, camera=Around(camera, next_frame=next_frame)), rig)
        assert len(list(preview.frames(3))) == 3
    assert preview.incomplete == 2


def test_a_camera_that_stalls_ends_the_preview(rig: Rig) -> None:
    with open_rig(rig) as devices:
        silent = replace(devices, camera=Around(devices.camera, next_frame=lambda _timeout: None))
        with pytest.raises(DeviceError, match=r"gave no frame for 2\.005 s"):
            list(preview_of(silent, rig).frames())


def test_a_stop_ends_the_preview_cleanly(rig: Rig) -> None:
    interrupt = Interrupt()
    with open_rig(rig) as devices:
        frames = preview_of(devices, rig, interrupt).frames()
        next(frames)
        interrupt.request()
        assert list(frames) == []


def test_a_sharp_image_is_sharper_whatever_its_exposure() -> None:
    noise = np.random.default_rng(0).integers(80, 120, (64, 64)).astype(np.uint16)
    blurred = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) // 3
    sharp, soft, bright = (Look.at(each, 12) for each in (noise, blurred, noise * 10))
    assert sharp.sharpness > 2 * soft.sharpness
    assert bright.sharpness == pytest.approx(sharp.sharpness, rel=1e-3)
    assert soft.counts.sum() == 64 * 64
    assert abs(sharp.median - np.median(noise)) <= 1


def test_saturation_shows() -> None:
    look = Look.at(np.full((8, 8), 255, np.uint8), 8)
    assert look.saturated == 1
    assert look.bars().endswith("█")


def test_the_command_ends_after_some_frames(small: tuple[str, ...]) -> None:
    done = live(small, "--frames", "3")
    assert done.exit_code == 0, done.stderr
    frame, sharpness, histogram, end = done.stdout.splitlines()
    assert frame.startswith("frame ")
    assert sharpness.startswith("sharpness █")
    assert "0 to 255, median " in histogram
    assert end == "showed 3 frames"


def test_the_command_as_json(small: tuple[str, ...]) -> None:
    result = json.loads(live(small, "--frames", "2", "--json").stdout)
    assert result["frames"] == 2
    assert result["sharpness"] > 0


def test_a_missing_viewer_names_the_extra(
    small: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "napari", None)
    done = live(small, "--frames", "1", "--viewer")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "fgaf[napari]" in done.stderr


@pytest.mark.filterwarnings("ignore")
@needs_screen
def test_the_viewer_shows_the_frames_and_closes(small: tuple[str, ...]) -> None:
    done = live(small, "--frames", "3", "--viewer")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("showed 3 frames\n")
