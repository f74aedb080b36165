"""The micropipette in its manipulator: its image, its place, and the cells in its bore."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from fgaf.acquire import DeviceError, Interrupt, Rig, load_rig, open_rig
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.devices import Devices, Manipulator, Place3, Pump
from fgaf.acquire.drivers.mount import Mount
from fgaf.acquire.drivers.simulated_camera import CameraOptions, SimulatedCamera
from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.acquire.simulation.holder import SLIDE, Hold, Holder, Stroke
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.scene import Scene
from fgaf.acquire.simulation.scenery.held_pipette import HeldPipette
from fgaf.acquire.simulation.scenery.pipette import cut_glass
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.waves import WaveImager
from fgaf.dataset.truth import CellTruth

Array = npt.NDArray[Any]

SHAPE = (220, 420)
PIXEL_UM = SimulationSettings().pixel_size_um
MIDDLE = (110 * PIXEL_UM, 120 * PIXEL_UM)


@pytest.fixture(scope="module")
def imager() -> WaveImager:
    return WaveImager(Microscope(SimulationSettings()))


def pipette(imager: WaveImager, **form: object) -> HeldPipette:
    bent = {"shaft_angle_deg": 30, "bend_deg": 30, "straight_um": 20}
    return HeldPipette(AspirationSettings.model_validate(bent | form), imager, SHAPE)


def image(
    held: HeldPipette, focus_um: float = 0.0, *tips: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    relative = np.ones(SHAPE, np.float32)
    held.multiply(relative, focus_um, tips or ((*MIDDLE, 0.0),))
    return relative


@pytest.mark.parametrize("depth_um", [-4.0, 0.0, 2.5])
def test_shaft_and_end_are_of_one_glass(imager: WaveImager, depth_um: float) -> None:
    """The profile across, in one dimension, is that of the whole image of a long piece."""
    settings, half = imager.microscope.settings, 25.0
    y, x = (np.arange(-side, side, settings.raster_um) for side in (4.5, half))
    aside = np.broadcast_to(y[:, None], (y.size, x.size))
    one = np.ones_like(aside)
    whole = cut_glass(settings, y, x, aside, 3.5 * one, 2.5 * one, one, 3.5)
    patch = imager.image(whole, 0.0, 0.0, depth_um, order=6)
    across = patch.intensity[:, -patch.left]
    held = pipette(imager, straight_um=1000)
    ours = image(held, depth_um)[:, -20]
    rows = slice(110 - 60, 110 + 60)
    theirs = across[-patch.top - 60 : -patch.top + 60]
    assert ours[rows].std() > 0.05
    assert np.abs(ours[rows] - theirs).max() < 0.03


@pytest.mark.parametrize("lean_deg", [0.0, 15.0])
def test_it_moves_by_parts_of_a_pixel(imager: WaveImager, lean_deg: float) -> None:
    held = pipette(imager, lean_deg=lean_deg)
    y, x = MIDDLE
    here, there = image(held, 1.0), image(held, 1.0, (y + 3.3 * PIXEL_UM, x - 5.6 * PIXEL_UM, 0.0))
    spectrum = np.fft.fft2(here - 1)
    fy, fx = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1])
    moved = 1 + np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (3.3 * fy - 5.6 * fx))).real
    inner = (slice(30, -30), slice(30, 300))
    assert np.abs(moved - here)[inner].max() > 0.3
    assert np.abs(moved - there)[inner].max() < 0.03


def test_its_height_counts_by_the_refraction_of_the_medium(imager: WaveImager) -> None:
    held = pipette(imager)
    reduction = SimulationSettings().reduction
    raised = image(held, 3.0 + 4.0 * reduction, (*MIDDLE, 4.0))
    np.testing.assert_allclose(raised, image(held, 3.0), atol=1e-4)
    assert np.abs(image(held, 3.0 + 4.0) - image(held, 3.0)).max() > 0.1


def sharpness(picture: Array) -> float:
    return float((gaussian_filter(picture, 1) - gaussian_filter(picture, 3)).std())


def test_the_shaft_rises_out_of_focus_and_leaves_a_shadow(imager: WaveImager) -> None:
    held = pipette(imager)
    focused = image(held, 0.0)
    tip, shaft = focused[60:160, 130:230], focused[60:160, 340:420]
    assert sharpness(tip) > 2 * sharpness(shaft)
    assert shaft.min() < 0.95
    higher = image(held, 10.0)
    assert sharpness(higher[60:160, 340:420]) > 1.5 * sharpness(higher[60:160, 130:230])
    assert sharpness(image(held, -30.0)) < 0.35 * sharpness(focused)


def test_a_moving_tip_is_smeared_over_the_exposure(imager: WaveImager) -> None:
    held = pipette(imager)
    y, x = MIDDLE
    ways = [[(y + way * part, x, 0.0) for part in np.linspace(-0.5, 0.5, 9)] for way in (0.1, 3.0)]
    still, moving = (image(held, 0.0, *way) for way in ways)
    np.testing.assert_array_equal(still, image(held))
    assert sharpness(moving[60:160, 130:230]) < 0.6 * sharpness(still[60:160, 130:230])


def field(**options: object) -> SimulationSettings:
    aspiration = {"shaft_angle_deg": 30, "bend_deg": 30, "straight_um": 20, "lean_deg": 30}
    return SimulationSettings.model_validate(
        {"shape": (128, 160), "cells": 0, "debris": 0, "round_cells": 0, "aspiration": aspiration}
        | options
    )


def test_the_scene_shows_it_where_the_truth_says() -> None:
    settings = field(center_um=3.0)
    scene = Scene(settings, Holder(settings, Hold(lambda time_s: (9.0, 8.0 + time_s, 4.0))))
    bare, _ = Scene(settings).expose(2.0, 0.005, 3.0)
    seen, truth = scene.expose(2.0, 0.005, 3.0)
    (tip,) = truth
    assert tip.kind == "pipette"
    assert (tip.y_px * PIXEL_UM, tip.x_px * PIXEL_UM) == pytest.approx((9.0, 10.0), abs=0.01)
    assert tip.focus_um == pytest.approx(4.0 / 1.335)
    assert tip.yaw_rad == pytest.approx(math.pi + math.radians(30))
    changed = np.abs(gaussian_filter(seen.astype(float) - bare, 1.5)) > 8
    y, x = np.nonzero(changed)
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    along = (x - tip.x_px) * cos + (y - tip.y_px) * sin
    assert abs(along.min()) < 15
    assert abs(np.mean(y[along < 40]) - tip.y_px - 20 * sin) < 3


def test_lowered_onto_the_dish_it_stays_and_slides_forward() -> None:
    settings = field(center_um=2.0)
    dish_um = settings.dish_um / settings.reduction
    lowest = dish_um + 3.5
    holder = Holder(
        settings, Hold(lambda time_s: (9.0, 8.0, lowest + 1 - time_s), lambda _: (5, 6))
    )
    assert holder.tip(0.5) == pytest.approx((9.0, 8.0, lowest + 0.5))
    y, x, z = holder.tip(3.0)
    assert z == pytest.approx(lowest)
    assert (8.0 - x, 9.0 - y) == pytest.approx(
        (2 * SLIDE * math.cos(math.radians(30)), 2 * SLIDE * math.sin(math.radians(30)))
    )
    mouth = holder.mouth(0.5)
    assert mouth.place_um == pytest.approx((14.0, 14.0, 4.0))
    assert mouth.direction == pytest.approx((-0.5, -math.cos(math.radians(30)), 0.0), abs=1e-9)


def test_the_flow_follows_the_pump_late_and_in_any_order_of_times() -> None:
    settings = field()
    strokes = [Stroke(0.0, 0.0), Stroke(1.0, 1.2, 30.0), Stroke(61.0, -0.6)]
    holder = Holder(settings, Hold(lambda _: (9.0, 8.0, 4.0), strokes=lambda: strokes))
    line = holder.form.hydraulics()
    tau = line.time_constant_s
    assert tau > 10

    def rises(start: float, pump: float, seconds: float) -> float:
        return pump + (start - pump) * math.exp(-seconds / tau)

    peak = rises(0.0, 1.2, 30.0)
    left = rises(peak, 0.0, 30.0)
    for time_s, flow in (
        (70.0, rises(left, -0.6, 9.0)),
        (0.5, 0.0),
        (21.0, rises(0.0, 1.2, 20.0)),
        (41.0, rises(peak, 0.0, 10.0)),
    ):
        assert holder.flow_nl_s(time_s) == pytest.approx(flow, rel=1e-6)


def cell_of(devices: Devices) -> CellTruth:
    frame = devices.camera.trigger(5.0)
    assert frame.truth is not None
    (cell,) = (each for each in frame.truth.cells if each.kind == "sperm")
    return cell


class OtherManipulator:
    """One that the camera does not know, which counts from elsewhere and along other axes."""

    def __init__(self, arm: Manipulator) -> None:
        self._arm, self.name = arm, "other"

    def position_xyz_um(self) -> Place3:
        x, y, z = self._arm.position_xyz_um()
        return 5000.0 - y, 6000.0 + x, z - 7000.0


class OtherPump:
    """One that the camera does not know; an alarm stands when it has pumped."""

    def __init__(self, pump: Pump) -> None:
        self._pump, self._pumped, self.name = pump, False, "other"

    def flow_nl_s(self) -> float:
        flow = self._pump.flow_nl_s()
        if self._pumped and not flow:
            raise DeviceError("an alarm")
        self._pumped = flow != 0
        return flow


MOUNT = Mount(matrix=((0, 1, 0), (-1, 0, 0), (0, 0, 1)), tip_um=(-6000, 5000, 7000))


def with_other_devices(devices: Devices, rig: Rig) -> Devices:
    """The same rig, whose manipulator and pump the camera knows only by their protocols."""
    assert rig.simulation is not None
    assert devices.manipulator is not None
    assert devices.pump is not None
    camera = SimulatedCamera(
        CameraOptions(exposure_ms=5.0, mount=MOUNT),
        rig.simulation,
        devices.clock,
        devices.stage,
        devices.xy_stage,
        Interrupt(),
        cast(Manipulator, OtherManipulator(devices.manipulator)),
        cast(Pump, OtherPump(devices.pump)),
    )
    return dataclasses.replace(devices, camera=camera)


@pytest.mark.parametrize("others", [False, True])
def test_a_cell_is_drawn_into_the_bore_and_carried_with_the_pipette(others: bool) -> None:
    rig = load_rig(
        "sim-aspiration",
        (
            "simulation.shape=[240, 640]",
            "simulation.cells=1",
            "simulation.motile=false",
            "simulation.debris=0",
            "simulation.round_cells=0",
            "simulation.quick=true",
            "simulation.aspiration.inner_diameter_um=5",
            "simulation.aspiration.outer_diameter_um=7",
            "simulation.aspiration.compliance_nl_kpa=0.0002",
            "simulation.aspiration.straight_um=300",
            "manipulator.options.repeatability_um=0",
        ),
    )
    found = PipetteMap.simulated(rig)
    assert found is not None
    with open_rig(rig) as opened:
        devices = with_other_devices(opened, rig) if others else opened
        devices.camera.start()
        late_ns = devices.clock.now_ns() + 20_000_000_000
        cell, arm, pump = cell_of(devices), devices.manipulator, devices.pump
        assert arm is not None
        assert pump is not None
        arm.move_xyz_to(*found.place_for(cell.x_px + 60, cell.y_px, max(cell.focus_um, 0.5)), 200)
        devices.clock.sleep(1.0)
        assert cell_of(devices).x_px == pytest.approx(cell.x_px)
        tip_px = found.pixel_of(arm.position_xyz_um())
        pump.start(0.004)
        while cell_of(devices).x_px < tip_px[0] + 10 and devices.clock.now_ns() < late_ns:
            devices.clock.sleep(0.01)
        pump.stop()
        devices.clock.sleep(0.1)
        cell_of(devices)  # a frame: the flow of others is read with it
        devices.clock.sleep(0.2)
        drawn = cell_of(devices)
        assert drawn.x_px - tip_px[0] > 10
        assert abs(drawn.y_px - tip_px[1]) < 2.5 / PIXEL_UM
        arm.move_xyz_to(*np.add(arm.position_xyz_um(), (5.0, 4.0, 6.0)), 200)  # type: ignore[call-arg]
        devices.clock.sleep(1.0)
        carried = cell_of(devices)
        assert (carried.x_px - drawn.x_px, carried.y_px - drawn.y_px) == pytest.approx(
            (5.0 / PIXEL_UM, 4.0 / PIXEL_UM), abs=4
        )
        assert carried.focus_um - drawn.focus_um == pytest.approx(6.0 / 1.335, abs=0.5)
