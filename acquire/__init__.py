"""From z drive and camera to one raw stack file."""

from fgaf.acquire.devices import (
    Camera,
    Clock,
    DeviceError,
    Devices,
    Frame,
    Stage,
    WallClock,
)

__all__ = ["Camera", "Clock", "DeviceError", "Devices", "Frame", "Stage", "WallClock"]
