"""From focus drive and camera to one raw stack file.

Names are imported when first used, so that a command that needs few of them starts fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fgaf.acquire.devices import (
        Camera,
        Clock,
        DeviceError,
        Devices,
        Frame,
        IncompleteFrameError,
        RampStage,
        Stage,
        StreamingCamera,
        WallClock,
        XYStage,
    )
    from fgaf.acquire.engine import Engine, Exposure
    from fgaf.acquire.interrupt import Interrupt, InterruptError
    from fgaf.acquire.plan import StackPlan
    from fgaf.acquire.positions import Position, read_positions
    from fgaf.acquire.recording import Labels, Recorded, record_stacks, stack_paths
    from fgaf.acquire.rig import Opening, Rig, load_rig, open_rig
    from fgaf.acquire.sweep import Sweep, SweepSettings

_MODULES = {
    "devices": (
        "Camera",
        "Clock",
        "DeviceError",
        "Devices",
        "Frame",
        "IncompleteFrameError",
        "RampStage",
        "Stage",
        "StreamingCamera",
        "WallClock",
        "XYStage",
    ),
    "engine": ("Engine", "Exposure"),
    "interrupt": ("Interrupt", "InterruptError"),
    "plan": ("StackPlan",),
    "positions": ("Position", "read_positions"),
    "recording": ("Labels", "Recorded", "record_stacks", "stack_paths"),
    "rig": ("Opening", "Rig", "load_rig", "open_rig"),
    "sweep": ("Sweep", "SweepSettings"),
}

__all__ = [
    "Camera",
    "Clock",
    "DeviceError",
    "Devices",
    "Engine",
    "Exposure",
    "Frame",
    "IncompleteFrameError",
    "Interrupt",
    "InterruptError",
    "Labels",
    "Opening",
    "Position",
    "RampStage",
    "Recorded",
    "Rig",
    "StackPlan",
    "Stage",
    "StreamingCamera",
    "Sweep",
    "SweepSettings",
    "WallClock",
    "XYStage",
    "load_rig",
    "open_rig",
    "read_positions",
    "record_stacks",
    "stack_paths",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
