"""The simulated rig with a camera that pastes one head into the frame: fast, and easy to break."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.devices import Devices, Frame
from fgaf.acquire.rig import Rig, load_rig, open_rig
from fgaf.dataset.truth import CellTruth, FrameTruth

SHAPE = (256, 320)
INTERVAL_S = 0.04
_HALF = 40
_BORE_UM_S = 10.0
_OFF_UM = -1.2

SOFT_LINE = (
    "simulation.aspiration.inner_diameter_um=5",
    "simulation.aspiration.outer_diameter_um=7",
    "simulation.aspiration.compliance_nl_kpa=9.7",
)
"""The pipette and the line of `SOFT`."""


def small_rig(*settings: str) -> Rig:
    """The built-in rig with small frames; the pipette comes from the right."""
    return load_rig(
        "sim-aspiration",
        (
            f"simulation.shape={list(SHAPE)}",
            "simulation.cells=1",
            "simulation.debris=0",
            "simulation.round_cells=0",
            "simulation.seed=4",
            *SOFT_LINE,
            "manipulator.options.tip_um=[6,0,0]",
            *settings,
        ),
    )


def maps(rig: Rig) -> dict[str, Any]:
    """Both maps of the simulated rig."""
    pipette, stage = PipetteMap.simulated(rig), StageMap.simulated(rig)
    assert isinstance(pipette, PipetteMap)
    assert isinstance(stage, StageMap)
    return {"pipette_map": pipette, "stage_map": stage}


@cache
def head() -> npt.NDArray[np.float32]:
    """A simulated head little out of focus, relative to its background."""
    rig = load_rig(
        "sim",
        (
            f"simulation.shape=[{4 * _HALF}, {4 * _HALF}]",
            "simulation.cells=1",
            "simulation.debris=0",
            "simulation.round_cells=0",
            "simulation.speed_um_s=[0.5, 1]",
            "simulation.seed=6",
        ),
    )
    with open_rig(rig) as devices:
        devices.camera.start()
        first = devices.camera.trigger(5.0)
        assert first.truth is not None
        (cell,) = (each for each in first.truth.cells if each.kind == "sperm")
        devices.stage.move_to(cell.focus_um + _OFF_UM)
        devices.clock.sleep(1.0)
        frame = devices.camera.trigger(5.0)
    assert frame.truth is not None
    (cell,) = (each for each in frame.truth.cells if each.kind == "sperm")
    top, left = round(cell.y_px) - _HALF, round(cell.x_px) - _HALF
    part = frame.pixels[top : top + 2 * _HALF, left : left + 2 * _HALF].astype(np.float32)
    window = np.hanning(2 * _HALF).astype(np.float32)
    share = np.clip(3 * np.outer(window, window), 0, 1)
    return 1 + share * (part / np.median(frame.pixels) - 1)


class PastedCamera:
    """Shows one cell, which swims, and is drawn by the simulated pump.

    Attributes
    ----------
    place
        The cell in the frame, y and x in pixels.
    """

    name = "pasted camera"
    bit_depth = 8
    shape = SHAPE
    frame_interval_s = INTERVAL_S
    stamp_error_s = 0.0

    def __init__(self, devices: Devices, rig: Rig, swim: tuple[float, float], z_um: float) -> None:
        self._devices, self._swim, self._z_um = devices, swim, z_um
        known = maps(rig)
        self._map: StageMap = known["stage_map"]
        self._tip = known["pipette_map"].pixel_of((0, 0, 0))[::-1]
        self.place = [self._tip[0] + 30, self._tip[1] - 110]
        self._number = 0
        self._due_ns = self._last_ns = devices.clock.now_ns()
        stage: Any = devices.xy_stage
        self._stage_um = stage.specimen_um()
        random = np.random.default_rng(0)
        self._ground = [random.normal(150, 2, SHAPE).astype(np.float32) for _ in range(3)]

    def start(self) -> None:
        self._due_ns = self._devices.clock.now_ns()

    def stream(self, latest: bool = False) -> None:
        assert latest
        self.start()

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass

    def trigger(self, timeout_s: float) -> Frame:
        frame = self.next_frame(timeout_s)
        assert frame is not None
        return frame

    def next_frame(self, timeout_s: float) -> Frame | None:
        clock = self._devices.clock
        wait_s = (self._due_ns - clock.now_ns()) / 1e9
        if wait_s > timeout_s:
            clock.sleep(timeout_s)
            return None
        clock.sleep(max(0.0, wait_s))
        taken_ns = clock.now_ns()
        self._due_ns = taken_ns + round(INTERVAL_S * 1e9)
        clock.sleep(0.01)
        self._swim_on(taken_ns)
        self._number += 1
        return Frame(self._picture(), self._number, 0, taken_ns, 1000.0, self._truth(taken_ns))

    def _swim_on(self, now_ns: int) -> None:
        dt = (now_ns - self._last_ns) / 1e9
        self._last_ns = now_ns
        stage, pump = self._devices.xy_stage, self._devices.pump
        here = stage.specimen_um(now_ns)  # type: ignore[union-attr]
        x, y = self._map.shift_px((here[0] - self._stage_um[0], here[1] - self._stage_um[1]))
        self._stage_um = here
        flow = max(pump.displaced_nl_s(now_ns), 0.0)  # type: ignore[union-attr]
        pixel_um = self._map.pixel_size_um
        off = (self._tip[0] - self.place[0], self._tip[1] - self.place[1])
        if off[1] < 0 and abs(off[0]) * pixel_um < 3:
            self.place[1] += (_BORE_UM_S if flow else 0.0) * dt / pixel_um
            return
        r_um = max(math.hypot(*off) * pixel_um, 2.0)
        drawn = min(flow / 8 * 1e6 / (4 * math.pi * r_um**2), 60.0) / r_um
        for axis, shift in enumerate((y, x)):
            self.place[axis] += shift + (self._swim[axis] / pixel_um + drawn * off[axis]) * dt

    def _picture(self) -> npt.NDArray[np.uint8]:
        picture = self._ground[self._number % 3].copy()
        top, left = (round(at) - _HALF for at in self.place)
        low = [max(0, top), max(0, left)]
        high = [min(SHAPE[0], top + 2 * _HALF), min(SHAPE[1], left + 2 * _HALF)]
        if low[0] < high[0] and low[1] < high[1]:
            part = head()[low[0] - top : high[0] - top, low[1] - left : high[1] - left]
            picture[low[0] : high[0], low[1] : high[1]] *= part
        return np.clip(picture, 0, 255).astype(np.uint8)

    def _truth(self, time_ns: int) -> FrameTruth:
        y, x = self.place
        cell = CellTruth(id=1, kind="sperm", y_px=y, x_px=x, focus_um=self._z_um)
        return FrameTruth(time_ns=time_ns, cells=(cell,))


def opened(rig: Rig, swim: tuple[float, float] = (0.0, 0.0), z_um: float = 2.0) -> Devices:
    """The open rig with the camera that pastes."""
    devices = open_rig(rig)
    return replace(devices, camera=PastedCamera(devices, rig, swim, z_um))
