"""Metadata of a raw stack."""

import uuid
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from fgaf.base.bounds import AnyCount, BitDepth, HalfRangeUm, PositionUm, StepUm
from fgaf.dataset.storage.header import new_header
from fgaf.dataset.storage.optics import Optics


class RawHeader(BaseModel):
    """Metadata of a raw stack.

    Attributes
    ----------
    uuid, created_utc, software
        Identity, ISO 8601 time and program version of the recording.
    step_um, half_range_um, center_um
        The plan: planes from centre - half range to centre + half range, in drive µm.
    planned_planes
        Number of planes in the plan; larger than that of the file if `complete` is false.
    optics
        Optics, None where unknown.
    bit_depth
        Significant bits of a pixel.
    sample_id, operator
        Free text of the laboratory; empty when not given.
    field
        Name of the field of view. Stacks of one field share it; empty for a field of its own.
    position_x_um, position_y_um
        Position on the specimen, by the x/y stage; None if unknown.
    camera, stage, rig
        Names of the devices, and the rig's TOML as read.
    device_settings
        Settings of camera and drive, read back, as JSON with an object for each; empty if they
        report none.
    complete
        False for the recovered part of a broken run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uuid: str
    created_utc: str
    software: str
    step_um: StepUm
    half_range_um: HalfRangeUm
    center_um: PositionUm
    planned_planes: AnyCount = 0
    optics: Optics = Optics()
    bit_depth: BitDepth
    sample_id: str = ""
    operator: str = ""
    field: str = ""
    position_x_um: PositionUm | None = None
    position_y_um: PositionUm | None = None
    camera: str = ""
    stage: str = ""
    rig: str = ""
    device_settings: str = ""
    complete: bool = True

    @classmethod
    def new(cls, **fields: Any) -> Self:
        """Make a header with a new identity and the current time, as `new_header`."""
        return new_header(cls, uuid=str(uuid.uuid4()), **fields)
