"""The part of a camera's sensor that is read out."""

from __future__ import annotations

from fgaf.acquire.tables import Table
from fgaf.base.bounds import OffsetPx, SensorPx


class Region(Table):
    """Part of the sensor that is read out, in pixels; rows first."""

    y: OffsetPx = 0
    x: OffsetPx = 0
    height: SensorPx
    width: SensorPx
