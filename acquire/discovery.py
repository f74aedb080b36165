"""Lists the devices attached to this computer: calls every driver, and probes serial ports.

A driver's module may offer two hooks, both optional::

    def find() -> list[Found]: ...                 the devices it can enumerate
    def find_on(port: str) -> list[Found]: ...     the devices on this serial port, if recognised

`find_on` opens the port, sends only the device's identification command, waits a fraction of a
second and closes it. It raises `DeviceError` where the port cannot be opened, and returns an empty
list for an unknown device. A recognised device is not probed again: the module of a device that is
disturbed by unknown commands sets ``ASK_FIRST = True`` and is called before the others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any, Final, Literal

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.rig import (
    CAMERAS,
    MANIPULATORS,
    PUMPS,
    STAGES,
    XY_STAGES,
    driver_state,
    drivers,
)

_log = logging.getLogger(__name__)

Kind = Literal["camera", "stage", "xy stage", "manipulator", "pump", "port"]
GROUPS: Final[dict[Kind, str]] = {
    "camera": CAMERAS,
    "stage": STAGES,
    "xy stage": XY_STAGES,
    "manipulator": MANIPULATORS,
    "pump": PUMPS,
}
"""Groups of drivers by the kind of their devices, in the order of lists."""


@dataclass(frozen=True)
class Found:
    """One device, or one serial port without a known device.

    Attributes
    ----------
    kind
        "camera", "stage" (a focus drive), "xy stage", "manipulator", "pump", or "port" where no
        driver recognised what is there.
    driver
        The driver that found it; empty for a port.
    where
        Its identification: a serial number or a port.
    name
        Its own name.
    options
        Entries of ``[camera.options]``, ``[stage.options]``, ... to open it.
    problem
        Why it cannot be used now; empty if it can.
    required
        Further entries that only a person knows, numbers, with what they are.
    """

    kind: Kind
    driver: str
    where: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    required: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Its name on the command line: ``prior:COM3``."""
        return f"{self.driver}:{self.where}" if self.driver else self.where


def find_devices(ports: Sequence[str] | None = None, probe: bool = True) -> list[Found]:
    """List the attached devices.

    Parameters
    ----------
    ports
        Serial ports to check (names or pyserial URLs); by default all of this computer except
        Bluetooth ports, which are slow to open.
    probe
        Whether ports are opened and probed; else they are only listed.

    Returns
    -------
    list of Found
        Devices in the order of `GROUPS`, then ports without a known device.
    """
    ready = _ready()
    found = [each for driver in ready for each in _enumerated(driver)]
    asked = [driver for driver in ready if hasattr(driver.module, "find_on")]
    asked.sort(key=lambda driver: not getattr(driver.module, "ASK_FIRST", False))
    probers = {driver.name: driver.module for driver in asked}
    named = _ports() if ports is None else dict.fromkeys(ports, "")
    for port, description in named.items():
        found += _on_port(port, description, probers if probe else {})
    order = [*GROUPS, "port"]
    return sorted(found, key=lambda each: order.index(each.kind))


def looks_for_devices(device: Found) -> bool:
    """Whether the driver of a device can search for it; none does for what has no interface.

    Parameters
    ----------
    device
        A device, or one without options in place of it.
    """
    point = drivers(GROUPS[device.kind])[device.driver]
    if driver_state(point) != "ready":
        return True
    module = _module_of(point)
    return hasattr(module, "find") or hasattr(module, "find_on")


@dataclass(frozen=True)
class _Driver:
    """A driver that can be loaded: the kind and name of its first entry, and its module."""

    kind: Kind
    name: str
    module: ModuleType


def _ready() -> list[_Driver]:
    """Find every module of drivers that can be loaded, once."""
    found: dict[str, _Driver] = {}
    for kind, group in GROUPS.items():
        for name, point in drivers(group).items():
            if driver_state(point) == "ready":
                module = _module_of(point)
                found.setdefault(module.__name__, _Driver(kind, name, module))
    return list(found.values())


def _module_of(point: EntryPoint) -> ModuleType:
    """The module of a driver."""
    return import_module(point.load().__module__)


def _enumerated(driver: _Driver) -> list[Found]:
    """Call a driver's `find`; a broken driver must not hide the other ones."""
    if not hasattr(driver.module, "find"):
        return []
    try:
        return list(driver.module.find())
    except Exception as error:
        _log.info("the driver %s cannot search for devices", driver.name, exc_info=True)
        problem = f"the driver cannot search for devices: {_line(error)}"
        return [Found(driver.kind, driver.name, "", "", problem=problem)]


def _on_port(port: str, description: str, probers: dict[str, ModuleType]) -> list[Found]:
    for module in probers.values():
        try:
            answer: list[Found] = module.find_on(port)
        except Exception as error:
            _log.info("%s cannot be probed", port, exc_info=True)
            return [Found("port", "", port, description, problem=_line(error))]
        if answer:
            return answer
    silent = f"no device of {' or '.join(probers)} answers" if probers else ""
    return [Found("port", "", port, description, problem=silent or "not probed")]


def _ports() -> dict[str, str]:
    try:
        from serial.tools.list_ports import comports
    except ImportError:
        return {}
    return {
        str(port.device): "" if port.description == "n/a" else str(port.description)
        for port in sorted(comports())
        if "BTHENUM" not in str(port.hwid) and "Bluetooth" not in str(port.description)
    }


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, DeviceError) else f"{type(error).__name__}: {text}"
