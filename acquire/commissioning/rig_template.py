"""A first, commented rig file for the devices found, with values that the user must fill in."""

from __future__ import annotations

from collections.abc import Sequence

from fgaf.acquire.discovery import GROUPS, Found, Kind, looks_for_devices
from fgaf.acquire.rig import drivers
from fgaf.base.errors import SettingError
from fgaf.base.names import nearest
from fgaf.base.toml import toml_value

SIMULATED, NONE = "simulated", "none"

_TEMPLATE = """\
# A rig of fgaf. Every key is explained in docs/hardware.md; an unknown one is an error.
name = {name}
compress = false            # true: smaller stacks, without loss, that every HDF5 program reads

[camera]                    # {camera_name}
driver = {camera_driver}
exposure_ms = 5.0
timeout_s = 2.0             # longest wait for a frame after its exposure
{camera_options}
[stage]                     # {stage_name}
driver = {stage_driver}
{limits}
approach_um = 2.0           # every plane is reached from below, from this far: above the backlash
tolerance_um = 0.1          # largest distance between the requested z and the one read back
settle_ms = 20.0            # rest between arrival and exposure
timeout_s = 10.0            # longest time for one move
{stage_options}{xy_stage}{pipette}
{optics}"""

_XY_STAGE = """
[xy_stage]                  # {name}; without limits it is not moved
driver = {driver}
# x_limits_um = [-20000, 20000] # lowest and highest x in µm at which nothing can touch
# y_limits_um = [-15000, 15000]
{options}"""

_SIMULATED_XY = """
[xy_stage]                  # simulated
driver = "simulated"
"""

_MANIPULATOR = """
[manipulator]               # {name}; without limits in x and y, and a floor, it is not moved
driver = {driver}
# x_limits_um = [0, 20000]  # lowest and highest x, y and z in µm at which nothing can touch
# y_limits_um = [0, 20000]
# z_limits_um = [0, 20000]  # z grows away from the dish
# floor_um = 500            # lowest z in µm at which the tip is clear of the dish
{options}"""

_PUMP = """
[pump]                      # {name}
driver = {driver}
highest_flow_nl_s = 5.0     # in either direction
{options}"""

_NO_PIPETTE = """
# The tables [manipulator] and [pump] are for a micropipette: see docs/hardware.md
"""

_LIMITS = """\
limits_um = [nan, nan]      # REQUIRED: lowest and highest z in µm at which nothing can touch"""

_NO_LIMITS = "# limits_um = [-50, 50]     # lowest and highest z in µm; not needed when simulated"

_OPTICS = """\
[optics]                    # fill in the known values: curation and training use them
# pixel_size_um = 0.1465    # in the specimen, without binning: the camera's pitch / magnification
# magnification = 40
# numerical_aperture = 0.65
# medium_index = 1.0        # between specimen and objective: 1.0 dry, 1.33 water, 1.52 oil
# wavelength_um = 0.55
"""

_SIMULATION = """\
[simulation]
contrast = "brightfield"    # or relief
"""


def rig_template(
    camera: Found,
    stage: Found,
    xy_stage: Found | None = None,
    manipulator: Found | None = None,
    pump: Found | None = None,
    name: str = "",
) -> str:
    """Write a rig file's text.

    Parameters
    ----------
    camera, stage
        The devices, from `choose`.
    xy_stage
        The x/y stage, from `choose_xy_stage`.
    manipulator, pump
        Those of the micropipette, from `choose_if_any`.
    name
        Name of the rig.

    Returns
    -------
    str
        TOML that `fgaf.acquire.load_rig` reads. The limits of a real drive, and what else only a
        person knows, are left blank, and must be filled in before the rig can open; see `blanks`.
    """
    simulated = camera.driver == SIMULATED
    return _TEMPLATE.format(
        name=toml_value(name),
        camera_name=_comment(camera),
        camera_driver=toml_value(camera.driver),
        camera_options=_options("camera", camera),
        stage_name=_comment(stage),
        stage_driver=toml_value(stage.driver),
        limits=_NO_LIMITS if stage.driver == SIMULATED else _LIMITS,
        stage_options=_options("stage", stage),
        xy_stage=_xy_stage(stage, xy_stage),
        pipette=_pipette(manipulator, pump),
        optics=_SIMULATION if simulated else _OPTICS,
    )


def blanks(text: str) -> dict[str, int]:
    """Find the settings of a template that must be filled in.

    Parameters
    ----------
    text
        From `rig_template`.

    Returns
    -------
    dict
        Line number, from 1, by key: ``stage.limits_um``.
    """
    table, found = "", {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("["):
            table = line[1:].partition("]")[0]
        elif "# REQUIRED" in line:
            found[f"{table}.{line.partition('=')[0].strip()}"] = number
    return found


def choose(kind: Kind, wanted: str | None, found: Sequence[Found]) -> Found:
    """Choose a device that a rig needs: the camera or the drive.

    Parameters
    ----------
    kind
        A key of `fgaf.acquire.discovery.GROUPS`.
    wanted
        A driver's name, or driver and address as in `acq devices` (``prior:COM3``); None for the
        device found.
    found
        The attached devices.

    Returns
    -------
    Found
        The only match. A named driver that found no device gives one without options.

    Raises
    ------
    SettingError
        None matches, several match, or there is no such driver.
    """
    group, option = GROUPS[kind], f"--{kind.replace(' ', '-')}"
    mine = [each for each in found if each.kind == kind]
    fitting = [each for each in mine if wanted in (None, each.driver, each.address)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(each.address for each in fitting)
        raise SettingError(f"there are {len(fitting)} to choose from: give {option} {names}")
    if wanted is None:
        raise SettingError(
            f"no {kind} was found; connect it and run `acq devices`, or give a driver with "
            f"{option}: {', '.join(drivers(group))}"
        )
    driver, _, where = wanted.partition(":")
    if driver not in drivers(group):
        raise SettingError(f"no driver {driver!r} for a {kind}; {nearest(driver, drivers(group))}")
    if where:
        here = ", ".join(each.address for each in mine) or "none"
        raise SettingError(f"{wanted} was not found; found: {here}")
    return Found(kind, driver, "", driver)


def choose_if_any(kind: Kind, wanted: str | None, found: Sequence[Found]) -> Found | None:
    """Choose a device that a rig may have: an x/y stage, a manipulator or a pump.

    Parameters
    ----------
    kind, wanted, found
        See `choose`; ``none`` is for a rig without it.

    Returns
    -------
    Found or None
        None if it is not wanted, or if none was found that can be used.

    Raises
    ------
    SettingError
        See `choose`.
    """
    if wanted == NONE:
        return None
    if wanted is not None:
        return choose(kind, wanted, found)
    usable = [each for each in found if each.kind == kind and not each.problem]
    return choose(kind, None, usable) if usable else None


def choose_xy_stage(stage: Found, wanted: str | None, found: Sequence[Found]) -> Found | None:
    """Choose the x/y stage of a rig, by default that of the drive's controller.

    Parameters
    ----------
    stage
        The drive, from `choose`.
    wanted, found
        See `choose_if_any`.
    """
    if wanted is None and stage.driver == SIMULATED:
        wanted = SIMULATED
    beside = [each for each in found if each.kind == "xy stage" and each.address == stage.address]
    return choose_if_any("xy stage", wanted, beside if beside and wanted is None else found)


def _xy_stage(stage: Found, found: Found | None) -> str:
    if found is None:
        return ""
    if found.driver == SIMULATED:
        return _SIMULATED_XY
    shared = found.address == stage.address
    return _XY_STAGE.format(
        name=_comment(found),
        driver=toml_value(found.driver),
        options="" if shared else _options("xy_stage", found),
    )


def _pipette(manipulator: Found | None, pump: Found | None) -> str:
    text = ""
    for table, form, found in (
        ("manipulator", _MANIPULATOR, manipulator),
        ("pump", _PUMP, pump),
    ):
        if found is not None:
            text += form.format(
                name=_comment(found),
                driver=toml_value(found.driver),
                options=_options(table, found),
            )
    return text or _NO_PIPETTE


def _comment(found: Found) -> str:
    if found.options:
        return " ".join(found.name.split())
    return f"{found.driver}: not found" if looks_for_devices(found) else found.driver


def _options(table: str, found: Found) -> str:
    if found.driver == SIMULATED:
        return ""
    lines = [f"{key} = {toml_value(value)}" for key, value in found.options.items()]
    lines += [f"{key} = nan  # REQUIRED: {what}" for key, what in found.required.items()]
    state = " was not found when this file was written" if looks_for_devices(found) else ""
    blank = f"# {found.driver}{state}: see docs/hardware.md"
    return "\n".join(["", f"[{table}.options]", *(lines or [blank]), ""])
