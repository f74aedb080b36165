"""Measures how moves of the manipulator move the tip in the image, and its focus.

The tip is found in the image, and brought to focus by the drive in steps of 20, 5, 2 and 0.5 µm.
The manipulator visits a small pattern at and over its start. The tip is found and focused at each
place, and an affine map is fitted by least squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from fgaf.acquire.commissioning.tip_finder import Tip, contrast, end_sharpness, find_tip
from fgaf.acquire.control.drive import Drive
from fgaf.acquire.control.frames import stopping
from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.devices import DeviceError, Devices, Place3
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import Rig, effective_optics

_PATTERN = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (-1, -1, 0), (0, 0, 1), (1, 1, 1), (-1, 0, 0.5))
_FAR_UM, _COARSE_UM, _FINER = 20.0, 5.0, ((2.0, 4.0), (0.5, 2.0))
_WATER = 1.335
_REST_S, _NEAR_UM = 0.15, _FINER[0][1]
_LEAST_SHIFT_PX = 5.0
_LOOK_FARTHER = "bring it into the image and near the focus by hand, or give a larger --range"
_STEP_LESS = "a move has taken it out of the image or out of focus: give a smaller --step"
_RESIDUAL_PX, _RESIDUAL_UM = 2.0, 0.6
_UNEVEN = 1.25
_FACTOR_TOLERANCE = 0.1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sight:
    """The tip in focus: its pixel, and the position of the drive."""

    tip: Tip
    drive_um: float


def pattern_of(mover: PipetteMover, step_um: float) -> tuple[Place3, ...]:
    """Places to visit: at the start, beside it and over it, never under it; moves nothing.

    Parameters
    ----------
    mover
        Moves the pipette.
    step_um
        Distance of the places from the start, along each axis.

    Raises
    ------
    SettingError
        The pipette or a place is outside the limits, or under the floor.
    """
    mover.check_here()
    x, y, z = mover.position_um()
    places = tuple((x + i * step_um, y + j * step_um, z + k * step_um) for i, j, k in _PATTERN)
    mover.check(places, "give a smaller --step, or begin farther inside the limits")
    return places


def calibrate_pipette(
    devices: Devices,
    rig: Rig,
    mover: PipetteMover,
    places: tuple[Place3, ...],
    range_um: float,
    interrupt: Interrupt,
) -> PipetteMap:
    """Measure the map; the drive goes back, and the pipette is raised at the end.

    Parameters
    ----------
    devices, rig
        The open rig.
    mover
        Moves its pipette.
    places
        From `pattern_of`.
    range_um
        How far on either side of the drive's position the tip is looked for.
    interrupt
        Stops the measurement.

    Raises
    ------
    DeviceError
        A device failed, no tip is found, or its places do not fit the moves.
    """
    eye = Eye(devices, rig, interrupt)
    moves: list[Place3] = []
    sights: list[Sight] = []
    with (
        mover.retreating(),
        eye.drive.returning("the calibration was made"),
        stopping(devices.camera),
    ):
        devices.camera.start()
        for number, place in enumerate(places):
            if number:
                moves.append(mover.go_to(place))
                expected = sights[0].drive_um + (place[2] - places[0][2]) / _WATER
                reach, mend = _NEAR_UM, _STEP_LESS
            else:
                moves.append(mover.position_um())
                expected, reach, mend = eye.drive.position_um(), range_um, _LOOK_FARTHER
            devices.clock.sleep(_REST_S)
            sights.append(eye.focus(expected, reach, mend))
    seen = np.array([(each.tip.x_px, each.tip.y_px, each.drive_um) for each in sights])
    matrix, origin, residual_px, residual_um = fit_map(np.array(moves), seen)
    rows = [(float(a), float(b), float(c)) for a, b, c in matrix]
    found = PipetteMap(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        camera=devices.camera.name,
        rig=PipetteMap.settings_of(rig),
        x_px_per_um=rows[0],
        y_px_per_um=rows[1],
        drive_um_per_um=rows[2],
        place_um=moves[0],
        tip_px=(float(origin[0]), float(origin[1])),
        tip_drive_um=float(origin[2]),
        residual_px=residual_px,
        residual_um=residual_um,
        moves=len(moves),
        manipulator=mover.name,
    )
    pixel_um = effective_optics(rig, devices.camera).pixel_size_um
    if pixel_um and not math.isclose(found.pixel_size_um, pixel_um, rel_tol=_FACTOR_TOLERANCE):
        raise DeviceError(
            f"the manipulator gives {found.pixel_size_um:.4g} µm per pixel, but the rig "
            f"{pixel_um:.4g}: correct optics.pixel_size_um, or the units of the manipulator"
        )
    return found


def fit_map(moves_um: Floats, seen: Floats) -> tuple[Floats, Floats, float, float]:
    """Fit where the tip is seen to the places of the manipulator.

    Parameters
    ----------
    moves_um
        (N, 3) places of the manipulator.
    seen
        (N, 3) pixel (x, y) of the tip, and the drive's z with it in focus.

    Returns
    -------
    matrix, origin, residual_px, residual_um
        (3, 3) matrix, what is seen (3,) at the first place, and root mean square residuals.

    Raises
    ------
    DeviceError
        The tip does not move, or an axis does not, or its places do not fit.
    """
    moved = seen - seen[0]
    farthest = float(np.linalg.norm(moved[:, :2], axis=1).max())
    if farthest < _LEAST_SHIFT_PX:
        raise DeviceError(
            f"the tip moved by at most {farthest:.1f} px: the manipulator does not move the "
            "pipette, or the step is too small; look at its holder, or give a larger --step"
        )
    design = np.column_stack([moves_um - moves_um[0], np.ones(len(moves_um))])
    solution, *_ = np.linalg.lstsq(design, seen, rcond=None)
    errors = seen - design @ solution
    residual_px = float(np.sqrt(np.mean(np.sum(errors[:, :2] ** 2, axis=1))))
    residual_um = float(np.sqrt(np.mean(errors[:, 2] ** 2)))
    if residual_px > _RESIDUAL_PX or residual_um > _RESIDUAL_UM:
        raise DeviceError(
            f"the places of the tip do not fit the moves: {residual_px:.1f} px and "
            f"{residual_um:.2f} µm of focus are left, at most {_RESIDUAL_PX:g} and "
            f"{_RESIDUAL_UM:g} are good; look for play and drift"
        )
    matrix = np.asarray(solution[:3].T, float)
    scale = float(np.linalg.norm(matrix[:2], axis=1).mean())
    even = matrix / np.array([[scale], [scale], [1 / _WATER]])
    large, _, small = np.linalg.svd(even, compute_uv=False)
    if small < large / _UNEVEN**2:
        raise DeviceError(
            "the tip does not move by the same way along all axes: an axis does not move, or its "
            "units are wrong"
        )
    return matrix, solution[3], residual_px, residual_um


def doubt_of(found: PipetteMap, medium_index: float | None) -> str:
    """What speaks against the heights of a map; empty if nothing does.

    Parameters
    ----------
    found
        The map.
    medium_index
        Refractive index between chamber and objective, of the rig's optics.
    """
    expected = (medium_index or 1.0) / _WATER
    if math.isclose(found.drive_factor, expected, rel_tol=_FACTOR_TOLERANCE):
        return ""
    return (
        f"the focus moves by {found.drive_factor:.3f} µm per µm of height, but refraction in water "
        f"gives {expected:.3f}: look at the units of drive and manipulator, and optics.medium_index"
    )


class Eye:
    """Looks at the tip, and focuses on it.

    Parameters
    ----------
    devices, rig
        The open rig.
    interrupt
        Stops it.

    Attributes
    ----------
    drive
        The focus drive.
    """

    def __init__(self, devices: Devices, rig: Rig, interrupt: Interrupt) -> None:
        self.drive = Drive(devices.stage, devices.clock, rig.stage, interrupt)
        self._camera, self._interrupt = devices.camera, interrupt
        self._timeout_s = rig.camera.exposure_ms / 1e3 + rig.camera.timeout_s

    def focus(self, around_um: float, range_um: float, mend: str = _LOOK_FARTHER) -> Sight:
        """Find the tip around a position of the drive, and its focus.

        Parameters
        ----------
        around_um
            Position of the drive, µm.
        range_um
            How far on either side it is looked for, µm.
        mend
            What a person may do when no tip is seen.

        Raises
        ------
        DeviceError
            No tip is seen.
        """
        tip, at = self._find(around_um, range_um, mend)
        for step, reach in _FINER:
            at = self._sharpest(at, reach, step, tip)
        seen = find_tip(self.look(at))
        if seen is None:
            raise DeviceError("the tip was found, but not again in focus; look for other glass")
        return Sight(seen, at)

    def _find(self, around: float, reach: float, mend: str) -> tuple[Tip, float]:
        """The tip in the image in which its end is sharpest, in coarse steps of the drive."""
        near = reach <= _NEAR_UM  # the next step reaches as far
        places = [around] if near else self._places(around, reach, _COARSE_UM)
        seen: dict[float, tuple[float, Tip | None]] = {}
        for middle in self._middles(around, reach):
            planes = [each for each in places if abs(each - middle) <= _FAR_UM / 2]
            while planes:
                seen |= {place: self._end_at(place) for place in planes if place not in seen}
                best = max(seen, key=lambda place: seen[place][0])
                tip, at = seen[best][1], places.index(best)
                beside = places[max(at - 1, 0) : at + 2] if tip else []
                planes = [place for place in beside if place not in seen]
                if tip and not planes:
                    return tip, best
        raise DeviceError(
            f"no tip of a pipette is seen with the drive within ±{reach:g} µm of {around:.1f} "
            f"µm; {mend}"
        )

    def _middles(self, around: float, reach: float) -> list[float]:
        """Planes around which the tip is looked for, in their order.

        Far out of focus it cannot be found, but near its focus the image has more contrast, as it
        has near cells.
        """
        if reach <= _FAR_UM / 2:
            return [around]
        places = self._places(around, reach, _FAR_UM)
        return sorted(places, key=lambda place: -contrast(self.look(place)))

    def _end_at(self, place: float) -> tuple[float, Tip | None]:
        """Sharpness of the end of the tip in a plane, and the tip; -1 where none is found."""
        pixels = self.look(place)
        tip = find_tip(pixels)
        return (-1.0, None) if tip is None else (end_sharpness(pixels, tip), tip)

    def _sharpest(self, around: float, reach: float, step: float, tip: Tip) -> float:
        """Position of the drive at which the end of a tip is sharpest, by a parabola."""
        places = self._places(around, reach, step)
        scores = [end_sharpness(self.look(place), tip) for place in places]
        best = int(np.argmax(scores))
        if not 0 < best < len(scores) - 1:
            return places[best]
        left, top, right = scores[best - 1 : best + 2]
        bend = left - 2 * top + right
        return places[best] + (0.5 * step * (left - right) / bend if bend < 0 else 0.0)

    def _places(self, around: float, reach: float, step: float) -> list[float]:
        """Planes in steps as far as the reach, which is a plane too, within the drive's limits."""
        low, high = self.drive.limits_um
        count = math.ceil(reach / step)
        away = [min(max(step * k, -reach), reach) for k in range(-count, count + 1)]
        places = [around + each for each in away]
        return [each for each in places if low <= each <= high] or [self.drive.position_um()]

    def look(self, drive_um: float) -> npt.NDArray[np.uint8 | np.uint16]:
        """Take an image (Y, X) with the drive at a position.

        Parameters
        ----------
        drive_um
            The position, µm.
        """
        self._interrupt.check()
        self.drive.move_to(drive_um)
        self.drive.settle()
        return self._camera.trigger(self._timeout_s).pixels
