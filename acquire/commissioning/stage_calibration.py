"""Measures how moves of the x/y stage shift the image.

The stage visits a small pattern around its position, each place from the same side because of
backlash. The shift of each image against the first one is found by cross-correlation, and a 2 x 2
matrix is fitted to the moves that were read back, by least squares.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.commissioning.image_shift import LEAST_LIKENESS, details_of, shift_between
from fgaf.acquire.control.frames import stopping
from fgaf.acquire.control.positions import Position
from fgaf.acquire.control.stage_map import StageMap
from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.devices import DeviceError, Devices
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import Rig, effective_optics
from fgaf.base.bounds import StepUm, require
from fgaf.base.errors import SettingError

_log = logging.getLogger(__name__)

_PATTERN = ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, -1), (0, 0))
_STEP_SHARE, _LARGEST_SHARE = 0.15, 0.25
_APPROACH = 0.25
_REST_S = 0.15
_LEAST_SHIFT_PX = 5.0
_RESIDUAL_PX, _RESIDUAL_SHARE = 1.0, 0.02
_DRIFT_PX = 1.5
_UNEVEN = 1.1
_SCALE_TOLERANCE = 0.05
_SATURATED_SHARE, _DARK = 0.01, 0.02

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pattern:
    """Places that a calibration visits, and the points from which it approaches them.

    Attributes
    ----------
    step_um
        Distance of the places from the start, along each axis.
    places
        In the order of the visits; every second one is only passed.
    """

    step_um: float
    places: tuple[Position, ...]

    @classmethod
    def of(cls, devices: Devices, rig: Rig, travel: XYMover, step_um: float | None) -> Pattern:
        """Plan the pattern around the position of the stage; moves nothing.

        Parameters
        ----------
        devices, rig
            The open rig.
        travel
            Moves its x/y stage.
        step_um
            Distance of the places; by default 15 % of the shorter side of the frame.

        Raises
        ------
        SettingError
            The step is unknown or too large for the frame, or a place is outside the limits.
        """
        pixel_um = effective_optics(rig, devices.camera).pixel_size_um
        side_um = pixel_um and min(devices.camera.shape) * pixel_um
        if step_um is None:
            if not side_um:
                raise SettingError(
                    "the rig does not give optics.pixel_size_um: give --step, about 15 % of the "
                    "shorter side of the frame in µm"
                )
            step_um = _STEP_SHARE * side_um
        require(StepUm, step_um, "--step")
        if side_um and step_um > _LARGEST_SHARE * side_um * (1 + 1e-9):
            raise SettingError(
                f"--step {step_um:g} is too large: frames of {side_um:.4g} µm must overlap; give "
                f"{_LARGEST_SHARE * side_um:.3g} or less"
            )
        x_um, y_um = travel.position_um()
        places = tuple(
            Position(f"place {number}", x_um + shift + i * step_um, y_um + shift + j * step_um)
            for number, (i, j) in enumerate(_PATTERN, 1)
            for shift in (-_APPROACH * step_um, 0.0)
        )
        travel.check(places)
        return cls(step_um, places)

    def describe(self) -> str:
        """Describe the moves of the stage."""
        x, y = ([getattr(each, axis) for each in self.places] for axis in ("x_um", "y_um"))
        return (
            f"the stage will move between {min(x):.6g} and {max(x):.6g} µm in x, {min(y):.6g} and "
            f"{max(y):.6g} µm in y, and go back"
        )


def calibrate_stage(
    devices: Devices, rig: Rig, travel: XYMover, pattern: Pattern, interrupt: Interrupt
) -> StageMap:
    """Measure the map from moves of the stage to shifts of the image; the stage goes back.

    Parameters
    ----------
    devices, rig
        The open rig.
    travel
        Moves its x/y stage.
    pattern
        The places, from `Pattern.of`.
    interrupt
        Stops the measurement.

    Raises
    ------
    DeviceError
        A device failed, or the images do not give a map: they are too dark or saturated, have too
        little fixed detail, or the shifts do not fit the moves; the message says what to do.
    """
    timeout_s = rig.camera.exposure_ms / 1e3 + rig.camera.timeout_s
    moves: list[Floats] = []
    frames: list[npt.NDArray[Any]] = []
    with travel.returning("the calibration was made"), stopping(devices.camera):
        devices.camera.start()
        for passed, place in zip(pattern.places[::2], pattern.places[1::2], strict=True):
            travel.go_to(passed)
            moves.append(np.array(travel.go_to(place)))
            devices.clock.sleep(_REST_S)
            interrupt.check()
            frames.append(devices.camera.trigger(timeout_s).pixels)
    for frame in frames:
        _require_in_range(frame, devices.camera.bit_depth)
    shifts = _measure_shifts(frames)
    matrix, residual_px = fit_matrix(np.array(moves[1:]) - moves[0], shifts)
    (a, b), (c, d) = matrix.tolist()
    found = StageMap(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        x_px_per_um=(a, b),
        y_px_per_um=(c, d),
        residual_px=residual_px,
        moves=len(shifts),
        stage=travel.name,
        camera=devices.camera.name,
        rig=StageMap.settings_of(rig),
    )
    _require_scale(found, effective_optics(rig, devices.camera).pixel_size_um)
    _log.info("%s", found.describe())
    return found


def fit_matrix(moves_um: Floats, shifts_px: Floats) -> tuple[Floats, float]:
    """Fit a matrix to shifts of the image.

    Parameters
    ----------
    moves_um
        Moves of the stage, (N, 2), x and y.
    shifts_px
        Shifts of the image, (N, 2), x and y. The last move is back to the start.

    Returns
    -------
    tuple of ndarray and float
        Matrix in px/µm, (2, 2), and the root mean square residual in px.

    Raises
    ------
    DeviceError
        The image does not follow the stage, drifts, or the shifts do not fit a matrix that turns
        and scales.
    """
    lengths = np.linalg.norm(shifts_px[:-1], axis=1)
    if lengths.max() < _LEAST_SHIFT_PX:
        raise DeviceError(
            f"the image moved by at most {lengths.max():.1f} px: the stage does not move the "
            "specimen, or the step is too small; check its clutch, or give a larger --step"
        )
    drift_px = float(np.linalg.norm(shifts_px[-1]))
    if drift_px > max(_DRIFT_PX, _RESIDUAL_SHARE * lengths.max()):
        raise DeviceError(
            f"back at the start the image is {drift_px:.1f} px off: the specimen drifts, or the "
            "stage does not return; fix the specimen, and look for play"
        )
    solution, *_ = np.linalg.lstsq(moves_um, shifts_px, rcond=None)
    matrix = np.asarray(solution.T, float)
    errors = shifts_px - moves_um @ solution
    residual_px = float(np.sqrt(np.mean(np.sum(errors**2, axis=1))))
    allowed_px = max(_RESIDUAL_PX, _RESIDUAL_SHARE * lengths.max())
    if residual_px > allowed_px:
        raise DeviceError(
            f"the shifts of the image do not fit the moves: {residual_px:.1f} px are left, at most "
            f"{allowed_px:.1f} are good; focus a fixed specimen with fine detail, and look for play"
        )
    large, small = np.linalg.svd(matrix, compute_uv=False)
    if small < large / _UNEVEN:
        raise DeviceError(
            f"the image moves by {large:.3g} px/µm along one direction and {small:.3g} along "
            "another: an axis does not move, or its units are wrong"
        )
    return matrix, residual_px


def _measure_shifts(frames: Sequence[npt.NDArray[Any]]) -> Floats:
    """Shift of every frame but the first against the first, (N, 2), x and y in px."""
    first, *others = details_of(frames, frames)
    shifts = []
    for number, other in enumerate(others, 2):
        found = shift_between(first, other)
        _log.debug("image %d: %s", number, found)
        if found.likeness < LEAST_LIKENESS:
            raise DeviceError(
                f"image {number} does not resemble the first one (correlation "
                f"{found.likeness:.2f}, {LEAST_LIKENESS:g} is needed): too little fixed detail, or "
                "the stage does not move the specimen; focus a dried smear or a scale (when "
                "simulated, --set simulation.motile=false), or give a smaller --step"
            )
        shifts.append((found.x_px, found.y_px))
    return np.array(shifts)


def _require_in_range(frame: npt.NDArray[Any], bit_depth: int) -> None:
    full = 2**bit_depth - 1
    saturated, mean = float(np.mean(frame >= full)), float(frame.mean()) / full
    if saturated > _SATURATED_SHARE:
        raise DeviceError(
            f"{saturated:.0%} of the pixels are saturated: lower camera.exposure_ms or the lamp"
        )
    if mean < _DARK:
        raise DeviceError(
            f"the image is dark ({mean:.1%} of full scale): raise camera.exposure_ms or the lamp"
        )


def _require_scale(found: StageMap, pixel_um: float | None) -> None:
    if pixel_um and not math.isclose(found.pixel_size_um, pixel_um, rel_tol=_SCALE_TOLERANCE):
        raise DeviceError(
            f"the stage gives {found.pixel_size_um:.4g} µm per pixel, but the rig {pixel_um:.4g} "
            "(with binning): correct optics.pixel_size_um, or the stage's unit_um"
        )
