"""Checks of the micropipette of a rig: its manipulator and its pump."""

from __future__ import annotations

import numpy as np

from fgaf.acquire.commissioning.pipette_trial import PipetteBounds, PipetteFindings, try_pipette
from fgaf.acquire.commissioning.report import Report
from fgaf.acquire.control.arrival import shown
from fgaf.acquire.control.pipette import PipetteMover
from fgaf.acquire.control.pump import PumpControl
from fgaf.acquire.devices import Devices, Manipulator, Pump, effective_settings
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.acquire.rig import Rig
from fgaf.base.console import count
from fgaf.base.errors import FgafError, SettingError

_LEAST_REACH_UM = 5.0
_QUESTIONS = 20
_SPEED_SHARE = 0.5
_SPEED_EXCESS = 1.2
_FLOW_ERROR = 0.05
_DRAW_S = 1.0
_POLL_S = 0.05


def check_pipette(
    devices: Devices, rig: Rig, reach_um: float, go: bool, interrupt: Interrupt, report: Report
) -> None:
    """Measure and evaluate the manipulator of an open rig; it returns to its position.

    Parameters
    ----------
    devices, rig
        The open rig, with a manipulator.
    reach_um
        It moves by at most this much in x and y, and upwards.
    go
        Whether it moves. Else its moves are checked and described.
    interrupt
        Ends the check.
    report
        Gets the verdicts and the measured numbers.

    Raises
    ------
    InterruptError
        A stop was requested; the message gives the state of the pipette.
    """
    manipulator = devices.manipulator
    if manipulator is None:
        return
    for note in effective_settings(manipulator).notes:
        report.say("manipulator", "warning", note, "see to it before it is near the dish")
    try:
        _judge_readings(manipulator, devices, report)
        mover = PipetteMover(devices, rig.manipulator, interrupt, go=go)
        bounds = PipetteBounds.of(mover, reach_um)
    except SettingError as error:
        report.say("pipette moves", "warning", f"not moved: {error}")
        return
    except FgafError as error:
        report.say("manipulator", "bad", str(error))
        return
    ranges = ", ".join(f"{low:g} to {high:g}" for low, high in mover.limits_um)
    over_um = bounds.start_um[2] - mover.limits_um[2][0]
    report.say("pipette limits", "ok", f"{ranges} µm; it may go down by {over_um:.1f} µm")
    if bounds.reach_um < _LEAST_REACH_UM:
        report.say(
            "pipette moves",
            "warning",
            f"not moved: it is {max(bounds.reach_um, 0.0):.3g} µm from a limit",
            "move it away from the limit to check it",
        )
        return
    if go:
        report.say("pipette plan", "ok", bounds.describe())
    try:
        with mover.retreating():
            found = try_pipette(mover, bounds)
        mover.go_to(bounds.start_um)
    except InterruptError:
        raise
    except FgafError as error:
        report.say("pipette moves", "bad", str(error))
        return
    if not go:
        report.say("pipette plan", "ok", f"not moved; with --go {bounds.describe()}")
        return
    report.measured |= {
        "pipette_moves": found.moves,
        "pipette_largest_error_um": found.largest_error_um,
        "pipette_play_um": list(found.played_um),
        "pipette_scatter_um": found.scatter_um,
        "pipette_speed_um_s": found.speed_um_s,
        "pipette_ran_on_um": found.ran_on_um,
    }
    _judge_moves(found, bounds, rig, report)


def check_pump(devices: Devices, rig: Rig, go: bool, report: Report) -> None:
    """Evaluate the pump of an open rig, and try its least flow.

    Parameters
    ----------
    devices, rig
        The open rig, with a pump.
    go
        Whether it draws. Else nothing is pumped.
    report
        Gets the verdicts and the measured numbers.

    Raises
    ------
    InterruptError
        A stop was requested.
    """
    pump, table = devices.pump, rig.pump
    if pump is None or table is None:
        return
    for note in effective_settings(pump).notes:
        report.say("pump", "warning", note, "see that nothing else uses it, and check its syringe")
    suction = PumpControl(devices, table, go=go)
    flow, _ = suction.flow_limits_nl_s
    try:
        if resting := pump.flow_nl_s():
            text = f"{pump.name} reports {resting:.4g} nL/s at rest"
            report.say("pump", "bad", text, "stop it at its keys")
            return
        report.say("pump", "ok", f"{pump.name}; it is at rest and reports no alarm")
        _judge_flows(pump, table.highest_flow_nl_s, report)
        if flow > table.highest_flow_nl_s:
            return
        if not go:
            text = f"would draw {flow:.3g} nL/s for {_DRAW_S:g} s; not started without --go"
            report.say("pump start", "ok", text)
            return
        with suction.stopping():
            suction.start(flow)
            devices.clock.sleep(_DRAW_S)
            reported = pump.flow_nl_s()
        after = _flow_after(devices, pump, table.timeout_s)
    except InterruptError:
        raise
    except FgafError as error:
        report.say("pump", "bad", str(error))
        return
    report.measured |= {"pump_flow_nl_s": reported}
    text = f"reported {reported:.3g} nL/s when told {flow:.3g} nL/s, and {after:.3g} when stopped"
    good = abs(reported / flow - 1) <= _FLOW_ERROR and after == 0
    report.say("pump start", "ok" if good else "bad", text, "do not use it: it ignores commands")


def _judge_readings(manipulator: Manipulator, devices: Devices, report: Report) -> None:
    """Read the position some times: how long it takes, and its scatter."""
    begun_ns = devices.clock.now_ns()
    read = np.array([manipulator.position_xyz_um() for _ in range(_QUESTIONS)])
    reply_ms = (devices.clock.now_ns() - begun_ns) / 1e6 / _QUESTIONS
    noise_um = float(read.std(axis=0).max())
    report.measured |= {"pipette_reply_ms": reply_ms, "pipette_noise_um": noise_um}
    report.say(
        "manipulator",
        "ok",
        f"{manipulator.name}; it stands at {shown(tuple(read[-1].tolist()))}, scatters by "
        f"{noise_um:.3f} µm r.m.s. and answers in {reply_ms:.1f} ms",
    )


def _judge_moves(found: PipetteFindings, bounds: PipetteBounds, rig: Rig, report: Report) -> None:
    tolerance_um = rig.manipulator.tolerance_um if rig.manipulator else 0.0
    x, y, z = bounds.start_um
    report.say(
        "pipette moves",
        "ok",
        f"{count(found.moves, 'move')} ended within {found.largest_error_um:.3f} µm; it is back at "
        f"{x:.3f}, {y:.3f}, {z:.3f} µm",
    )
    played = ", ".join(f"{each:.3f}" for each in found.played_um)
    report.say(
        "pipette play",
        "ok" if max(*found.played_um, found.scatter_um) <= tolerance_um else "warning",
        f"by its read-back, a place reached from both sides differs by {played} µm in x, y, z, and "
        f"from one side by up to {found.scatter_um:.3f} µm",
        "reach places from the same side; look for play",
    )
    share = found.speed_um_s / found.asked_um_s
    report.say(
        "pipette speed",
        "ok" if _SPEED_SHARE <= share <= _SPEED_EXCESS else "warning",
        f"{found.speed_um_s:.3g} µm/s when told {found.asked_um_s:.3g} µm/s",
        "its speed is not as asked: lower manipulator.highest_speed_um_s, and check its settings",
    )
    report.say(
        "pipette stop",
        "ok" if found.stopped else "bad",
        f"went on by {found.ran_on_um:.2f} µm after the command to stop in the middle of a move",
        "it does not stop: do not work near the dish",
    )


def _judge_flows(pump: Pump, highest_nl_s: float, report: Report) -> None:
    least, most = pump.flow_limits_nl_s
    text = f"{least:.3g} to {most:.4g} nL/s; the rig allows {highest_nl_s:g}"
    if highest_nl_s < least:
        mend = f"raise pump.highest_flow_nl_s to {least:.3g} or more, or take a narrower syringe"
        report.say("pump flows", "bad", text, mend)
        return
    mend = f"set pump.highest_flow_nl_s = {most:.3g}, or take a wider syringe"
    report.say("pump flows", "ok" if highest_nl_s <= most else "warning", text, mend)


def _flow_after(devices: Devices, pump: Pump, timeout_s: float) -> float:
    """Flow after a stop, as soon as it is 0, else at the time-out."""
    deadline_ns = devices.clock.now_ns() + round(timeout_s * 1e9)
    while (flow := pump.flow_nl_s()) and devices.clock.now_ns() < deadline_ns:
        devices.clock.sleep(_POLL_S)
    return flow
