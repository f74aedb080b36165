"""Access to the features of a Basler camera by name; errors state what the camera refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from fgaf.acquire.devices import DeviceError
from fgaf.acquire.tables import vendor_module


class Features:
    """Reads and sets the features of an open camera.

    Parameters
    ----------
    device
        The `pypylon.pylon.InstantCamera`.
    name
        Model and serial number, for the errors.
    """

    def __init__(self, device: Any, name: str) -> None:
        self.device, self.name = device, name
        self._genicam = import_pypylon("pypylon.genicam")

    def require_present(self) -> None:
        """Raise an error if the camera was unplugged.

        Raises
        ------
        DeviceError
            It was unplugged.
        """
        if self.device.IsCameraDeviceRemoved():
            raise DeviceError(f"{self.name} was unplugged; plug it in and start again")

    def has(self, feature: str) -> bool:
        """Whether the camera has a feature that can be read."""
        node = self.device.GetNodeMap().GetNode(feature)
        return node is not None and bool(self._genicam.IsReadable(node))

    def known(self, *features: str) -> str | None:
        """Return the first of these features that the camera has: names differ by model."""
        return next((feature for feature in features if self.has(feature)), None)

    def first_of(self, *features: str) -> str:
        """Return the first of these features that the camera has.

        Raises
        ------
        DeviceError
            It has none of them.
        """
        if found := self.known(*features):
            return found
        raise DeviceError(f"{self.name} has none of the features {', '.join(features)}")

    def get(self, feature: str) -> Any:
        """Read a feature.

        Raises
        ------
        DeviceError
            The camera cannot read it.
        """
        with self.explained(f"cannot read {feature}"):
            return getattr(self.device, feature).Value

    def set(self, feature: str, value: bool | int | float | str) -> None:
        """Set a feature.

        Parameters
        ----------
        feature
            Its name.
        value
            Its new value.

        Raises
        ------
        DeviceError
            The camera refuses it.
        """
        with self.explained(f"refuses {feature} = {value}"):
            getattr(self.device, feature).Value = value

    def set_if_there(self, feature: str, value: int | str) -> None:
        """Set a feature if the camera has it and it can be set.

        Parameters
        ----------
        feature
            Its name.
        value
            Its new value.
        """
        node = self.device.GetNodeMap().GetNode(feature)
        if node is not None and self._genicam.IsWritable(node):
            self.set(feature, value)

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Convert pylon's errors inside the block to errors of one line.

        Parameters
        ----------
        what
            What the camera failed to do, as in "NAME cannot start".

        Raises
        ------
        DeviceError
            In place of pylon's error.
        """
        try:
            yield
        except self._genicam.GenericException as error:
            if self.device.IsCameraDeviceRemoved():
                raise DeviceError(
                    f"{self.name} was unplugged; plug it in and start again"
                ) from error
            raise DeviceError(f"{self.name} {what}: {one_line(error)}") from error


def import_pypylon(module: str) -> ModuleType:
    """Import a module of pypylon with its warnings off.

    Its generated code warns while it loads, and crashes the interpreter where a warning is an
    error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return vendor_module(module)


def one_line(text: object) -> str:
    """Join the lines of a text."""
    return " ".join(str(text).split())
