"""Ground truth of a simulated stack, stored beside it."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fgaf.base.bounds import (
    AngleRad,
    AnyCount,
    DistanceUm,
    PlacePx,
    PositionUm,
    TimeNs,
    first_fault,
)
from fgaf.base.errors import FormatError
from fgaf.base.files import write_text
from fgaf.base.inputs import parse_json, require_file
from fgaf.dataset.storage.sealed_json import seal_json, unseal_json

_STACK = ".stack.h5"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CellTruth(_Frozen):
    """Pose of one cell, or other object, in the middle of one exposure.

    Attributes
    ----------
    id
        The same number in every frame.
    kind
        "sperm", "tail" (one without a head), or another object ("debris", "cell", "pipette", ...).
    y_px, x_px
        Centre of the head in the frame, in pixels; may lie outside it.
    focus_um
        Drive position at which the head's centre is in focus, in µm.
    yaw_rad, pitch_rad, roll_rad
        Orientation: in the image plane, out of it, about the long axis.
    length_um, width_um
        Size of a sperm's head as the image plane shows it, along its yaw and across; None of other
        objects, and in files of before.
    """

    id: AnyCount
    kind: str
    y_px: PlacePx
    x_px: PlacePx
    focus_um: PositionUm
    yaw_rad: AngleRad = 0.0
    pitch_rad: AngleRad = 0.0
    roll_rad: AngleRad = 0.0
    length_um: DistanceUm | None = None
    width_um: DistanceUm | None = None


class FrameTruth(_Frozen):
    """All objects in the field at one exposure; `time_ns` as in the stack's time_host_ns."""

    time_ns: TimeNs
    cells: tuple[CellTruth, ...]


class StackTruth(_Frozen):
    """The truth of a raw stack, one entry per plane."""

    format: Literal["fgaf-truth"] = "fgaf-truth"
    format_version: Literal[1, 2, 3] = 3
    stack_uuid: str
    frames: tuple[FrameTruth, ...]


def truth_path(stack: Path) -> Path:
    """Path of the truth of ``NAME.stack.h5``: ``NAME.truth.json`` beside it."""
    return stack.with_name(stack.name.removesuffix(_STACK) + ".truth.json")


def write_truth(stack: Path, truth: StackTruth, overwrite: bool = False) -> Path:
    """Publish the truth beside its stack.

    Parameters
    ----------
    stack
        The stack's file.
    truth
        The simulation's ground truth.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    FgafError
        The file exists and `overwrite` is false, or cannot be written.
    """
    path = truth_path(stack)
    write_text(path, seal_json(truth.model_dump(mode="json")), overwrite)
    return path


def read_truth(stack: Path) -> StackTruth | None:
    """Read the truth beside a stack; None if there is none.

    Raises
    ------
    FormatError
        The file exists but is not the truth of a stack, or was altered.
    """
    path = truth_path(stack)
    if not path.exists():
        return None
    require_file(path)
    try:
        return StackTruth.model_validate(unseal_json(parse_json(path.read_bytes())))
    except ValidationError as error:
        problem = first_fault(error)
    except ValueError as error:
        problem = " ".join(str(error).split())
    raise FormatError(
        f"{path} is not a readable truth file ({problem}); delete it or take the stack again"
    )
