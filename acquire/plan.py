"""The z positions of a stack."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from fgaf.acquire.units import whole
from fgaf.base.bounds import (
    HalfRangeUm,
    Planes,
    PositionUm,
    StepUm,
    require,
    require_bounded,
)
from fgaf.base.console import count
from fgaf.base.errors import SettingError

_WHOLE = 1e-6
_SAME_UNIT = 0.01
_SHOWN = 21


@dataclass(frozen=True)
class StackPlan:
    """Equally spaced planes around a centre, counted from the lowest.

    Plane k of n lies at ``center_um + (k - (n - 1) / 2) * step_um``: computed from the integer, so
    that rounding errors do not add up.

    Attributes
    ----------
    step_um
        Distance of neighbouring planes, in µm, above 0.
    half_range_um
        Distance of the outermost planes from the centre, in µm: a whole number of steps.
    center_um
        Drive position of the middle plane, in µm.
    between
        Whether the centre lies between two planes: their number is then even, and the half range
        half a step more than a whole number of steps. See `spanning`.
    downwards
        Whether the planes are taken from the highest to the lowest; each is still approached from
        below.

    Raises
    ------
    SettingError
        A number is out of its bounds, there are too many planes, or the range is not a multiple of
        the step.

    Examples
    --------
    >>> list(StackPlan(step_um=0.5, half_range_um=1.0, center_um=10.0))
    [9.0, 9.5, 10.0, 10.5, 11.0]
    """

    step_um: StepUm
    half_range_um: HalfRangeUm
    center_um: PositionUm = 0.0
    between: bool = False
    downwards: bool = False

    def __post_init__(self) -> None:
        require_bounded(self)
        require(Planes, len(self), "planes")
        steps = self.half_range_um / self.step_um - 0.5 * self.between
        if abs(steps - round(steps)) > _WHOLE * max(1.0, steps):
            below, above = (
                f"±{count * self.step_um:.6g}" for count in (math.floor(steps), math.ceil(steps))
            )
            raise SettingError(
                f"a range of ±{self.half_range_um:g} µm is not a whole number of steps of "
                f"{self.step_um:g} µm; the nearest that fit: {below} and {above} µm"
            )

    @classmethod
    def spanning(
        cls, step_um: float, low_um: float, high_um: float, *, downwards: bool = False
    ) -> StackPlan:
        """Plan the planes from one z to another; their number may be even.

        Parameters
        ----------
        step_um
            Distance of neighbouring planes, in µm.
        low_um, high_um
            The lowest and the highest plane, in µm: a whole number of steps apart.
        downwards
            See `StackPlan`.

        Raises
        ------
        SettingError
            A number is out of its bounds, they do not ascend, or their distance is not a multiple
            of the step.

        Examples
        --------
        >>> list(StackPlan.spanning(0.5, 10.0, 11.5))
        [10.0, 10.5, 11.0, 11.5]
        """
        for name, value in (("low_um", low_um), ("high_um", high_um)):
            require(PositionUm, value, name)
        if low_um > high_um:
            raise SettingError(
                f"planes from {low_um:g} to {high_um:g} µm: give the lower end first, and "
                "--downwards to begin at the upper one"
            )
        cls(step_um, 0.0)  # refuses the step
        steps = (high_um - low_um) / step_um
        if abs(steps - round(steps)) > _WHOLE * max(1.0, steps):
            below, above = (
                f"{low_um + count * step_um:.6g}" for count in (math.floor(steps), math.ceil(steps))
            )
            raise SettingError(
                f"from {low_um:g} to {high_um:g} µm is not a whole number of steps of {step_um:g} "
                f"µm; the nearest that fit: from {low_um:g} to {below} and to {above} µm"
            )
        half_range_um = round(steps) * step_um / 2
        odd = round(steps) % 2 == 1
        return cls(step_um, half_range_um, low_um + half_range_um, odd, downwards)

    def __len__(self) -> int:
        return round(2 * self.half_range_um / self.step_um) + 1

    def __iter__(self) -> Iterator[float]:
        return (self.z_um(plane) for plane in range(len(self)))

    def z_um(self, plane: int) -> float:
        """Drive position of plane `plane` (0 is the lowest), in µm."""
        return self.center_um + (plane - (len(self) - 1) / 2) * self.step_um

    @property
    def order(self) -> Sequence[int]:
        """Indices of the planes in the order they are taken."""
        planes = range(len(self))
        return planes[::-1] if self.downwards else planes

    def about(self, center_um: float) -> StackPlan:
        """Return the same planes around another centre."""
        return replace(self, center_um=center_um)

    def check_limits(
        self, limits_um: tuple[float, float], approach_um: float = 0.0, overrun_um: float = 0.0
    ) -> None:
        """Refuse a plan that would leave the drive's limits.

        Parameters
        ----------
        limits_um
            Lowest and highest z allowed.
        approach_um
            How far the drive goes below the first plane, to arrive from below.
        overrun_um
            How far it goes above the last plane, to pass it at full speed.

        Raises
        ------
        SettingError
            A plane or the approach is outside; the message says which, and what is possible.
        """
        low, high = limits_um
        first, last = self.z_um(0), self.z_um(len(self) - 1)
        if low <= first - approach_um and last + overrun_um <= high:
            return
        lowest = low + approach_um + self.half_range_um
        highest = high - overrun_um - self.half_range_um
        advice = (
            f"choose a centre from {lowest:g} to {highest:g} µm"
            if lowest <= highest
            else "choose a smaller range"
        )
        beyond = f" and passed up to {last + overrun_um:g} µm" if overrun_um else ""
        raise SettingError(
            f"planes from {first:g} to {last:g} µm, approached from {first - approach_um:g} µm"
            f"{beyond}, leave the drive's limits {low:g} to {high:g} µm; {advice}"
        )

    def check_tolerance(self, tolerance_um: float, advice: str) -> None:
        """Refuse a tolerance that could confuse neighbouring planes.

        Parameters
        ----------
        tolerance_um
            Largest distance of an exposure from its plane.
        advice
            Begins the advice: "set stage.tolerance_um".

        Raises
        ------
        SettingError
            It is half a step or more.
        """
        if tolerance_um >= self.step_um / 2:
            raise SettingError(
                f"a tolerance of {tolerance_um:g} µm is too large for planes {self.step_um:g} µm "
                f"apart; {advice} below {self.step_um / 2:g}"
            )

    def check_unit(self, unit_um: float, advice: str) -> None:
        """Refuse planes that would be uneven on a drive that counts in whole units.

        Parameters
        ----------
        unit_um
            Size of the drive's unit, in µm.
        advice
            An alternative, at the end of the message.

        Raises
        ------
        SettingError
            Neighbouring planes would not be one step apart; the message names the nearest steps.
        """
        units = self.step_um / unit_um
        steps = {after - before for before, after in pairwise(whole(z / unit_um) for z in self)}
        if all(abs(each - units) <= _SAME_UNIT for each in steps):
            return
        apart = " and ".join(f"{each * unit_um:.6g}" for each in sorted(steps))
        fitting = {math.floor(units), math.ceil(units)} - {0}
        nearest = " and ".join(f"{each * unit_um:.6g}" for each in sorted(fitting))
        raise SettingError(
            f"a step of {self.step_um:g} µm is not a multiple of the drive's unit of {unit_um:g} "
            f"µm: planes would lie {apart} µm apart; the nearest that fit: {nearest} µm{advice}"
        )

    def describe(self) -> str:
        """List the planes in one line; if there are many, the first and the last."""
        shown = [f"{z:.6g}" for z in self]
        if len(shown) > _SHOWN:
            shown[3:-1] = ["..."]
        planes = ", ".join(shown)
        return (
            f"{count(len(self), 'plane')}, {self.step_um:g} µm apart, ±{self.half_range_um:g} µm "
            f"({2 * self.half_range_um:g} µm in total): z = {planes} µm"
            f"{', the highest first' if self.downwards else ''}"
        )
