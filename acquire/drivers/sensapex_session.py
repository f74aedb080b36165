"""The session with the Sensapex devices of one network, which all of them share.

It is an object of the class `UMP` of the package `sensapex`, without the thread of that class: that
thread repeats a move up to five times when its end is missed, without asking what happened. After a
power failure, when the device counts from another zero, it would drive the pipette into the dish.
Moves are therefore sent once, and checked by the code that asked for them.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from ctypes import byref, c_int
from ipaddress import IPv4Address
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.tables import Table, vendor_module
from fgaf.base.bounds import Bound

_log = logging.getLogger(__name__)

_TRIES: Final = 2
_SENDINGS: Final = 3
"""Of one message by libum, until it is acknowledged."""
_PORT: Final = 55555
_MOST_DEVICES: Final = 50
_LISTEN_MS: Final = 200
_NO_ANSWER: Final = (-3, -5, -6)
"""Errors of libum: time-out, a message for somebody else, an incomplete reply.

When such a message arrives during its last two waits, it ends them with the second error.
"""
_REFUSED: Final = -7

ADDRESS: Final = IPv4Address("169.254.255.255")
"""Every device of the network, as they are delivered."""
Device = Annotated[int, Bound(1, 99_999_999)]
"""Number of a device as its touch screen shows it, or its serial number."""
BLANK: Final = BeforeValidator(lambda value: None if value != value else value)
"""Takes NaN, which `acq rig new` writes for what only a person knows, as not given."""


class NetworkSettings(Table):
    """The options of every Sensapex device.

    Attributes
    ----------
    device
        Its number, as `acq devices` lists it.
    address
        Address to which questions without a known receiver are sent.
    group
        Group of the devices, as set on their touch screen.
    library
        Path of Sensapex's library (`um.dll`), where the package `sensapex` has none.
    """

    device: Device
    address: IPv4Address = ADDRESS
    group: Annotated[int, Bound(0, 10)] = 0
    library: str | None = None


class Session:
    """An open session; made by `join`, and closed when every device has left it.

    Attributes
    ----------
    opened
        The open sessions of this process, by address and group.
    """

    opened: ClassVar[dict[tuple[IPv4Address, int], Session]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, address: IPv4Address, group: int, library: str | None) -> None:
        package = vendor_module("sensapex")
        if library is not None:
            package.UMP.set_library_path(library)
        _require_free_port(address, group)
        try:
            self._ump = package.UMP(
                address=str(address).encode(), group=group, start_poller=False, handle_atexit=False
            )
        except (OSError, AttributeError) as error:
            raise DeviceError(
                f"Sensapex's library cannot be loaded ({error}): download it from Sensapex and "
                "give its path as options.library"
            ) from error
        except RuntimeError as error:
            raise DeviceError(f"no session with Sensapex devices: {error}") from error
        self._error: type[Exception] = package.UMError
        self._where = f"{address}, group {group}"
        self._key = (address, group)
        self._members = 0

    @classmethod
    def join(cls, address: IPv4Address, group: int, library: str | None = None) -> Session:
        """Open the session of a network, or share the open one.

        Parameters
        ----------
        address, group, library
            See `NetworkSettings`.

        Raises
        ------
        DeviceError
            The package or the library is missing, or another program uses the port.
        """
        with cls._guard:
            session = cls.opened.get((address, group)) or Session(address, group, library)
            cls.opened[address, group] = session
            session._members += 1
        return session

    def leave(self) -> None:
        """Close the session, if no other device uses it."""
        with self._guard:
            self._members -= 1
            if not self._members:
                del self.opened[self._key]
                self._ump.close()

    def call(self, name: str, device: int, answer_s: float, function: str, *arguments: Any) -> int:
        """Call a function of libum, a second time if there is no answer.

        Nothing else is sent meanwhile, so that a repeated move cannot follow a stop.

        Parameters
        ----------
        name
            Name of the device, for errors.
        device
            Its number.
        answer_s
            Longest wait in seconds.
        function, arguments
            The function, and what it gets after the device.

        Returns
        -------
        int
            Its result, 0 or more.

        Raises
        ------
        DeviceError
            There is no answer, the device refuses, or the network fails.
        """
        wait_ms = max(1, round(1e3 * answer_s / (_TRIES * _SENDINGS)))
        with self._ump.lock:
            self._ump.call("um_set_timeout", c_int(wait_ms))
            for left in reversed(range(_TRIES)):
                try:
                    return int(self._ump.call(function, c_int(device), *arguments))
                except self._error as error:
                    if not left or getattr(error, "errno", None) not in _NO_ANSWER:
                        raise DeviceError(self._explain(name, error)) from error
                    _log.info("%s: %s fails, and is called again: %s", name, function, error)
        raise AssertionError  # the last try returns or raises

    def drive_status(self, device: int) -> int:
        """Read what the device last notified of its drive: 1 busy, 0 done, negative failed."""
        with self._ump.lock:
            return int(self._ump.lib.um_get_drive_status(self._ump.h, c_int(device)))

    def greet(self, name: str, device: int, answer_s: float) -> None:
        """Check that a device answers.

        Parameters
        ----------
        name, device, answer_s
            See `call`.

        Raises
        ------
        DeviceError
            It does not; the message lists the devices that do.
        """
        try:
            self.call(name, device, answer_s, "um_ping")
        except DeviceError as error:
            found = ", ".join(map(str, self.list_devices())) or "none"
            raise DeviceError(f"{error}; devices that answer there: {found}") from error

    def list_devices(self) -> list[int]:
        """Ask for the numbers of all devices.

        Raises
        ------
        DeviceError
            The network fails.
        """
        numbers = (c_int * _MOST_DEVICES)()
        with self._ump.lock:
            self._ump.call("um_set_timeout", c_int(_LISTEN_MS))
            try:
                found = self._ump.call("um_get_device_list", byref(numbers), c_int(_MOST_DEVICES))
            except self._error as error:
                raise DeviceError(self._explain("a Sensapex device", error)) from error
        return sorted(numbers[:found])

    def forget_addresses(self) -> None:
        """Search the devices anew with the next question; a restarted one may have moved."""
        self._ump.call("um_clear_device_list")

    def _explain(self, name: str, error: Exception) -> str:
        code = getattr(error, "errno", None)
        if code in _NO_ANSWER:
            return (
                f"{name} does not answer at {self._where}: check its power and cable, and "
                "options.device, options.address and options.group"
            )
        if code == _REFUSED:
            return f"{name} refuses ({error}); look at its touch screen"
        return f"{name} cannot be reached at {self._where} ({error}); check the network"


def source_address(address: IPv4Address) -> IPv4Address | None:
    """Find the address that this computer sends from; None where it has no way to `address`.

    Parameters
    ----------
    address
        Where to. Nothing is sent.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            trial.connect((str(address), _PORT))
        except OSError:
            return None
        return IPv4Address(trial.getsockname()[0])


def _require_free_port(address: IPv4Address, group: int) -> None:
    """Refuse to take the replies of another program; libum itself shares the port.

    Devices answer to a fixed port, and the system gives each reply only to the program that opened
    it last. Windows gives every program its own port. Loopback addresses are those of emulations.
    """
    own_port = sys.platform == "win32"
    if own_port or address.is_loopback:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind(("", _PORT + group))
        except OSError as error:
            raise DeviceError(
                f"the UDP port {_PORT + group} of Sensapex devices is in use ({error}): close the "
                "other program, or give all devices of the rig the same address"
            ) from error
