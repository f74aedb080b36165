"""Any focus drive, x/y stage and camera that Micro-Manager supports, through pymmcore-plus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fgaf.acquire.device_tables import XYStageTable
from fgaf.acquire.drivers.limits import limits_of
from fgaf.acquire.drivers.mmcore_camera import MmcoreCamera, MmcoreCameraSettings
from fgaf.acquire.drivers.mmcore_found import find as find
from fgaf.acquire.drivers.mmcore_session import Session, SessionSettings
from fgaf.acquire.drivers.mmcore_stage import MmcoreRampStage, MmcoreStage, MmcoreStageSettings
from fgaf.acquire.drivers.mmcore_xy_stage import MmcoreXYSettings, MmcoreXYStage
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import parse_table

REQUIRES: Final = ("pymmcore_plus",)


def open_stage(settings: Mapping[str, Any], opening: Opening) -> MmcoreStage:
    """Open a Micro-Manager drive: the entry point `mmcore` of the group `fgaf.stages`.

    Parameters
    ----------
    settings
        The rig's `[stage.options]`, see `MmcoreStageSettings`.
    opening
        Gives the rig, whose `stage.limits_um` is needed, and the clock.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        pymmcore-plus is missing, or a device cannot be loaded or set.
    """
    checked = parse_table(MmcoreStageSettings, settings, "stage.options")
    limits_um = limits_of(opening, "a Micro-Manager")
    session = Session(_session_part(checked))
    try:
        still_um = opening.rig.stage.tolerance_um / 4
        if checked.speed is None:
            return MmcoreStage(session, checked, limits_um, still_um, opening.clock)
        return MmcoreRampStage(session, checked, checked.speed, limits_um, still_um, opening.clock)
    except BaseException:
        session.release()
        raise


def open_camera(settings: Mapping[str, Any], opening: Opening) -> MmcoreCamera:
    """Open a Micro-Manager camera: the entry point `mmcore` of the group `fgaf.cameras`.

    It shares the core of the rig's drive if that is a Micro-Manager drive and the camera's options
    do not name other devices.

    Parameters
    ----------
    settings
        The rig's `[camera.options]` with `exposure_ms`, see `MmcoreCameraSettings`.
    opening
        Gives the run's clock and the drive.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        pymmcore-plus is missing, or a device cannot be loaded or set.
    """
    checked = parse_table(MmcoreCameraSettings, settings, "camera.options")
    session = _shared_session(checked, opening)
    try:
        return MmcoreCamera(session, checked, opening.clock, opening.rig.camera.timeout_s)
    except BaseException:
        session.release()
        raise


def open_xy_stage(table: XYStageTable, opening: Opening) -> MmcoreXYStage:
    """Open a Micro-Manager x/y stage: the entry point `mmcore` of the group `fgaf.xy_stages`.

    It shares the core of the rig's drive as a camera does.

    Parameters
    ----------
    table
        The rig's `[xy_stage]`; for its options see `MmcoreXYSettings`.
    opening
        Gives the drive.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        pymmcore-plus is missing, or the device cannot be loaded.
    """
    checked = parse_table(MmcoreXYSettings, table.options, "xy_stage.options")
    session = _shared_session(checked, opening)
    try:
        return MmcoreXYStage(session, checked, table.limits_xy_um)
    except BaseException:
        session.release()
        raise


def _shared_session(settings: SessionSettings, opening: Opening) -> Session:
    """Return the core of the drive, unless other devices are named."""
    wanted, stage = _session_part(settings), opening.stage
    if isinstance(stage, MmcoreStage) and wanted in (SessionSettings(), stage.session.settings):
        return stage.session.share()
    return Session(wanted)


def _session_part(settings: SessionSettings) -> SessionSettings:
    return SessionSettings(
        **{name: getattr(settings, name) for name in SessionSettings.model_fields}
    )
