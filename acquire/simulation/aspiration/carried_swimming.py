"""The motion of a cell that is carried: its own beat, around a mean path that the flow changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fgaf.acquire.simulation.swimming import Swimming


class Mean(NamedTuple):
    """Where a cell is on average over its beat, and where it heads.

    Attributes
    ----------
    y_um, x_um
        Place of the head, µm in the specimen.
    z_um
        Its height in drive µm.
    heading, lift
        Angles of its course in the image plane and out of it, rad.
    """

    y_um: float
    x_um: float
    z_um: float
    heading: float
    lift: float


@dataclass(frozen=True, kw_only=True)
class CarriedSwimming(Swimming):
    """A swimming whose mean path is given; until it is, the cell's own.

    Attributes
    ----------
    mean
        The mean path by time; None while the cell is not carried.
    """

    mean: Callable[[float], Mean | None]

    @classmethod
    def of(cls, way: Swimming, mean: Callable[[float], Mean | None]) -> CarriedSwimming:
        """The swimming of a cell that will be carried.

        Parameters
        ----------
        way
            Its own.
        mean
            See the attribute.
        """
        return cls(**vars(way), mean=mean)

    def path(self, time_s: float) -> tuple[float, float]:
        """Mean path (y, x) in µm, without the beat."""
        mean = self.mean(time_s)
        return super().path(time_s) if mean is None else mean[:2]

    def level(self, time_s: float) -> float:
        """Mean height in drive µm, without the beat."""
        mean = self.mean(time_s)
        return super().level(time_s) if mean is None else mean.z_um

    def heading(self, time_s: float) -> float:
        """Mean yaw."""
        mean = self.mean(time_s)
        return super().heading(time_s) if mean is None else mean.heading

    def lift(self, time_s: float) -> float:
        """Angle of the course above the image plane."""
        mean = self.mean(time_s)
        return super().lift(time_s) if mean is None else mean.lift
