"""Ground truth of a simulated stack, stored beside it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from fgaf.base.bounds import (
    AngleRad,
    DistanceUm,
    Identity,
    PlacePx,
    PositionUm,
    TimeNs,
    first_fault,
)
from fgaf.base.errors import FormatError, SettingError
from fgaf.base.files import write_text
from fgaf.base.inputs import parse_json, require_file
from fgaf.dataset.storage.outlines import fill
from fgaf.dataset.storage.sealed_json import seal_json, unseal_json

MIRRORED, HIDDEN = "mirrored", "hidden"
"""Kinds of heads in a field whose border is mirrored: the second image of a sperm, and a head whose
centre is not seen, or that image of it. Other objects keep only their first."""
_STACK = ".stack.h5"
_MOST_HEADS = 2**16 - 1

Outline = tuple[tuple[PlacePx, PlacePx], ...]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CellTruth(_Frozen):
    """Pose of one cell, or other object, in the middle of one exposure.

    Attributes
    ----------
    id
        The same number in every frame.
    kind
        "sperm", "tail" (one without a head), `MIRRORED`, `HIDDEN`, or another object ("debris",
        "cell", "pipette", ...).
    y_px, x_px
        Centre of the head in the frame, in pixels; may lie outside it.
    focus_um
        Drive position at which the head's centre is in focus, in µm.
    yaw_rad, pitch_rad, roll_rad
        Orientation: in the image plane, out of it, about the long axis.
    length_um, width_um
        Size of a sperm's head as the image plane shows it, along its yaw and across; None of other
        objects, and in files of before.
    outline_px
        Corners (y, x) of a head's outline in the frame, in pixels, where the simulation was asked
        for them; the outline may reach outside the frame.
    """

    id: Identity
    kind: str
    y_px: PlacePx
    x_px: PlacePx
    focus_um: PositionUm
    yaw_rad: AngleRad = 0.0
    pitch_rad: AngleRad = 0.0
    roll_rad: AngleRad = 0.0
    length_um: DistanceUm | None = None
    width_um: DistanceUm | None = None
    outline_px: Outline = ()


class FrameTruth(_Frozen):
    """All objects in the field at one exposure; `time_ns` as in the stack's time_host_ns."""

    time_ns: TimeNs
    cells: tuple[CellTruth, ...]


class StackTruth(_Frozen):
    """The truth of a raw stack, one entry per plane."""

    format: Literal["fgaf-truth"] = "fgaf-truth"
    format_version: Literal[1, 2, 3, 4] = 4
    stack_uuid: str
    frames: tuple[FrameTruth, ...]


def as_outline(corners: ArrayLike) -> Outline:
    """Round corners (N, 2) to a hundredth of a pixel, as they are stored.

    Parameters
    ----------
    corners
        (N, 2) places (y, x), pixels.
    """
    return tuple((y, x) for y, x in np.round(np.asarray(corners, float), 2).tolist())


def head_masks(cells: Iterable[CellTruth], shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Draw all heads of a field as a labelled mask.

    A pixel belongs to a head if at least half of it lies inside the outline. Where heads overlap,
    the one listed last is on top. Heads that are out of focus, or that another object covers, are
    drawn too.

    Parameters
    ----------
    cells
        The truth of the field, with outlines: `FrameTruth.cells`, or what `Scene.expose` gives, of
        a simulation with the setting `outlines`.
    shape
        (Y, X) of the frame.

    Returns
    -------
    (Y, X) uint16
        0 background; for the sperm with id k the number k + 1, the same in every plane; higher
        numbers for the heads of the kinds `MIRRORED` and `HIDDEN`. ``> 0`` are all heads.

    Raises
    ------
    SettingError
        A sperm has no outline, or there are more than 65,535 heads.

    Examples
    --------
    >>> square = ((1.0, 1.0), (1.0, 3.0), (3.0, 3.0), (3.0, 1.0))
    >>> cell = CellTruth(id=4, kind="sperm", y_px=2, x_px=2, focus_um=0, outline_px=square)
    >>> head_masks([cell], (5, 5))[2].tolist()
    [0, 5, 5, 5, 0]
    """
    cells = list(cells)
    if any(cell.kind == "sperm" and not cell.outline_px for cell in cells):
        raise SettingError(
            "the truth has no outlines of heads; simulate with `acq stack --masks` or the setting "
            "outlines"
        )
    heads = [cell for cell in cells if cell.outline_px]
    copies = max((cell.id for cell in cells), default=0) + 2
    numbers = [
        cell.id + 1 if cell.kind == "sperm" else copies + place for place, cell in enumerate(heads)
    ]
    if max(numbers, default=0) > _MOST_HEADS:
        raise SettingError(f"a mask numbers up to {_MOST_HEADS} heads; take a smaller field")
    labels = np.zeros(shape, np.uint16)
    for cell, number in zip(heads, numbers, strict=True):
        fill(labels, cell.outline_px, number)
    return labels


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
