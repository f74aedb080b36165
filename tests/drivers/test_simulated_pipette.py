"""The simulated manipulator and pump: moves, play, drift, the tip's place, flow and its delay."""

from __future__ import annotations

import pytest

from fgaf.acquire import DeviceError, Interrupt, load_rig, open_rig
from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.devices import Manipulator, Place3, Pump
from fgaf.acquire.drivers.simulated_clock import SimulatedClock
from fgaf.acquire.drivers.simulated_manipulator import ManipulatorOptions, SimulatedManipulator
from fgaf.acquire.drivers.simulated_pump import PumpOptions, SimulatedPump


def manipulator_with(**options: object) -> tuple[SimulatedManipulator, SimulatedClock]:
    clock = SimulatedClock()
    exact = {"reply_ms": 0.0, "repeatability_um": 0.0}
    found = SimulatedManipulator(ManipulatorOptions.model_validate(exact | options), clock)
    assert isinstance(found, Manipulator)
    return found, clock


def test_a_move_is_straight_and_its_longest_axis_keeps_the_speed() -> None:
    arm, clock = manipulator_with(acceleration_um_s2=1e9)
    begun_ns = clock.now_ns()
    arm.move_xyz_to(100, -50, 20, 100)
    for seconds, share in ((0.25, 0.25), (0.25, 0.5)):
        clock.sleep(seconds)
        assert arm.moving_xyz()
        assert arm.position_xyz_um() == pytest.approx((100 * share, -50 * share, 20 * share))
    arm.stop()
    clock.sleep(1)
    assert not arm.moving_xyz()
    assert arm.tip_um() == pytest.approx((50, -25, 10))
    assert arm.tip_um(begun_ns + 100_000_000) == pytest.approx((10, -5, 2))
    assert arm.moves == 1


@pytest.mark.parametrize(
    ("options", "tip"),
    [
        ({"matrix": [[0, 1, 0], [1, 0, 0], [0, 0, -1]], "tip_um": [5, 6, 7]}, (25, 16, -23)),
        ({"start_um": [10, 20, 31], "backlash_um": 4.0}, (10, 20, 31)),
        ({"start_um": [10, 20, 40], "backlash_um": 4.0}, (10, 20, 34)),
        ({"drift_um_min": [0.0, 6.0, -60.0]}, (10, 21, 20)),
    ],
)
def test_the_tip_follows_matrix_play_and_drift(options: dict[str, object], tip: Place3) -> None:
    arm, clock = manipulator_with(**options)
    arm.move_xyz_to(10, 20, 30, 1000)
    clock.sleep(10)
    assert arm.position_xyz_um() == pytest.approx((10, 20, 30))
    assert arm.tip_um() == pytest.approx(tip)


def test_what_it_cannot_do_is_refused() -> None:
    arm, _ = manipulator_with(travel_um=[[-1, 1], [-1, 1], [0, 9]])
    with pytest.raises(DeviceError, match="z = 10 µm is outside its limits 0 to 9 µm"):
        arm.move_xyz_to(0, 0, 10, 100)
    with pytest.raises(DeviceError, match="at up to 1000 µm/s, not at 1001"):
        arm.move_xyz_to(0, 0, 1, 1001)
    assert arm.moves == 0


def test_the_pump_follows_its_commands_after_a_delay() -> None:
    clock = SimulatedClock()
    pump = SimulatedPump(PumpOptions(delay_ms=50, reply_ms=0, stalls_after_s=2), clock)
    assert isinstance(pump, Pump)
    begun_ns = clock.now_ns()
    pump.start(1.2)
    assert pump.flow_nl_s() == 0
    clock.sleep(0.1)
    assert pump.flow_nl_s() == 1.2
    pump.start(-0.5)
    clock.sleep(1)
    assert pump.flow_nl_s() == -0.5
    assert pump.displaced_nl_s(begun_ns + 70_000_000) == 1.2
    clock.sleep(2)
    with pytest.raises(DeviceError, match="has stalled; stop it"):
        pump.flow_nl_s()
    assert pump.displaced_nl_s() == 0
    pump.close()
    clock.sleep(1)
    assert pump.flow_nl_s() == 0
    with pytest.raises(DeviceError, match=r"makes 0\.002 to 1000 nL/s, not 0\.001"):
        pump.start(0.001)


def test_the_built_in_rig_has_both_and_keeps_its_floor() -> None:
    rig = load_rig("sim-aspiration")
    with open_rig(rig) as devices:
        mover = PipetteMover(devices, rig.manipulator, Interrupt())
        assert mover.go_to((10, -5, 4)) == pytest.approx((10, -5, 4), abs=0.2)
        with mover.retreating():
            mover.go_to((0, 0, 0))
        assert mover.position_um()[2] == pytest.approx(104, abs=0.5)
        assert devices.pump is not None
        assert devices.pump.flow_nl_s() == 0
