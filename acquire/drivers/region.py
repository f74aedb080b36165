"""The part of a camera's sensor that is read out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fgaf.acquire.tables import Table

_Pixels = Annotated[int, Field(gt=0)]
_Offset = Annotated[int, Field(ge=0)]


class Region(Table):
    """Part of the sensor that is read out, in pixels; rows first."""

    y: _Offset = 0
    x: _Offset = 0
    height: _Pixels
    width: _Pixels
