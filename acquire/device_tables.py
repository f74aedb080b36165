"""The tables of a rig that describe its devices: which driver, its limits, its options."""

from __future__ import annotations

import math
from typing import Any, Self

from pydantic import Field, model_validator

from fgaf.acquire.devices import LimitsXY, LimitsXYZ
from fgaf.acquire.tables import Table
from fgaf.base.bounds import (
    AnyCount,
    DistanceUm,
    ExposureMs,
    FlowNlS,
    LimitUm,
    PollMs,
    PositionUm,
    SpeedUmS,
    TimeoutS,
    ToleranceUm,
    ValidS,
    WaitMs,
)

UNLIMITED = (-math.inf, math.inf)


class CameraTable(Table):
    """The camera.

    Attributes
    ----------
    driver
        Name of the driver, as `acq devices` lists it.
    exposure_ms
        Exposure time.
    timeout_s
        Longest wait for a frame after its exposure.
    retries
        Number of repeated exposures of an incomplete frame before it is an error.
    allow_identical
        Accept two identical successive frames; else they count as one frame delivered twice.
    options
        Further options of this driver.
    """

    driver: str
    exposure_ms: ExposureMs = 5.0
    timeout_s: TimeoutS = 2.0
    retries: AnyCount = 2
    allow_identical: bool = False
    options: dict[str, Any] = Field(default_factory=dict)


class StageTable(Table):
    """The focus drive.

    Attributes
    ----------
    driver
        Name of the driver, as `acq devices` lists it.
    limits_um
        Lowest and highest z allowed, within the limits of the device, which are the default.
        ``[nan, nan]`` is a blank that must be filled in before the rig can be opened.
    approach_um
        Every plane is approached from below; a downward move first goes lower by this distance.
        Larger than the drive's backlash.
    tolerance_um
        Largest distance between the requested position and the one read back.
    settle_ms
        Rest between arrival and exposure.
    poll_ms
        Interval between two queries whether the drive still moves.
    timeout_s
        Longest time for one move.
    options
        Further options of this driver (a port, ...).
    """

    driver: str
    limits_um: tuple[LimitUm, LimitUm] | None = None
    approach_um: DistanceUm = 2.0
    tolerance_um: ToleranceUm = 0.1
    settle_ms: WaitMs = 20.0
    poll_ms: PollMs = 0.2
    timeout_s: TimeoutS = 10.0
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _limits_ascend(self) -> Self:
        if not self.limits_blank:
            _require_ascending(self, "limits_um")
        return self

    @property
    def limits_blank(self) -> bool:
        """Whether the limits are still to be filled in."""
        return self.limits_um is not None and all(map(math.isnan, self.limits_um))


class XYStageTable(Table):
    """The stage that moves the specimen in x and y.

    Attributes
    ----------
    driver
        Name of the driver, as `acq devices` lists it; by default that of the focus drive.
    x_limits_um, y_limits_um
        Lowest and highest x and y allowed, within those of the device.
    tolerance_um
        Largest distance in x and in y between a requested position and the one read back.
    poll_ms
        Interval between two queries whether the stage still moves.
    timeout_s
        Longest time for one move.
    velocity_valid_s
        A velocity that is not repeated within this time ends in a stop.
    highest_velocity_um_s
        Highest velocity along each axis.
    options
        Further options of this driver. Without a port or a configuration of its own, the stage is
        that of the focus drive's controller.
    """

    driver: str | None = None
    x_limits_um: tuple[PositionUm, PositionUm] | None = None
    y_limits_um: tuple[PositionUm, PositionUm] | None = None
    tolerance_um: ToleranceUm = 2.0
    poll_ms: PollMs = 5.0
    timeout_s: TimeoutS = 30.0
    velocity_valid_s: ValidS = 0.25
    highest_velocity_um_s: SpeedUmS = 1000.0
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _limits_ascend(self) -> Self:
        _require_ascending(self, "x_limits_um", "y_limits_um")
        return self

    @property
    def limits_xy_um(self) -> LimitsXY:
        """Both limits, infinite where the rig gives none."""
        return self.x_limits_um or UNLIMITED, self.y_limits_um or UNLIMITED


class ManipulatorTable(Table):
    """The manipulator that holds the micropipette.

    Nothing moves without limits in x and y, and without a floor.

    Attributes
    ----------
    driver
        Name of the driver, as `acq devices` lists it.
    x_limits_um, y_limits_um, z_limits_um
        Lowest and highest position allowed along each axis of the manipulator, within those of the
        device; z grows away from the dish.
    floor_um
        Lowest z that the manipulator may be sent to, so that the tip never touches the dish: the
        tip's outer radius, and a margin, over the z at which it would touch.
    retreat_um
        How far the pipette is raised at the end and after an error.
    highest_speed_um_s
        Highest speed of a move.
    tolerance_um
        Largest distance along each axis between a requested position and the one read back.
    poll_ms
        Interval between two queries whether the manipulator still moves.
    timeout_s
        Longest time for one move.
    options
        Further options of this driver.
    """

    driver: str
    x_limits_um: tuple[PositionUm, PositionUm] | None = None
    y_limits_um: tuple[PositionUm, PositionUm] | None = None
    z_limits_um: tuple[PositionUm, PositionUm] | None = None
    floor_um: PositionUm | None = None
    retreat_um: DistanceUm = 100.0
    highest_speed_um_s: SpeedUmS = 200.0
    tolerance_um: ToleranceUm = 0.5
    poll_ms: PollMs = 5.0
    timeout_s: TimeoutS = 30.0
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _limits_ascend(self) -> Self:
        _require_ascending(self, "x_limits_um", "y_limits_um", "z_limits_um")
        if None not in (self.floor_um, self.z_limits_um):
            _, high = self.limits_xyz_um[2]
            if not self.floor_um < high:  # type: ignore[operator]
                raise ValueError("floor_um must lie below the upper end of z_limits_um")
        return self

    @property
    def limits_xyz_um(self) -> LimitsXYZ:
        """Limits along the three axes, infinite where the rig gives none; z without the floor."""
        return (
            self.x_limits_um or UNLIMITED,
            self.y_limits_um or UNLIMITED,
            self.z_limits_um or UNLIMITED,
        )


class PumpTable(Table):
    """The pump that draws liquid into the micropipette.

    Attributes
    ----------
    driver
        Name of the driver, as `acq devices` lists it.
    highest_flow_nl_s
        Highest flow in either direction.
    timeout_s
        Longest wait for an answer of the pump, or until it has stopped.
    options
        Further options of this driver.
    """

    driver: str
    highest_flow_nl_s: FlowNlS = 5.0
    timeout_s: TimeoutS = 2.0
    options: dict[str, Any] = Field(default_factory=dict)


def _require_ascending(table: Table, *names: str) -> None:
    for name in names:
        limits = getattr(table, name)
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"{name} must ascend")
