"""The simulated microscope as camera, focus drive, x/y stage, manipulator, pump and clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgaf.acquire.device_tables import ManipulatorTable, PumpTable, XYStageTable
from fgaf.acquire.devices import Camera, DeviceError, Manipulator, Pump, Stage, XYStage
from fgaf.acquire.drivers.simulated_camera import CameraOptions, SimulatedCamera
from fgaf.acquire.drivers.simulated_clock import SimulatedClock
from fgaf.acquire.drivers.simulated_manipulator import ManipulatorOptions, SimulatedManipulator
from fgaf.acquire.drivers.simulated_pump import PumpOptions, SimulatedPump
from fgaf.acquire.drivers.simulated_stage import SimulatedStage, StageOptions
from fgaf.acquire.drivers.simulated_xy_stage import SimulatedXYStage, XYStageOptions
from fgaf.acquire.rig import Opening
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.tables import parse_table


def open_stage(settings: Mapping[str, Any], opening: Opening) -> Stage:
    """Open the simulated drive; the rig's clock is replaced by a simulated one.

    Parameters
    ----------
    settings
        ``[stage.options]`` of the rig; see `StageOptions`.
    opening
        The rig; its clock is replaced.
    """
    options = parse_table(StageOptions, settings, "stage.options")
    clock = SimulatedClock(options.realtime)
    opening.clock = clock
    return SimulatedStage(options, clock, _simulation(opening).seed)


def open_xy_stage(table: XYStageTable, opening: Opening) -> XYStage:
    """Open the simulated x/y stage.

    Parameters
    ----------
    table
        ``[xy_stage]`` of the rig; for its options see `XYStageOptions`.
    opening
        Gives the clock.
    """
    options = parse_table(XYStageOptions, table.options, "xy_stage.options")
    return SimulatedXYStage(
        options,
        table.limits_xy_um,
        opening.clock,
        table.velocity_valid_s,
        table.highest_velocity_um_s,
    )


def open_manipulator(table: ManipulatorTable, opening: Opening) -> Manipulator:
    """Open the simulated manipulator.

    Parameters
    ----------
    table
        ``[manipulator]`` of the rig; for its options see `ManipulatorOptions`.
    opening
        Gives the clock.
    """
    options = parse_table(ManipulatorOptions, table.options, "manipulator.options")
    return SimulatedManipulator(options, opening.clock, _simulation(opening).seed)


def open_pump(table: PumpTable, opening: Opening) -> Pump:
    """Open the simulated pump.

    Parameters
    ----------
    table
        ``[pump]`` of the rig; for its options see `PumpOptions`.
    opening
        Gives the clock.
    """
    options = parse_table(PumpOptions, table.options, "pump.options")
    return SimulatedPump(options, opening.clock)


def open_camera(settings: Mapping[str, Any], opening: Opening) -> Camera:
    """Open the simulated camera on the rig's other devices, simulated or real.

    Parameters
    ----------
    settings
        ``[camera.options]`` of the rig; see `CameraOptions`.
    opening
        The rig, with its other devices open.
    """
    options = parse_table(CameraOptions, settings, "camera.options")
    if opening.stage is None:
        raise DeviceError("the simulated camera needs the rig's drive for its focus; open it first")
    return SimulatedCamera(
        options,
        _simulation(opening),
        opening.clock,
        opening.stage,
        opening.xy_stage,
        opening.interrupt,
        opening.manipulator,
        opening.pump,
    )


def _simulation(opening: Opening) -> SimulationSettings:
    return opening.rig.simulation or SimulationSettings()
