"""Check of the x/y stage of a rig."""

from __future__ import annotations

import math

from fgaf.acquire.commissioning.report import Report
from fgaf.acquire.commissioning.xy_trial import XYBounds, XYFindings, try_xy
from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.devices import Devices
from fgaf.acquire.interrupt import InterruptError
from fgaf.acquire.rig import Rig
from fgaf.base.console import count
from fgaf.base.errors import FgafError

_LEAST_REACH_UM = 5.0
_VELOCITY_ERROR = 0.2


def check_xy(
    devices: Devices,
    rig: Rig,
    travel: XYMover,
    bounds: XYBounds,
    report: Report,
) -> None:
    """Measure and evaluate the x/y stage of an open rig; it returns to its start position.

    Parameters
    ----------
    devices, rig
        The open rig.
    travel
        Moves its x/y stage.
    bounds
        Where it may move.
    report
        Gets the verdicts and the measured numbers.

    Raises
    ------
    InterruptError
        A stop was requested; the message gives the state of the stage.
    """
    if bounds.reach_um < _LEAST_REACH_UM:
        report.say(
            "x/y stage",
            "warning",
            f"{travel.name} is {max(bounds.reach_um, 0.0):.3g} µm from a limit",
            "move it away from the limit to check it",
        )
        return
    try:
        with travel.returning("the x/y stage was checked"):
            found = try_xy(devices, rig, travel, bounds)
    except InterruptError:
        raise
    except FgafError as error:
        report.say("x/y stage", "bad", str(error))
        return
    report.measured |= {
        "xy_moves": found.moves,
        "xy_largest_error_um": found.largest_error_um,
        "xy_speed_um_s": found.speed_um_s,
        "xy_velocity_error": found.velocity_error,
    }
    report.say("x/y stage", "ok", f"{travel.name}; x, y are back where they were")
    report.say(
        "x/y moves",
        "ok",
        f"{count(found.moves, 'move')} ended within {found.largest_error_um:.2f} µm; "
        f"{found.way_um:.4g} µm in {1e3 * found.move_s:.0f} ms",
    )
    _judge_velocity(found, report)
    _judge_backlash(found, rig, report)


def _judge_velocity(found: XYFindings, report: Report) -> None:
    if found.velocity_error is None:
        return
    text = f"wrong by up to {found.velocity_error:.0%}"
    mend = "do not follow cells with this stage: check its units"
    good = found.velocity_error <= _VELOCITY_ERROR
    report.say("x/y velocity", "ok" if good else "warning", text, mend)


def _judge_backlash(found: XYFindings, rig: Rig, report: Report) -> None:
    if found.backlash_um is None:
        mend = "give optics.pixel_size_um"
        report.say("x/y backlash", "warning", "not measured: the pixel size is unknown", mend)
        return
    x_um, y_um = found.backlash_um
    if math.isnan(x_um + y_um):
        mend = "focus a fixed specimen with fine detail"
        report.say("x/y backlash", "warning", "not measured: the images do not tell it", mend)
        return
    report.measured["xy_backlash_um"] = [x_um, y_um]
    tolerance_um = rig.xy_stage.tolerance_um if rig.xy_stage else math.inf
    text = f"a place reached from both sides differs by {x_um:.2f} µm in x, {y_um:.2f} µm in y"
    mend = "positions are this uncertain: look for play, or reach each from the same side"
    good = max(x_um, y_um) <= tolerance_um
    report.say("x/y backlash", "ok" if good else "warning", text, mend)
