"""The part of pypylon that the driver uses, for what Basler's emulator cannot do.

A scripted camera delivers one `Shot` per software trigger: block numbers with gaps, time stamps,
removal in the middle of a wait.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest


class GenericException(Exception):  # noqa: N818
    """Mother of all errors of GenICam."""


@dataclass(frozen=True)
class Shot:
    """What one trigger leads to.

    Attributes
    ----------
    block
        Block number; None: no frame ever comes.
    shape
        Shape of the array delivered.
    removed
        The camera is gone by the time the driver asks for the frame.
    raises
        The trigger itself fails with this text.
    """

    block: int | None = 0
    stamp: int = 0
    shape: tuple[int, int] = (4, 6)
    succeeded: bool = True
    removed: bool = False
    raises: str = ""


@dataclass
class Feature:
    """A feature of the camera."""

    Value: Any
    Max: int = 0
    writable: bool = True


class Result:
    """A grab result; its memory is used again after `Release`."""

    def __init__(self, shot: Shot | None) -> None:
        self._shot = shot
        self.released = False
        self.memory = np.full(shot.shape, 77, np.uint8) if shot else np.empty((0, 0), np.uint8)

    def IsValid(self) -> bool:  # noqa: N802
        return self._shot is not None

    def GrabSucceeded(self) -> bool:  # noqa: N802
        return self._shot.succeeded

    def GetErrorCode(self) -> int:  # noqa: N802
        return 0xE1000014

    def GetErrorDescription(self) -> str:  # noqa: N802
        return "The buffer was\nincompletely grabbed."

    def GetBlockID(self) -> int:  # noqa: N802
        return self._shot.block

    def GetTimeStamp(self) -> int:  # noqa: N802
        return self._shot.stamp

    def GetArray(self) -> np.ndarray:  # noqa: N802
        assert self._shot.succeeded, "a failed result has no image"
        return self.memory

    def Release(self) -> None:  # noqa: N802
        self.released = True
        self.memory[...] = 0


@dataclass
class FakeCamera:
    """A camera that plays its shots, one per trigger.

    Attributes
    ----------
    in_use
        Opening fails, as when another program holds the camera.
    ready
        Whether the camera ever waits for a trigger.
    features, fixed
        Its features besides the usual ones (None takes one away), and those that cannot be set.
    """

    shots: list[Shot] = field(default_factory=list)
    device_class: str = "BaslerUsb"
    serial_number: str = "24000001"
    in_use: bool = False
    ready: bool = True
    features: dict[str, Any] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        common = {"PixelFormat": "Mono8", "ExposureTime": 0.0, "OffsetX": 9, "OffsetY": 9}
        common |= {"TriggerMode": "On", "MaxNumBuffer": 10}
        self.nodes = {name: Feature(value) for name, value in (common | self.features).items()}
        self.nodes = {name: node for name, node in self.nodes.items() if node.Value is not None}
        for name in self.fixed:
            self.nodes[name].writable = False
        self.nodes |= {"Height": Feature(1, 4), "Width": Feature(1, 6)}
        self.results: list[Result] = []
        self.calls: list[str] = []
        self.removed = self.grabbing = False
        self._shot: Shot | None = None

    def __getattr__(self, name: str) -> Feature:
        nodes = self.__dict__.get("nodes", {})
        if name not in nodes:
            raise AttributeError(name)
        return nodes[name]

    def GetDeviceInfo(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(
            GetModelName=lambda: "acA1920-40um",
            GetSerialNumber=lambda: self.serial_number,
            GetDeviceClass=lambda: self.device_class,
        )

    def GetNodeMap(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(GetNode=self.nodes.get)

    def RegisterConfiguration(self, *_: Any) -> None:  # noqa: N802
        self.calls.append("configuration")

    def Open(self) -> None:  # noqa: N802
        self.calls.append("open")
        if self.in_use:
            raise GenericException("The device is controlled\nby another application.")

    def Close(self) -> None:  # noqa: N802
        self.calls.append("close")

    def IsGrabbing(self) -> bool:  # noqa: N802
        return self.grabbing

    def StartGrabbing(self, strategy: str) -> None:  # noqa: N802
        assert strategy in ("one by one", "latest image only")
        self.grabbing = True

    def StopGrabbing(self) -> None:  # noqa: N802
        self.grabbing = False

    def CanWaitForFrameTriggerReady(self) -> bool:  # noqa: N802
        return True

    def WaitForFrameTriggerReady(self, ms: int, handling: str) -> bool:  # noqa: N802
        assert handling == "return"
        assert 0 < ms < 1000
        return self.ready

    def ExecuteSoftwareTrigger(self) -> None:  # noqa: N802
        self._shot = self.shots.pop(0)
        if self._shot.raises:
            self.removed = self._shot.removed
            raise GenericException(self._shot.raises)

    def RetrieveResult(self, ms: int, handling: str) -> Result:  # noqa: N802
        assert handling == "return"
        assert 0 <= ms < 1000
        if self.nodes["TriggerMode"].Value == "Off":
            self._shot = self.shots.pop(0) if self.shots else Shot(None)
        self.removed = self._shot.removed
        delivered = self._shot if self._shot.block is not None else None
        self.results.append(Result(delivered))
        return self.results[-1]

    def IsCameraDeviceRemoved(self) -> bool:  # noqa: N802
        return self.removed


def install(monkeypatch: pytest.MonkeyPatch, *cameras: FakeCamera) -> None:
    """Put the fake in pypylon's place, with these cameras attached."""
    infos = [camera.GetDeviceInfo() for camera in cameras]
    factory = SimpleNamespace(
        EnumerateDevices=lambda: infos, CreateDevice=lambda info: cameras[infos.index(info)]
    )
    pylon = ModuleType("pypylon.pylon")
    vars(pylon).update(
        TlFactory=SimpleNamespace(GetInstance=lambda: factory),
        InstantCamera=lambda device: device,
        SoftwareTriggerConfiguration=lambda: "software trigger",
        RegistrationMode_ReplaceAll="replace all",
        Cleanup_Delete="delete",
        GrabStrategy_OneByOne="one by one",
        GrabStrategy_LatestImageOnly="latest image only",
        TimeoutHandling_Return="return",
        GetPylonVersionString=lambda: "12.4",
    )
    genicam = ModuleType("pypylon.genicam")
    vars(genicam).update(
        GenericException=GenericException,
        IsReadable=lambda node: isinstance(node, Feature),
        IsWritable=lambda node: isinstance(node, Feature) and node.writable,
    )
    package = ModuleType("pypylon")
    monkeypatch.setitem(sys.modules, "pypylon", package)
    monkeypatch.setitem(sys.modules, "pypylon.pylon", pylon)
    monkeypatch.setitem(sys.modules, "pypylon.genicam", genicam)
