"""What is attached to this computer: every driver is asked, serial ports are probed politely.

A driver's module may offer two hooks, both optional::

    def find() -> list[Found]: ...                 what it can enumerate by itself
    def find_on(port: str) -> Found | None: ...    what answers on this serial port, if it knows it

`find_on` opens the port, sends nothing but the device's identification command, waits a fraction of
a second and closes it. It raises `DeviceError` where the port cannot be opened; None says that
nothing it knows is there. Who is recognised is not asked again: a module of a device that takes
foreign questions badly sets ``ASK_FIRST = True`` and is asked before the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any, Literal

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.rig import CAMERAS, STAGES, driver_state, drivers

_log = logging.getLogger(__name__)

Kind = Literal["camera", "stage", "port"]


@dataclass(frozen=True)
class Found:
    """One device, or one serial port on which nothing known answers.

    Attributes
    ----------
    kind
        "camera", "stage", or "port" where no driver recognised what is there.
    driver
        The driver that found it; empty for a port.
    where
        What tells it from others of its kind: a serial number, a port.
    name
        What it calls itself.
    options
        What the driver needs in ``[camera.options]`` or ``[stage.options]`` to open it.
    problem
        Why it cannot be used now; empty where it can.
    """

    kind: Kind
    driver: str
    where: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def address(self) -> str:
        """How a command line names it: ``prior:COM3``."""
        return f"{self.driver}:{self.where}" if self.driver else self.where


def find_devices(ports: Sequence[str] | None = None, probe: bool = True) -> list[Found]:
    """List what is attached.

    Parameters
    ----------
    ports
        Serial ports to look at (names or pyserial URLs); by default all of this computer but
        those of Bluetooth, which take long to open.
    probe
        Whether ports are opened and asked; else they are only listed.

    Returns
    -------
    list of Found
        Cameras and drives first, then the ports on which nothing known answers.
    """
    modules = dict(_modules())
    found = [each for driver, module in modules.items() for each in _enumerated(driver, module)]
    first = sorted(modules, key=lambda name: not getattr(modules[name], "ASK_FIRST", False))
    probers = {name: modules[name] for name in first if hasattr(modules[name], "find_on")}
    named = _ports() if ports is None else dict.fromkeys(ports, "")
    for port, description in named.items():
        found.append(_on_port(port, description, probers if probe else {}))
    order = {"camera": 0, "stage": 1, "port": 2}
    return sorted(found, key=lambda each: order[each.kind])


def _modules() -> Iterator[tuple[str, ModuleType]]:
    """Yield every driver that can be loaded with its module, once."""
    points: dict[str, EntryPoint] = drivers(CAMERAS) | drivers(STAGES)
    for name, point in points.items():
        if driver_state(point) == "ready":
            yield name, import_module(point.load().__module__)


def _enumerated(driver: str, module: ModuleType) -> list[Found]:
    """Ask a driver's `find`; drivers are foreign code, and a broken one must not hide the rest."""
    if not hasattr(module, "find"):
        return []
    try:
        return list(module.find())
    except Exception as error:
        _log.info("the driver %s cannot look", driver, exc_info=True)
        kind: Kind = "camera" if driver in drivers(CAMERAS) else "stage"
        return [Found(kind, driver, "", "", problem=f"the driver cannot look: {_line(error)}")]


def _on_port(port: str, description: str, probers: dict[str, ModuleType]) -> Found:
    for module in probers.values():
        try:
            answer: Found | None = module.find_on(port)
        except Exception as error:
            _log.info("%s cannot be asked", port, exc_info=True)
            return Found("port", "", port, description, problem=_line(error))
        if answer is not None:
            return answer
    asked = f"nothing answers that {' or '.join(probers)} knows" if probers else ""
    return Found("port", "", port, description, problem=asked or "not asked")


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
