"""The drive during live work: where it was, where it goes, never beyond its limits."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fgaf.acquire import Clock, DeviceError, Interrupt, Stage, WallClock
from fgaf.acquire.control.drive import Drive
from fgaf.acquire.device_tables import StageTable
from fgaf.acquire.drivers.simulated_clock import SimulatedClock
from fgaf.model.live.autofocus import Autofocus
from fgaf.model.live.focus import Focus
from fgaf.model.live.height import Height
from fgaf.model.live.motion import Motion
from fgaf.model.live.tracker import Track


def focus_of(
    stage: Stage, clock: Clock, limits_um: tuple[float, float], play_um: float = 0.0
) -> Focus:
    settings = StageTable(driver="test", limits_um=limits_um)
    return Focus(Drive(stage, clock, settings, Interrupt()), play_um)


class Line:
    """A drive that rises by 1 µm at every reading, until it is told to stand."""

    name = "line"
    limits_um = (-5.0, 5.0)

    def __init__(self) -> None:
        self.z_um = 0.0
        self.busy = self.stands = False
        self.went: list[float] = []

    def position_um(self) -> float:
        self.z_um += 0.0 if self.stands else 1.0
        return self.z_um

    def moving(self) -> bool:
        return self.busy

    def move_to(self, z_um: float) -> None:
        self.went.append(z_um)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_between_two_readings_the_drive_was_between_them() -> None:
    clock = SimulatedClock()
    focus = focus_of(Line(), clock, (-5.0, 5.0))
    begun_ns = clock.now_ns()
    for _ in range(3):
        focus.look()
        clock.sleep(0.01)
    assert focus.at(begun_ns + 5_000_000) == pytest.approx(1.5)
    assert focus.at(begun_ns - 1) == 1.0
    assert focus.at(begun_ns + 10**9) == 3.0


def test_targets_stay_within_the_limits_and_the_newest_counts() -> None:
    stage = Line()
    focus = focus_of(stage, SimulatedClock(), (-2.0, 2.0))
    stage.busy = stage.stands = True
    focus.aim(1.0)
    focus.look()
    assert stage.went == []
    assert focus.aim(9.0) == 2.0
    assert focus.at_limit
    stage.busy = False
    focus.look()
    focus.look()
    assert stage.went == [2.0]


def test_a_drive_that_is_released_stands_still_until_a_cell_is_chosen() -> None:
    stage = Line()
    stage.stands = True
    focus = focus_of(stage, SimulatedClock(), (-5.0, 5.0))
    cell = Track(Motion.begin(5, 5, 0, 0.15), 5, 5, 0.9, 0.9, 0, 0, 1, height=Height(9.0, 0.1, 0))
    pursuit = Autofocus(focus, (10, 10))
    assert pursuit.follow([cell], 0, 0.0) == 5.0
    assert (pursuit.wanted, pursuit.target, focus.at_limit) == ("centre", 1, True)
    pursuit.release()
    assert pursuit.follow([cell], 0, 0.0) is None
    assert (pursuit.wanted, pursuit.target, focus.at_limit) == (None, None, False)
    focus.look()
    assert stage.went == []
    pursuit.choose(1)
    assert pursuit.follow([cell], 0, 0.0) == 5.0
    assert (pursuit.wanted, pursuit.target) == (1, 1)
    focus.look()
    assert stage.went == [5.0]


def test_a_drive_stands_while_its_cell_is_followed_and_stays_off_its_focus() -> None:
    stage = Line()
    stage.stands = True
    focus = focus_of(stage, SimulatedClock(), (-5.0, 5.0))
    cell = Track(Motion.begin(5, 5, 0, 0.15), 5, 5, 0.9, 0.9, 0, 0, 1, height=Height(2.0, 0.1, 0))
    pursuit = Autofocus(focus, (10, 10), off_um=-1.0)
    pursuit.stand(True)
    assert pursuit.follow([cell], 0, 0.0) is None
    assert pursuit.target == 1
    pursuit.stand(False)
    assert pursuit.follow([cell], 0, 0.0) == 1.0


def test_moves_go_beyond_the_play_and_positions_are_the_objectives() -> None:
    stage = MemoryStage()
    clock = SimulatedClock()
    focus = focus_of(stage, clock, (-5.0, 5.0), play_um=0.4)

    def objective_after(z_um: float) -> float:
        focus.aim(z_um)
        for _ in range(2):  # one look sends, the next one sees
            focus.look()
            clock.sleep(0.01)
        return focus.at(clock.now_ns())

    focus.look()
    assert [objective_after(z) for z in (1.0, 0.5, 0.2, 0.7)] == pytest.approx([1.0, 0.5, 0.2, 0.7])
    assert stage.went == pytest.approx([1.0, 0.1, -0.2, 0.7])


@pytest.mark.parametrize("by_um", [-0.9, 3.0])
def test_a_drive_that_is_not_where_it_was_sent_is_not_moved_any_more(by_um: float) -> None:
    """Its controller was restarted, or somebody turns the knob while a cell is followed."""
    stage = MemoryStage()
    focus = focus_of(stage, SimulatedClock(), (-5.0, 5.0))
    for z_um in (0.0, 1.0):
        focus.aim(z_um)
        focus.look()
    focus.look()
    stage.z_um += by_um
    focus.aim(1.5)
    with pytest.raises(DeviceError, match=rf"stands at {1 + by_um:.3f} µm, but 1.000 µm was last"):
        focus.look()
    assert stage.went == [0.0, 1.0]


class MemoryStage:
    """A drive that is at once where it is sent."""

    name = "memory drive"
    limits_um = (-5.0, 5.0)

    def __init__(self) -> None:
        self.z_um = 0.0
        self.went: list[float] = []

    def position_um(self) -> float:
        return self.z_um

    def moving(self) -> bool:
        return False

    def move_to(self, z_um: float) -> None:
        self.z_um = z_um
        self.went.append(z_um)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def ask_until_it_fails(focus: Focus) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        focus.at(0)


@pytest.mark.parametrize("position", [float("nan"), RuntimeError("unplugged")])
def test_a_drive_that_is_gone_is_an_error_in_the_loop(position: Any) -> None:
    class Gone(Line):
        def position_um(self) -> float:
            if self.went:
                if isinstance(position, Exception):
                    raise position
                return float(position)
            return 0.0

    stage = Gone()
    focus = focus_of(stage, WallClock(), (-5.0, 5.0))
    focus.start()
    focus.aim(1.0)
    with pytest.raises(DeviceError, match=r"the drive (gives nan|failed: .* unplugged)"):
        ask_until_it_fails(focus)
    focus.stop()
