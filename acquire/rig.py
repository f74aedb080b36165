"""The rig: camera, stages and optics with their settings, in one TOML file."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from fgaf.acquire.device_tables import (
    CameraTable,
    ManipulatorTable,
    PumpTable,
    StageTable,
    XYStageTable,
)
from fgaf.acquire.devices import (
    Camera,
    Clock,
    DeviceError,
    Devices,
    Manipulator,
    Pump,
    Stage,
    WallClock,
    XYStage,
    effective_settings,
)
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.tables import Table, parse_table, vendor_module
from fgaf.base.bounds import first_fault
from fgaf.base.errors import FormatError, SettingError
from fgaf.base.inputs import parse_toml, read_text
from fgaf.base.names import nearest
from fgaf.base.toml import parse_assignment, write_toml
from fgaf.dataset.storage.optics import Optics

_log = logging.getLogger(__name__)

_SIMULATED = """\
name = "{name}"

[camera]
driver = "simulated"

[stage]
driver = "simulated"

[xy_stage]
driver = "simulated"

[simulation]
{setting}
"""

_ASPIRATION = """\

[manipulator]
driver = "simulated"
x_limits_um = [-140, 140]
y_limits_um = [-90, 90]
z_limits_um = [-10, 200]
floor_um = -6
options.start_um = [0, 0, 20]

[pump]
driver = "simulated"

[simulation.aspiration]
inner_diameter_um = 10
outer_diameter_um = 11
compliance_nl_kpa = 0.02
dish_um = 12
shaft_angle_deg = 30
bend_deg = 30
"""

BUILT_IN = {
    name: _SIMULATED.format(name=name, setting=setting)
    for name, setting in (
        ("sim", 'contrast = "brightfield"'),
        ("sim-relief", 'contrast = "relief"'),
        ("sim-phase", 'contrast = "phase"'),
        ("sim-phase-negative", 'contrast = "phase-negative"'),
        ("sim-dic", 'contrast = "dic"'),
        ("sim-realistic", 'draw = "realistic"'),
        ("sim-aspiration", 'contrast = "brightfield"\n' + _ASPIRATION),
    )
}

CAMERAS, STAGES, XY_STAGES = "fgaf.cameras", "fgaf.stages", "fgaf.xy_stages"
MANIPULATORS, PUMPS = "fgaf.manipulators", "fgaf.pumps"
_PIXEL_TOLERANCE = 0.01
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Rig(Table):
    """One microscope.

    Attributes
    ----------
    name
        Name of the rig.
    compress
        Whether stacks are written compressed, without loss.
    camera, stage
        The devices.
    xy_stage
        The stage that moves the specimen; None if the rig has none, or does not use it.
    manipulator, pump
        What holds the micropipette, and what draws liquid into it; None if the rig has none.
    simulation
        The specimen and optics of the simulated driver. With ``draw = "realistic"`` in the table,
        `draw_settings` draws from the table's seed all that it does not give.
    optics
        Optics between specimen and camera. Missing values come from the simulation, if any.
    """

    name: str = ""
    compress: bool = False
    camera: CameraTable
    stage: StageTable
    xy_stage: XYStageTable | None = None
    manipulator: ManipulatorTable | None = None
    pump: PumpTable | None = None
    simulation: SimulationSettings | None = None
    optics: Annotated[Optics, Field(validate_default=True)] = Optics()

    @field_validator("simulation", mode="before")
    @classmethod
    def _drawn_field(cls, table: Any) -> Any:
        if not isinstance(table, dict) or "draw" not in table:
            return table
        given = {name: value for name, value in table.items() if name != "draw"}
        if table["draw"] != "realistic":
            raise ValueError(f'draw is {table["draw"]!r}; give "realistic", or leave it out')
        if not given.keys() <= SimulationSettings.model_fields.keys():
            return given
        from fgaf.acquire.simulation.realistic import draw_settings

        try:
            return draw_settings(given.pop("seed", 0), **given)
        except ValidationError as error:
            raise ValueError(first_fault(error)) from error

    @field_validator("optics")
    @classmethod
    def _simulated_optics(cls, optics: Optics, info: ValidationInfo) -> Optics:
        simulation: SimulationSettings | None = info.data.get("simulation")
        if simulation is None:
            return optics
        return simulation.optics.model_copy(update=optics.model_dump(exclude_none=True))

    def to_toml(self) -> str:
        """Write the whole rig, defaults included, as TOML; reading it gives the same rig."""
        return write_toml(self.model_dump(exclude_none=True))


@dataclass
class Opening:
    """What a driver gets when a rig is opened, besides its own settings.

    Attributes
    ----------
    rig
        The rig being opened.
    clock
        The run's clock. A driver with its own time (a simulation) replaces it.
    stage
        The drive, which is opened first.
    xy_stage
        The x/y stage, which is opened second; None if there is none.
    manipulator, pump
        They are opened next, before the camera; None if there are none.
    interrupt
        A request to stop. A camera that needs more than a second for a frame checks it meanwhile,
        and passes its `InterruptError` on.
    """

    rig: Rig
    clock: Clock
    stage: Stage | None = None
    xy_stage: XYStage | None = None
    manipulator: Manipulator | None = None
    pump: Pump | None = None
    interrupt: Interrupt = field(default_factory=Interrupt)


def load_rig(name: str | Path, overrides: Iterable[str] = ()) -> Rig:
    """Read a rig.

    Parameters
    ----------
    name
        A built-in rig (``sim``, ``sim-relief``, ...) or the path of a TOML file.
    overrides
        Single settings that replace those of the rig: ``simulation.contrast=relief``.

    Raises
    ------
    SettingError
        No such rig, not TOML, an unknown key (the nearest valid one is named) or an invalid value.
    """
    text, where = _text(name)
    try:
        table = parse_toml(text)
    except ValueError as error:
        slips = ("Unescaped '\\'", "hex value")
        backslash = any(slip in str(error) for slip in slips)
        hint = "; put a text with backslashes between single quotes" if backslash else ""
        raise SettingError(f"{where} is not valid TOML: {error}{hint}") from error
    for override in overrides:
        _override(table, override)
    _refuse_control_characters(table, where)
    return parse_table(Rig, table, where)


def open_rig(rig: Rig, interrupt: Interrupt | None = None) -> Devices:
    """Open the devices of a rig: the focus drive first, the camera last.

    Parameters
    ----------
    rig
        Names the drivers and their settings.
    interrupt
        Also ends an exposure if the camera can stop within one, like the simulated camera.

    Raises
    ------
    SettingError
        An unknown driver, an unknown option, or limits that are not filled in.
    DeviceError
        A device is missing, or its vendor library is not installed.
    """
    if rig.stage.limits_blank:
        raise SettingError(
            "stage.limits_um is not filled in: write the lowest and highest z in µm at which "
            "nothing can touch into the rig, such as limits_um = [-50, 50]"
        )
    _log.info("rig %s", rig.name or "(no name)")
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("its settings:\n%s", rig.to_toml())
    with ExitStack() as opened:
        opening = Opening(rig, WallClock(), interrupt=interrupt or Interrupt())
        open_stage = _driver(STAGES, rig.stage.driver)
        stage: Stage = open_stage(rig.stage.options, opening)
        opened.callback(stage.close)
        _log_opened("stage", rig.stage.driver, open_stage.__module__, stage)
        _log.info("its limits are %g to %g µm", *stage.limits_um)
        opening.stage = stage
        opening.xy_stage = _open_xy_stage(rig, opening)
        if opening.xy_stage is not None:
            opened.callback(opening.xy_stage.close)
        opening.manipulator = _open_other(MANIPULATORS, "manipulator", rig.manipulator, opening)
        if opening.manipulator is not None:
            opened.callback(opening.manipulator.close)
        opening.pump = _open_other(PUMPS, "pump", rig.pump, opening)
        if opening.pump is not None:
            opened.callback(opening.pump.close)
        settings = {"exposure_ms": rig.camera.exposure_ms, **rig.camera.options}
        open_camera = _driver(CAMERAS, rig.camera.driver)
        camera: Camera = open_camera(settings, opening)
        _log_opened("camera", rig.camera.driver, open_camera.__module__, camera)
        _log.info("frames of %d x %d px, %d bits", *camera.shape, camera.bit_depth)
        opened.pop_all()
    return Devices(
        camera, stage, opening.clock, opening.xy_stage, opening.manipulator, opening.pump
    )


def _open_xy_stage(rig: Rig, opening: Opening) -> XYStage | None:
    """Open the x/y stage, if the rig has its table; by default with the driver of the drive."""
    if rig.xy_stage is None:
        return None
    driver = rig.xy_stage.driver or rig.stage.driver
    opener = _driver(XY_STAGES, driver)
    xy_stage: XYStage = opener(rig.xy_stage, opening)
    _log_opened("x/y stage", driver, opener.__module__, xy_stage)
    return xy_stage


def _open_other(
    group: str, kind: str, table: ManipulatorTable | PumpTable | None, opening: Opening
) -> Any:
    """Open the device of a table, if the rig has it."""
    if table is None:
        return None
    opener = _driver(group, table.driver)
    device = opener(table, opening)
    _log_opened(kind, table.driver, opener.__module__, device)
    return device


def _log_opened(
    kind: str, driver: str, module: str, device: Camera | Stage | XYStage | Manipulator | Pump
) -> None:
    _log.info("%s opened by the driver %s: %s", kind, driver, device.name)
    for package in getattr(sys.modules[module], "REQUIRES", ()):
        version = getattr(sys.modules.get(package), "__version__", "unknown")
        _log.info("%s: through the package %s, version %s", kind, package, version)
    effective = effective_settings(device)
    for name, value in effective.values.items():
        _log.info("%s: %s = %s, read back", kind, name, value)
    for note in effective.notes:
        _log.info("%s: %s", kind, note)


def effective_optics(rig: Rig, camera: Camera) -> Optics:
    """Optics of the images: the rig's, with the pixel size after the camera's binning.

    Parameters
    ----------
    rig
        Its `optics.pixel_size_um` is the pixel size without binning.
    camera
        Open, see `EffectiveSettings`.

    Raises
    ------
    SettingError
        The pixel sizes of the rig and of the device's configuration differ; the message gives both.
    """
    effective = effective_settings(camera)
    optics = rig.optics
    own = optics.pixel_size_um and optics.pixel_size_um * effective.binning
    its = effective.pixel_size_um
    if own and its and abs(own - its) > _PIXEL_TOLERANCE * its:
        binned = f" x binning {effective.binning}" if effective.binning > 1 else ""
        raise SettingError(
            f"the pixel size is {own:g} µm in the rig (optics.pixel_size_um{binned}) and {its:g} "
            f"µm in the configuration of {camera.name}; correct one of them"
        )
    return optics.model_copy(update={"pixel_size_um": own or its})


def drivers(group: str) -> dict[str, EntryPoint]:
    """Find the installed drivers of a group (`CAMERAS`, `STAGES`, ...) by name."""
    return {found.name: found for found in sorted(entry_points(group=group))}


def driver_state(driver: EntryPoint) -> str:
    """State of a driver: "ready", or what is missing."""
    try:
        opener = driver.load()
        for module in getattr(import_module(opener.__module__), "REQUIRES", ()):
            vendor_module(module)
    except (ImportError, AttributeError) as error:
        return f"cannot be loaded ({error})"
    except DeviceError as error:
        return str(error)
    return "ready"


def _driver(group: str, name: str) -> Any:
    known = drivers(group)
    if name not in known:
        raise SettingError(f"no driver {name!r} in {group}; {nearest(name, known)}")
    try:
        return known[name].load()
    except (ImportError, AttributeError) as error:
        raise DeviceError(f"the driver {name} cannot be loaded ({error}); reinstall it") from error


def _text(name: str | Path) -> tuple[str, str]:
    if str(name) in BUILT_IN:
        return BUILT_IN[str(name)], f"rig {name}"
    path = Path(name)
    if not path.is_file():
        hint = nearest(str(name), BUILT_IN)
        raise SettingError(
            f"no rig {str(name)!r}; {f'{hint} ' if hint.startswith('did') else ''}"
            f"built in are {', '.join(BUILT_IN)}; any other is the path of a TOML file"
        )
    try:
        return read_text(path), str(path)
    except FormatError as error:
        raise SettingError(str(error)) from error


def _override(table: dict[str, Any], override: str) -> None:
    key, value = parse_assignment(override)
    *tables, last = key.split(".")
    for name in tables:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SettingError(f"{override!r}: {name} is a value, not a table")
        table = inner
    table[last] = value


def _refuse_control_characters(value: Any, where: str, path: str = "") -> None:
    """Refuse text in which a backslash between double quotes became a control character."""
    if isinstance(value, str) and _CONTROL.search(value):
        raise SettingError(
            f"{where}: {path} = {value!r} contains a line break, tab or other control character, "
            "which a backslash between double quotes makes; write the text between single quotes, "
            "or with forward slashes"
        )
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            _refuse_control_characters(part, where, f"{path}.{key}" if path else str(key))
