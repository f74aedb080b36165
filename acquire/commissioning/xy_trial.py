"""Observed moves of an x/y stage: arrival, speed, velocity, and backlash by images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.commissioning.image_shift import LEAST_LIKENESS, Image, details_of, shift_between
from fgaf.acquire.control.frames import stopping
from fgaf.acquire.control.positions import Position
from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.devices import Devices, VelocityStage
from fgaf.acquire.rig import Rig, effective_optics

_STEP_SHARE, _IMAGE_SHARE = 0.2, 0.15
_REST_S = 0.15
_GLIDE_S = 0.3
_GLIDE_SHARE = 0.5

Place = tuple[float, float]


@dataclass(frozen=True)
class XYBounds:
    """Range of the x/y stage during a check, in µm, around its position and inside its limits."""

    start_um: Place
    reach_um: float

    @classmethod
    def of(cls, travel: XYMover, reach_um: float) -> XYBounds:
        """Read the position and limit the reach; moves nothing.

        Parameters
        ----------
        travel
            Moves the stage.
        reach_um
            Largest distance from the position along each axis.

        Raises
        ------
        SettingError
            There are no limits.
        DeviceError
            The position cannot be read.
        """
        x_um, y_um = travel.position_um()
        room = [
            min(at - low, high - at)
            for at, (low, high) in zip((x_um, y_um), travel.limits_um, strict=True)
        ]
        return cls((x_um, y_um), min(reach_um, *room))

    def describe(self) -> str:
        """Describe the moves of the stage."""
        x, y = self.start_um
        return (
            f"the x/y stage will move within ±{self.reach_um:.4g} µm of {x:.6g}, {y:.6g} µm and "
            "go back"
        )


@dataclass(frozen=True)
class XYFindings:
    """Result of a trial.

    Attributes
    ----------
    moves
        Number of moves.
    largest_error_um
        Largest distance of a read-back from its target, along an axis.
    move_s, way_um
        Time of the longest moves along x, and their length.
    velocity_error
        Largest relative error of the velocity along an axis; None if the stage has none, or no
        room for it.
    backlash_um
        Distance between images of one place that is reached from both sides, along x and y; nan
        where the images do not tell, None without a pixel size.
    """

    moves: int
    largest_error_um: float
    move_s: float
    way_um: float
    velocity_error: float | None
    backlash_um: tuple[float, float] | None

    @property
    def speed_um_s(self) -> float:
        """Mean speed of the longest moves."""
        return self.way_um / self.move_s


def try_xy(devices: Devices, rig: Rig, travel: XYMover, bounds: XYBounds) -> XYFindings:
    """Move the stage around its position and back.

    Parameters
    ----------
    devices, rig
        The open rig.
    travel
        Moves its x/y stage.
    bounds
        Where it may move.

    Raises
    ------
    DeviceError
        It does not arrive, or a device failed.
    """
    (x0, y0), reach = bounds.start_um, bounds.reach_um
    timeout_s = rig.camera.exposure_ms / 1e3 + rig.camera.timeout_s
    errors: list[float] = []

    def go(x: float, y: float) -> float:
        """Go to a place in units of the reach; returns how long it took."""
        target = (x0 + x * reach, y0 + y * reach)
        begun_ns = devices.clock.now_ns()
        here = travel.go_to(Position(f"{x:g}, {y:g}", *target))
        errors.extend(abs(at - to) for at, to in zip(here, target, strict=True))
        return (devices.clock.now_ns() - begun_ns) / 1e9

    def image(x: float, y: float) -> npt.NDArray[Any]:
        go(x, y)
        devices.clock.sleep(_REST_S)
        return devices.camera.trigger(timeout_s).pixels

    for step in (_STEP_SHARE, -_STEP_SHARE, 2 * _STEP_SHARE):
        go(step, 0)
        go(step, step)
    go(-1, 0)
    move_s = float(np.mean([go(1, 0), go(-1, 0)]))
    go(0, 0)
    pixel_um = effective_optics(rig, devices.camera).pixel_size_um
    backlash = None
    if pixel_um:
        far = min(1.0, _IMAGE_SHARE * min(devices.camera.shape) * pixel_um / reach)
        ends = ((-far, 0), (far, 0), (0, -far), (0, far))
        with stopping(devices.camera):
            devices.camera.start()
            frames = [image(*place) for end in ends for place in (end, (0, 0))]
        left, below_x, _, above_x, low, below_y, _, above_y = details_of(frames, frames[::2])
        backlash = (
            _play(left, below_x, above_x, pixel_um),
            _play(low, below_y, above_y, pixel_um),
        )
    velocity_error = _try_velocity(devices, travel, reach)
    return XYFindings(len(errors) // 2, max(errors), move_s, 2 * reach, velocity_error, backlash)


def _play(far: Image, below: Image, above: Image, pixel_um: float) -> float:
    """Distance of two images of one place, each against a far one.

    What does not move with the specimen would draw a direct comparison towards zero.
    """
    one, other = shift_between(far, below), shift_between(far, above)
    if min(one.likeness, other.likeness) < LEAST_LIKENESS:
        return math.nan
    return math.hypot(other.x_px - one.x_px, other.y_px - one.y_px) * pixel_um


def _try_velocity(devices: Devices, travel: XYMover, reach_um: float) -> float | None:
    """Glide to and fro along the diagonal; returns the largest relative error."""
    stage = devices.xy_stage
    if not isinstance(stage, VelocityStage):
        return None
    speed = min(_GLIDE_SHARE * reach_um / _GLIDE_S, stage.highest_velocity_um_s / 2)
    errors = []
    for sign in (1, -1):
        way, seconds = travel.glide((sign * speed, sign * speed), _GLIDE_S)
        errors += [abs(each / (sign * speed * seconds) - 1) for each in way]
    return max(errors)
