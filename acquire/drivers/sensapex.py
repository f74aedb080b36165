"""Sensapex devices: uMp manipulators, and uMc pressure controllers as pumps."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final, TypeVar

from fgaf.acquire.device_tables import ManipulatorTable, PumpTable
from fgaf.acquire.discovery import Found
from fgaf.acquire.drivers.sensapex_manipulator import ManipulatorSettings, SensapexManipulator
from fgaf.acquire.drivers.sensapex_pump import PumpSettings, SensapexPump
from fgaf.acquire.drivers.sensapex_session import (
    ADDRESS,
    NetworkSettings,
    Session,
    source_address,
)
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import parse_table

REQUIRES: Final = ("sensapex",)

_STAGES: Final = range(20, 30)
_PUMPS: Final = range(30, 255)
_MANIPULATOR_SERIALS: Final = range(11_400_000, 11_500_000)

Opened = TypeVar("Opened")


def open_manipulator(table: ManipulatorTable, opening: Opening) -> SensapexManipulator:
    """Open a uMp: the entry point `sensapex` of the group `fgaf.manipulators`.

    Parameters
    ----------
    table
        The rig's `[manipulator]`; for its options see `ManipulatorSettings`.
    opening
        Not used.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        The package is missing, or the device does not answer.
    """
    del opening
    settings = parse_table(ManipulatorSettings, table.options, "manipulator.options")
    return _open(settings, lambda session: SensapexManipulator(session, settings, table))


def open_pump(table: PumpTable, opening: Opening) -> SensapexPump:
    """Open a channel of a uMc: the entry point `sensapex` of the group `fgaf.pumps`.

    Parameters
    ----------
    table
        The rig's `[pump]`; for its options see `PumpSettings`.
    opening
        Not used.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    DeviceError
        The package is missing, or the device does not answer.
    """
    del opening
    settings = parse_table(PumpSettings, table.options, "pump.options")
    return _open(settings, lambda session: SensapexPump(session, settings, table))


def find() -> list[Found]:
    """List the manipulators and pressure controllers of the usual network, group 0.

    Nothing is sent by a computer that is not in that network.
    """
    source = source_address(ADDRESS)
    return find_at(ADDRESS, 0) if source is not None and source.is_link_local else []


def find_at(address: IPv4Address, group: int) -> list[Found]:
    """List the manipulators and pressure controllers of a network.

    Parameters
    ----------
    address, group
        See `NetworkSettings`.

    Raises
    ------
    DeviceError
        The package or the library is missing, another program uses the port, or the network fails.
    """
    session = Session.join(address, group)
    try:
        numbers = session.list_devices()
    finally:
        session.leave()
    return [found for number in numbers for found in _recognised(number)]


def _open(settings: NetworkSettings, make: Callable[[Session], Opened]) -> Opened:
    """Make a device in the session of its network, which is left again if that fails."""
    session = Session.join(settings.address, settings.group, settings.library)
    try:
        return make(session)
    except BaseException:
        session.leave()
        raise


def _recognised(number: int) -> list[Found]:
    """Tell a device by its number, which tells its kind; microscope stages are left out."""
    where, options = str(number), {"device": number}
    if number in _PUMPS:
        name = f"Sensapex pressure controller {number}"
        required = {"kpa_per_nl_s": "resistance of the pipette in kPa for 1 nL/s"}
        return [Found("pump", "sensapex", where, name, options, required=required)]
    if number < _STAGES.start or number in _MANIPULATOR_SERIALS:
        name = f"Sensapex manipulator {number}"
        required = {"z_down": "true if the z on the touch screen falls when the pipette rises"}
        return [Found("manipulator", "sensapex", where, name, options, required=required)]
    return []
