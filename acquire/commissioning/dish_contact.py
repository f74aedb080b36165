"""Looks for the dish: lowers the pipette slowly until its tip slides, which is how a touch shows.

The glass is bent and held from behind: lowered onto the dish, its tip cannot follow and slides.
"""

from __future__ import annotations

import math

from fgaf.acquire.commissioning.pipette_calibration import Eye
from fgaf.acquire.commissioning.tip_finder import find_tip
from fgaf.acquire.control.frames import stopping
from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.devices import DeviceError, Devices, Place3
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.rig import Rig

FLOOR_MARGIN_UM = 2.0
"""Distance over the dish of the floor that is proposed."""

_STEP_UM, _SPEED_UM_S = 1.0, 5.0
_UP_UM = 5.0
_SLID_PX, _RESIDUALS = 3.0, 3.0
_REST_S = 0.15


def find_dish(
    devices: Devices, rig: Rig, mover: PipetteMover, found: PipetteMap, interrupt: Interrupt
) -> float:
    """Lower the pipette from its calibrated place until it touches; it is raised at once then.

    It goes down by 1 µm at 5 µm/s. After each step the drive focuses on the place where the tip
    must be, and the tip is found. A tip that is 3 px elsewhere, in two images, touches. The floor
    of the rig is never crossed, so it must lie under the dish for this search.

    Parameters
    ----------
    devices, rig
        The open rig.
    mover
        Moves its pipette.
    found
        The map that was just measured.
    interrupt
        Stops the search.

    Returns
    -------
    float
        Lowest z of the manipulator in µm at which the tip did not touch.

    Raises
    ------
    DeviceError
        The floor was reached without a touch, the tip is not seen any more, or a device failed.
        The pipette is raised.
    """
    eye = Eye(devices, rig, interrupt)
    floor_um, highest = mover.limits_um[2][0], mover.settings.highest_speed_um_s
    limit_px = max(_SLID_PX, _RESIDUALS * found.residual_px)
    x, y, clear_um = found.place_um
    with (
        mover.retreating(),
        eye.drive.returning("the dish was looked for"),
        stopping(devices.camera),
    ):
        devices.camera.start()
        mover.go_to(found.place_um)
        begin = _off_px(eye, devices, found, found.place_um)
        while True:
            place = (x, y, clear_um - _STEP_UM)
            if place[2] < floor_um:
                raise DeviceError(
                    f"the tip did not touch the dish down to z = {clear_um:.1f} µm; the floor of "
                    f"the rig is {floor_um:g} µm: for the search set manipulator.floor_um under "
                    "the dish"
                )
            mover.go_to(place, min(_SPEED_UM_S, highest))
            if all(
                math.dist(_off_px(eye, devices, found, place), begin) > limit_px for _ in range(2)
            ):
                mover.go_to((x, y, clear_um + _UP_UM))
                return clear_um
            clear_um = place[2]


def _off_px(eye: Eye, devices: Devices, found: PipetteMap, place: Place3) -> tuple[float, float]:
    """Pixels, x and y, from where the map has the tip to where it is seen."""
    devices.clock.sleep(_REST_S)
    tip = find_tip(eye.look(found.focus_of(place)))
    if tip is None:
        raise DeviceError(
            f"the tip is not seen any more at z = {place[2]:.1f} µm of the manipulator; keep its "
            "way to the dish free of other glass and cells"
        )
    x, y = found.pixel_of(place)
    return tip.x_px - x, tip.y_px - y
