"""The simulated microscope as camera, focus drive and clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgaf.acquire.devices import Camera, DeviceError, Stage
from fgaf.acquire.drivers.simulated_camera import CameraOptions, SimulatedCamera
from fgaf.acquire.drivers.simulated_clock import SimulatedClock
from fgaf.acquire.drivers.simulated_stage import SimulatedStage, StageOptions
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


def open_camera(settings: Mapping[str, Any], opening: Opening) -> Camera:
    """Open the simulated camera before the rig's drive, simulated or real.

    Parameters
    ----------
    settings
        ``[camera.options]`` of the rig; see `CameraOptions`.
    opening
        The rig, with its drive open.
    """
    options = parse_table(CameraOptions, settings, "camera.options")
    if opening.stage is None:
        raise DeviceError("the simulated camera needs the rig's drive for its focus; open it first")
    return SimulatedCamera(
        options, _simulation(opening), opening.clock, opening.stage, opening.interrupt
    )


def _simulation(opening: Opening) -> SimulationSettings:
    return opening.rig.simulation or SimulationSettings()
