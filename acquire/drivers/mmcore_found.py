"""Micro-Manager's configuration files on this computer, without loading any device."""

from __future__ import annotations

from pathlib import Path

from fgaf.acquire.discovery import Found
from fgaf.acquire.tables import vendor_module


def find() -> list[Found]:
    """List every configuration of the installed Micro-Managers, as camera, drive and x/y stage.

    Other folders are not searched: give the path as ``config`` in the rig's options.
    """
    folders = vendor_module("pymmcore_plus").find_micromanager(return_first=False)
    return [
        Found(
            kind=kind,
            driver="mmcore",
            where=path.stem,
            name=f"Micro-Manager configuration {path.name}",
            options={"config": str(path)},
        )
        for folder in folders
        for path in sorted(Path(folder).glob("*.cfg"))
        for kind in ("camera", "stage", "xy stage")
    ]
