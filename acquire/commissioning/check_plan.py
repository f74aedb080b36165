"""Settings of a rig check, and the allowed range of its drive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fgaf.acquire.control.engine import Engine
from fgaf.acquire.devices import Devices
from fgaf.acquire.rig import Rig
from fgaf.base.bounds import Bound, DurationS, HalfRangeUm, StepUm, require_bounded
from fgaf.base.errors import SettingError

_LEAST_STEPS = 3


@dataclass(frozen=True)
class CheckPlan:
    """Settings of a rig check.

    Attributes
    ----------
    half_range_um
        The drive stays within ± this of its position, and within the limits.
    step_um
        Planned distance of planes, which the drive must resolve.
    seconds
        How long the camera runs at full speed.
    folder
        Folder for stacks; its disk is timed.
    disk_megabytes
        Amount of data written for that.
    """

    half_range_um: HalfRangeUm = 5.0
    step_um: StepUm = 0.5
    seconds: DurationS = 10.0
    folder: Path = Path()
    disk_megabytes: Annotated[int, Bound(1, 10**6, "MB")] = 64

    def __post_init__(self) -> None:
        require_bounded(self)


@dataclass(frozen=True)
class Bounds:
    """Range of the drive during a check, µm, inside the limits."""

    start_um: float
    low_um: float
    high_um: float
    limits_um: tuple[float, float]

    @classmethod
    def of(cls, devices: Devices, rig: Rig, plan: CheckPlan) -> Bounds:
        """Read the drive's position and compute its range; moves nothing.

        Parameters
        ----------
        devices
            The opened rig.
        rig
            Gives the limits.
        plan
            Range and steps of the check.

        Raises
        ------
        SettingError
            The drive is outside its limits or too close to one, or the range is too small.
        """
        engine = Engine(devices, rig.camera, rig.stage)
        (low, high), start = engine.limits_um, engine.position_um()
        if not low <= start <= high:
            raise SettingError(
                f"the drive is at {start:.3f} µm, outside its limits {low:g} to {high:g} µm; "
                "move it inside or correct stage.limits_um"
            )
        least = _LEAST_STEPS * plan.step_um
        if plan.half_range_um < least:
            raise SettingError(
                f"a range of ±{plan.half_range_um:g} µm is too small for steps of "
                f"{plan.step_um:g} µm; give --range {least:g} or more, or a smaller --step"
            )
        bottom, top = max(low, start - plan.half_range_um), min(high, start + plan.half_range_um)
        if min(start - bottom, top - start) < least - 1e-9:
            raise SettingError(
                f"the drive is at {start:.3f} µm, less than {least:g} µm from its limit "
                f"({low:g} to {high:g} µm); move it away from the limit"
            )
        return cls(start, bottom, top, (low, high))

    def describe(self) -> str:
        """Describe the moves of the drive."""
        low, high = self.limits_um
        return (
            f"the drive will move between {self.low_um:.6g} and {self.high_um:.6g} µm (limits "
            f"{low:.6g} to {high:.6g} µm) and go back to {self.start_um:.6g} µm"
        )
