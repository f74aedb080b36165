"""How a rig is to be checked, and where its drive may go meanwhile."""

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
    """How a rig is checked.

    Attributes
    ----------
    half_range_um
        The drive stays within ± this of where it stands, and within the limits.
    step_um
        Distance of the planes that stacks will have: what the drive must be able to tell apart.
    seconds
        How long the camera runs as fast as it goes.
    folder
        Where stacks will be written; its disk is timed.
    disk_megabytes
        How much is written for that.
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
    """Where the drive may go during a check, in µm: all of it is inside the limits."""

    start_um: float
    low_um: float
    high_um: float
    limits_um: tuple[float, float]

    @classmethod
    def of(cls, devices: Devices, rig: Rig, plan: CheckPlan) -> Bounds:
        """Read where the drive stands and how far it may go; moves nothing.

        Parameters
        ----------
        devices
            The opened rig.
        rig
            Its limits are kept.
        plan
            How far the check would move, and in which steps.

        Raises
        ------
        SettingError
            It stands outside its limits, or too near to one, or the range is too small.
        """
        engine = Engine(devices, rig.camera, rig.stage)
        (low, high), start = engine.limits_um, engine.position_um()
        if not low <= start <= high:
            raise SettingError(
                f"the drive stands at {start:.3f} µm, outside its limits {low:g} to {high:g} µm; "
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
                f"the drive stands at {start:.3f} µm, less than {least:g} µm from its limit "
                f"({low:g} to {high:g} µm); move it away from there"
            )
        return cls(start, bottom, top, (low, high))

    def describe(self) -> str:
        """Say where the drive will move."""
        low, high = self.limits_um
        return (
            f"the drive will move between {self.low_um:.6g} and {self.high_um:.6g} µm (limits "
            f"{low:.6g} to {high:.6g} µm) and go back to {self.start_um:.6g} µm"
        )
