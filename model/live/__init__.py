"""Depth at the microscope: every cell in view, frame by frame.

Names are imported when first used, so that a command that needs few of them starts fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fgaf.model.live.loop import Live, LiveSettings, live
    from fgaf.model.live.message import LiveCell, LiveFrame
    from fgaf.model.live.outlets import Done, Outlets
    from fgaf.model.live.tracker import TrackSettings

_MODULES = {
    "loop": ("Live", "LiveSettings", "live"),
    "message": ("LiveCell", "LiveFrame"),
    "outlets": ("Done", "Outlets"),
    "tracker": ("TrackSettings",),
}

__all__ = [
    "Done",
    "Live",
    "LiveCell",
    "LiveFrame",
    "LiveSettings",
    "Outlets",
    "TrackSettings",
    "live",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
