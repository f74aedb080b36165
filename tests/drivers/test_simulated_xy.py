"""The simulated x/y stage: moves, velocities that expire, limits and play."""

from __future__ import annotations

import pytest

from fgaf.acquire import DeviceError, VelocityStage
from fgaf.acquire.drivers.simulated_clock import SimulatedClock
from fgaf.acquire.drivers.simulated_xy_stage import SimulatedXYStage, XYStageOptions

WIDE = ((-1e4, 1e4), (-1e4, 1e4))


def stage_with(
    limits_um: object = WIDE, **options: object
) -> tuple[SimulatedXYStage, SimulatedClock]:
    clock = SimulatedClock()
    checked = XYStageOptions.model_validate({"reply_ms": 0.0} | options)
    stage = SimulatedXYStage(checked, limits_um, clock, 0.2, 1000.0)  # type: ignore[arg-type]
    assert isinstance(stage, VelocityStage)
    return stage, clock


def test_a_velocity_holds_until_it_expires() -> None:
    stage, clock = stage_with()
    stage.move_xy_at(100, -50)
    clock.sleep(0.1)
    assert stage.moving_xy()
    assert stage.position_xy_um() == pytest.approx((10, -5))
    stage.move_xy_at(100, 0)
    clock.sleep(5)
    assert not stage.moving_xy()
    assert stage.position_xy_um() == pytest.approx((30, -5))
    stage.move_xy_at(100, 0)
    clock.sleep(0.05)
    stage.move_xy_at(0, 0)
    clock.sleep(5)
    assert stage.position_xy_um() == pytest.approx((35, -5))


def test_the_past_is_remembered() -> None:
    stage, clock = stage_with()
    begun_ns = clock.now_ns()
    stage.move_xy_at(100, 0)
    clock.sleep(0.1)
    stage.move_xy_to(0, 0)
    clock.sleep(1)
    assert stage.specimen_um() == pytest.approx((0, 0))
    assert stage.specimen_um(begun_ns + 60_000_000) == pytest.approx((6, 0))


def test_it_stops_at_the_limits_of_rig_and_travel() -> None:
    stage, clock = stage_with(((-20, 15), (-1e4, 1e4)), travel_um=[[-10, 90], [-50, 50]])
    assert stage.limits_xy_um == ((-10, 15), (-50, 50))
    stage.move_xy_at(500, 0)
    clock.sleep(1)
    assert stage.position_xy_um() == pytest.approx((15, 0))
    with pytest.raises(DeviceError, match="outside its limits -10 to 15"):
        stage.move_xy_at(1, 0)
    with pytest.raises(DeviceError, match="y = 51 µm is outside its limits"):
        stage.move_xy_to(0, 51)
    with pytest.raises(DeviceError, match="at up to 1000 µm/s, not at 1001, 0"):
        stage.move_xy_at(1001, 0)
    stage.move_xy_at(-50, 0)
    clock.sleep(0.1)
    assert stage.position_xy_um() == pytest.approx((10, 0))


def test_play_is_seen_by_the_specimen_only() -> None:
    stage, clock = stage_with(backlash_um=4.0)
    for target, specimen in ((10, 10), (8, 10), (0, 4), (3, 4), (20, 20)):
        stage.move_xy_to(target, 0)
        clock.sleep(1)
        assert stage.position_xy_um() == pytest.approx((target, 0))
        assert stage.specimen_um() == pytest.approx((specimen, 0))


def test_the_axes_may_be_turned_and_mirrored() -> None:
    stage, clock = stage_with(angle_deg=90.0, mirrored=True)
    stage.move_xy_to(10, 3)
    clock.sleep(1)
    assert stage.specimen_um() == pytest.approx((3, 10))
