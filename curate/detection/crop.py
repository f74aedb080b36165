"""The planes of a stack for a cell, and the crops from them.

Crops are whole pixels of the raw frame around the head's centre in each plane. They are never
interpolated, because interpolation blurs, and blur is what is labelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fgaf.base.bounds import CropPx, HalfRangeUm, StepUm, require_bounded
from fgaf.base.errors import SettingError
from fgaf.curate.detection.scale import Floats

OFF_STACK: Final = "range leaves the stack"
AT_BORDER: Final = "cut by the border"


@dataclass(frozen=True)
class PatchSettings:
    """Size and depths of the crops of every cell.

    Attributes
    ----------
    patch_px
        Side of a crop, pixels.
    step_um, half_range_um
        Depths from -half range to +half range around the focus plane, in steps, µm of the drive.

    Raises
    ------
    SettingError
        A number is out of its bounds, or the half range is not a whole number of steps.
    """

    patch_px: CropPx = 96
    step_um: StepUm = 0.5
    half_range_um: HalfRangeUm = 2.0

    def __post_init__(self) -> None:
        require_bounded(self)
        steps = self.half_range_um / self.step_um
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
            raise SettingError(
                f"the half range {self.half_range_um:g} µm is not a whole number of steps of "
                f"{self.step_um:g} µm; take for example {max(1, round(steps)) * self.step_um:g}"
            )

    @property
    def steps(self) -> int:
        """Depths on either side of the focus plane."""
        return round(self.half_range_um / self.step_um)


def stride_of(settings: PatchSettings, raw_step_um: float, name: str) -> int:
    """Planes of the raw stack per step.

    Parameters
    ----------
    settings
        The step of the patches.
    raw_step_um
        Distance of the stack's planes, µm.
    name
        Name of the stack, for the error.

    Raises
    ------
    SettingError
        The step is not a whole multiple of the raw stack's step.
    """
    ratio = settings.step_um / raw_step_um
    if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-3:
        raise SettingError(
            f"a step of {settings.step_um:g} µm is not a multiple of the {raw_step_um:g} µm of "
            f"{name}; take --step {max(1, round(ratio)) * raw_step_um:g}"
        )
    return round(ratio)


def planes_round(
    focus_um: float, z_um: Floats, stride: int, steps: int
) -> npt.NDArray[np.intp] | None:
    """Planes at multiples of the stride from the focus plane; None if they leave the stack.

    Parameters
    ----------
    focus_um
        Position of the focus, µm.
    z_um
        (P,) position of each plane, µm, ascending.
    stride
        Planes from one patch to the next.
    steps
        Patches on each side of the focus.
    """
    middle = int(np.argmin(np.abs(z_um - focus_um)))
    if abs(z_um[middle] - focus_um) > np.median(np.diff(z_um)):
        return None
    planes = middle + stride * np.arange(-steps, steps + 1)
    return planes if planes[0] >= 0 and planes[-1] < len(z_um) else None


def corner_of(center: float, patch_px: int) -> int:
    """First row, or column, of a crop whose centre pixel is nearest to `center`.

    Parameters
    ----------
    center
        Row, or column, of the centre, pixels.
    patch_px
        Side of the crop, pixels.
    """
    return round(center) - patch_px // 2


def fits(
    y: Floats, x: Floats, planes: npt.NDArray[np.intp], patch_px: int, shape: tuple[int, int]
) -> bool:
    """Whether the crops of all planes lie inside the frame.

    Parameters
    ----------
    y, x
        (P,) centre of the cell in each plane of the stack, pixels.
    planes
        Numbers of the planes to cut.
    patch_px
        Side of a crop, pixels.
    shape
        Rows and columns of a frame.
    """
    return all(
        0 <= corner_of(float(center[plane]), patch_px) <= size - patch_px
        for center, size in ((y, shape[0]), (x, shape[1]))
        for plane in planes
    )


def crops(
    frames: Mapping[int, npt.NDArray[Any]],
    y: Floats,
    x: Floats,
    planes: npt.NDArray[np.intp],
    patch_px: int,
) -> npt.NDArray[Any]:
    """Cut the patches of one cell: (planes, S, S), pixels as in the raw frame.

    Parameters
    ----------
    frames
        Frames (Y, X) by number of the plane.
    y, x
        (P,) centre of the cell in each plane of the stack, pixels.
    planes
        Numbers of the planes to cut.
    patch_px
        S, pixels.
    """
    patches = []
    for plane in planes:
        top, left = (corner_of(float(center[plane]), patch_px) for center in (y, x))
        patches.append(frames[int(plane)][top : top + patch_px, left : left + patch_px])
    return np.stack(patches)
