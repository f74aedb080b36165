"""One Micro-Manager core, shared by a drive and a camera; every wait for it is finite.

The core's calls have no time-out. They therefore run one by one on a thread of the session, and the
caller waits with a time-out; after a time-out the core is not called again, since it may be stuck.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any, Final, TypeVar

from pydantic import Field

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.tables import Property, Table, vendor_module
from fgaf.base.errors import SettingError

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_CALL_S: Final = 10.0
_LOADING_S: Final = 120.0


class Load(Table):
    """One device to load when there is no configuration file; hubs before their devices.

    Attributes
    ----------
    label
        Its label in the core.
    library, name
        Adapter library and device, as Micro-Manager's hardware wizard lists them; for a device
        written in Python its module and class.
    properties
        Properties set before it is initialized (a port, ...).
    """

    label: str
    library: str
    name: str
    properties: dict[str, Property] = Field(default_factory=dict)


class SessionSettings(Table):
    """Which devices the core has; part of the options of drive and camera.

    Attributes
    ----------
    config
        Micro-Manager's configuration file.
    load
        The devices, if there is no such file.
    micromanager
        Folder of the device adapters; by default that of the installation that pymmcore-plus
        finds.
    python_devices
        Use pymmcore-plus's experimental core, which also supports devices written in Python.
    """

    config: Path | None = None
    load: tuple[Load, ...] = ()
    micromanager: Path | None = None
    python_devices: bool = False


class Session:
    """An open core; closed when the last of its users releases it.

    Attributes
    ----------
    settings
        Its settings.
    core
        The `pymmcore_plus.CMMCorePlus`.

    Raises
    ------
    SettingError
        Neither a configuration file nor devices are given, or the file does not exist.
    DeviceError
        pymmcore-plus is missing, or a device cannot be loaded.
    """

    def __init__(self, settings: SessionSettings) -> None:
        if (settings.config is None) == (not settings.load):
            raise SettingError(
                "a Micro-Manager device needs either its configuration file (config) or the "
                "devices to load (load)"
            )
        if settings.config is not None and not settings.config.is_file():
            raise SettingError(f"there is no Micro-Manager configuration {settings.config}")
        self.settings = settings
        self._users = 1
        self._stuck = ""
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        module = _import_core(settings.python_devices)
        threading.Thread(target=self._serve, daemon=True, name="Micro-Manager core").start()
        self.core: Any = None
        try:
            self.core = self.call("start", lambda: _new_core(module, settings))
            self.call("load its devices", lambda: _load(self.core, settings), _LOADING_S)
            if _log.isEnabledFor(logging.INFO):
                _log.info("%s", self.call("give its version", self.core.getVersionInfo))
        except BaseException:
            with suppress(DeviceError):
                self.release()
            raise

    def share(self) -> Session:
        """Register one more user."""
        self._users += 1
        return self

    def release(self) -> None:
        """End one use; the last one unloads the devices.

        A core that is not closed can abort the interpreter at exit, through its callback thread;
        removing the callback ends that thread.
        """
        self._users -= 1
        if self._users:
            return
        try:
            if self.core is not None:
                self.call("unload its devices", lambda: _end(self.core))
        finally:
            self._calls.put(None)

    def call(self, what: str, function: Callable[[], Answer], timeout_s: float = _CALL_S) -> Answer:
        """Run a function on the session's thread and wait for its result.

        Parameters
        ----------
        what
            What it does, for the error: "Micro-Manager cannot WHAT".
        function
            Uses the core.
        timeout_s
            Longest wait in seconds.

        Raises
        ------
        DeviceError
            It failed or did not end in time, now or in an earlier call.
        """
        if self._stuck:
            raise DeviceError(
                f"Micro-Manager is blocked since its attempt to {self._stuck}; restart it"
            )
        answers: list[Answer] = []
        errors: list[Exception] = []
        ended = threading.Event()

        def run() -> None:
            try:
                answers.append(function())
            except Exception as error:  # adapters are external code and raise anything
                errors.append(error)
            finally:
                ended.set()

        self._calls.put(run)
        if not ended.wait(timeout_s):
            self._stuck = what
            _log.info("Micro-Manager is blocked: it was called to %s", what)
            raise DeviceError(
                f"Micro-Manager did not {what} within {timeout_s:g} s; check the device and "
                "restart it"
            )
        if errors:
            raise DeviceError(f"Micro-Manager cannot {what}: {_one_line(errors[0])}") from errors[0]
        return answers[0]

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _import_core(python_devices: bool) -> ModuleType:
    """Import the library without its logging settings.

    It turns on debug messages of all libraries, and prints errors that are raised anyway.
    """
    root = logging.getLogger()
    level = root.level
    name = "pymmcore_plus.experimental.unicore" if python_devices else "pymmcore_plus"
    module = vendor_module(name)
    root.setLevel(level)
    for handler in logging.getLogger("pymmcore-plus").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)
    return module


def _new_core(module: ModuleType, settings: SessionSettings) -> Any:
    kind = module.UniMMCore if settings.python_devices else module.CMMCorePlus
    return kind(mm_path=None if settings.micromanager is None else str(settings.micromanager))


def _load(core: Any, settings: SessionSettings) -> None:
    if settings.config is not None:
        core.loadSystemConfiguration(str(settings.config))
        return
    for device in settings.load:
        core.loadDevice(device.label, device.library, device.name)
        for name, value in device.properties.items():
            core.setProperty(device.label, name, value)
        core.initializeDevice(device.label)


def _end(core: Any) -> None:
    core.unloadAllDevices()
    vendor_module("pymmcore").CMMCore.registerCallback(core, None)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
