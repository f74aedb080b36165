"""One device of a Micro-Manager core: its choice, name and properties."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from fgaf.acquire.drivers.mmcore_session import Session
from fgaf.base.errors import SettingError

CAMERA: Final = 2
STAGE: Final = 5
XY_STAGE: Final = 6


def choose_device(session: Session, label: str | None, kind: int, what: str) -> str:
    """Return the label of the requested device, or of the configuration's default one.

    Parameters
    ----------
    session
        The open core.
    label
        The requested device; None for that of the configuration.
    kind
        Micro-Manager's number for this kind of device, such as `CAMERA`.
    what
        Name of this kind of device, for the error.

    Raises
    ------
    SettingError
        There is no such device.
    """
    core = session.core
    found = [str(name) for name in session.call("list its devices", core.getLoadedDevices)]
    known = [
        name
        for name in found
        if session.call("list its devices", partial(core.getDeviceType, name)) == kind
    ]
    current = {
        CAMERA: core.getCameraDevice,
        STAGE: core.getFocusDevice,
        XY_STAGE: core.getXYStageDevice,
    }[kind]
    chosen = label or str(session.call(f"name its {what}", current))
    if not chosen and len(known) == 1:
        return known[0]
    if chosen not in known:
        raise SettingError(
            f"Micro-Manager has no {what} {chosen!r}; give device, one of {', '.join(known)}"
            if known
            else f"Micro-Manager's configuration has no {what}; add one with its hardware wizard"
        )
    return chosen


def describe_device(session: Session, label: str) -> str:
    """Name a device by its label, its adapter library and its name in that library.

    Parameters
    ----------
    session
        The open core.
    label
        The device.
    """
    core = session.core
    library, name = session.call(
        f"describe {label}", lambda: (core.getDeviceLibrary(label), core.getDeviceName(label))
    )
    return f"{label} ({library} {name}) through Micro-Manager"


def set_properties(session: Session, label: str, properties: Mapping[str, Any]) -> None:
    """Set properties of a device, in their order.

    Parameters
    ----------
    session
        The open core.
    label
        The device.
    properties
        Name to value.

    Raises
    ------
    DeviceError
        The device refuses one.
    """
    for name, value in properties.items():
        text = str(int(value)) if isinstance(value, bool) else value
        session.call(
            f"set {name} of {label} to {value}",
            partial(session.core.setProperty, label, name, text),
        )
