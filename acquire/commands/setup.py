"""The commands for a new rig: list devices, write a rig file, check the rig."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fgaf.acquire.commands.options import set_option
from fgaf.base.bounds import DistanceUm, DurationS, HalfRangeUm, StepUm
from fgaf.base.console import Program, Tool, echo, finish
from fgaf.base.options import PATH, Number, json_option
from fgaf.base.outputs import output_file

if TYPE_CHECKING:
    from fgaf.acquire.commissioning.check_plan import CheckPlan
    from fgaf.acquire.commissioning.report import Report
    from fgaf.acquire.commissioning.verdict import Verdict
    from fgaf.acquire.discovery import Found
    from fgaf.acquire.rig import Rig

_probe = click.option(
    "--probe/--no-probe",
    default=True,
    show_default=True,
    help="Open each serial port and identify the device; nothing is moved or set.",
)
_ports = click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="PORT",
    help="Check only this port (COM3, /dev/ttyUSB0, socket://host:port); may be repeated.",
)
_CURVE_SIGNS = 48


@click.command(cls=Tool)
@_probe
@_ports
@json_option
def devices(probe: bool, ports: tuple[str, ...], as_json: bool) -> None:
    """List the installed drivers and the attached devices: cameras, stages, manipulators, pumps."""
    from fgaf.acquire.discovery import GROUPS, find_devices
    from fgaf.acquire.rig import driver_state, drivers

    installed = [
        {"kind": kind, "driver": name, "package": _package(point), "state": driver_state(point)}
        for kind, group in GROUPS.items()
        for name, point in drivers(group).items()
    ]
    found = find_devices(ports or None, probe)
    lines = [
        f"{row['kind']:<13}{row['driver']:<12}{row['package']:<16}{row['state']}"
        for row in installed
    ]
    lines += ["", "attached:" if found else "attached: nothing was found", *map(_attached, found)]
    usable = {each.kind for each in found if not each.problem}
    finish(
        "\n".join(lines),
        ["acq", "rig", "new", "rig.toml"] if {"camera", "stage"} <= usable else None,
        {"drivers": installed, "found": [_as_json(each) for each in found]},
        as_json,
    )


@click.group(cls=Program)
def rig() -> None:
    """Work with rig files."""


@rig.command(cls=Tool)
@click.argument("name", default="sim")
@set_option
def show(name: str, overrides: tuple[str, ...]) -> None:
    """Print the rig NAME with all its settings, defaults included, as a TOML file."""
    from fgaf.acquire.rig import load_rig

    echo(load_rig(name, overrides).to_toml(), nl=False)


@rig.command(cls=Tool)
@click.argument("file", type=PATH, required=False)
@click.option("--camera", metavar="DRIVER[:SERIAL]", help="Camera, as listed by `acq devices`.")
@click.option("--stage", metavar="DRIVER[:PORT]", help="Drive, as listed by `acq devices`.")
@click.option(
    "--xy-stage",
    metavar="DRIVER[:PORT]|none",
    help="Stage in x and y.  [default: that of the drive's controller]",
)
@click.option("--manipulator", metavar="DRIVER[:NUMBER]|none", help="Holder of the micropipette.")
@click.option("--pump", metavar="DRIVER[:PORT]|none", help="Pump of the micropipette.")
@click.option("--name", default="", help="Name of the rig.  [default: FILE's name]")
@_probe
@_ports
@json_option
def new(
    file: Path | None,
    camera: str | None,
    stage: str | None,
    xy_stage: str | None,
    manipulator: str | None,
    pump: str | None,
    name: str,
    probe: bool,
    ports: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write FILE (by default rig.toml), a commented rig file, for the attached devices.

    Where several were found, give the one to use; x/y stage, manipulator and pump are left out if
    none was found. A named driver gets its table also when its device is not attached. The limits
    of a real drive, and what else only you know, are left blank: fill them in before the rig can
    open.
    """
    from fgaf.acquire.commissioning.rig_template import (
        NONE,
        SIMULATED,
        blanks,
        choose,
        choose_if_any,
        choose_xy_stage,
        rig_template,
    )
    from fgaf.acquire.discovery import find_devices
    from fgaf.base.errors import ExistsError
    from fgaf.base.files import write_text

    file = output_file(file, Path("rig.toml"), overwrite=False, as_json=as_json)
    if file.exists():
        raise ExistsError(f"{file} exists already; choose another name")
    real = {xy_stage, manipulator, pump} - {None, NONE, SIMULATED}
    sought = real or {camera, stage} != {SIMULATED}
    found = find_devices(ports or None, probe) if sought else []
    chosen_camera, chosen_stage = choose("camera", camera, found), choose("stage", stage, found)
    more = {
        "xy_stage": choose_xy_stage(chosen_stage, xy_stage, found),
        "manipulator": choose_if_any("manipulator", manipulator, found),
        "pump": choose_if_any("pump", pump, found),
    }
    text = rig_template(chosen_camera, chosen_stage, **more, name=name or file.stem)
    write_text(file, text)
    parts = [f"{chosen_camera.driver} camera", f"{chosen_stage.driver} drive"]
    words = {"xy_stage": "x/y stage"}
    parts += [f"{each.driver} {words.get(table, table)}" for table, each in more.items() if each]
    lines = [f"wrote {file}: {', '.join(parts)}"]
    required = blanks(text)
    if required:
        where = " and ".join(f"{key} (line {line})" for key, line in required.items())
        lines.append(f"fill in {where} before the rig can be used")
    finish(
        "\n".join(lines),
        ["acq", "check", file],
        {
            "file": file,
            "camera": _as_json(chosen_camera),
            "stage": _as_json(chosen_stage),
            **{table: _as_json(each) if each else None for table, each in more.items()},
            "required": list(required),
        },
        as_json,
    )


@click.command(cls=Tool)
@click.argument("rig_name", metavar="RIG")
@set_option
@click.option(
    "--range",
    "half_range",
    type=Number(HalfRangeUm),
    default=5.0,
    show_default=True,
    help="The drive stays within ± this many µm of its position, and inside the limits.",
)
@click.option(
    "--xy-range",
    type=Number(DistanceUm),
    default=50.0,
    show_default=True,
    help="The x/y stage, if there is one, stays within ± this many µm of its position, and inside "
    "the limits; 0: it is not moved.",
)
@click.option(
    "--pipette-range",
    type=Number(DistanceUm),
    default=20.0,
    show_default=True,
    help="With --go, the pipette rises by at most this many µm, and moves by as many in x and y.",
)
@click.option(
    "--go",
    is_flag=True,
    help="Also move the pipette, upwards first, and draw with the pump at its least flow for a "
    "second; else both are only read.",
)
@click.option(
    "--step",
    type=Number(StepUm),
    default=0.5,
    show_default=True,
    help="Planned distance of planes, µm.",
)
@click.option(
    "--seconds",
    type=Number(DurationS),
    help="How long the camera runs at full speed.  [default: 10; 1 when simulated]",
)
@click.option(
    "--out",
    type=PATH,
    default=Path(),
    metavar="DIR",
    help="Where stacks will be written: its disk is timed.  [default: this folder]",
)
@click.option(
    "--write", type=PATH, metavar="FILE", help="Write a new rig with the recommended settings."
)
@json_option
def check(
    rig_name: str,
    overrides: tuple[str, ...],
    half_range: float,
    xy_range: float,
    pipette_range: float,
    go: bool,
    step: float,
    seconds: float | None,
    out: Path,
    write: Path | None,
    as_json: bool,
) -> None:
    """Measure the rig RIG (a file, or sim) and report problems.

    First put a fixed specimen with fine detail in focus. Drive and x/y stage move within a small
    range that is printed first, and return to their start position, also after an error or Ctrl-C.
    The pipette and the pump are moved with --go only. The exit code is 1 when anything is bad.
    """
    from fgaf.acquire.commissioning.check_plan import CheckPlan
    from fgaf.acquire.rig import load_rig
    from fgaf.base.errors import ExistsError, SettingError

    loaded = load_rig(rig_name, overrides)
    if seconds is None:
        seconds = 1.0 if loaded.simulation else 10.0
    plan = CheckPlan(half_range, step, seconds, out)
    if not out.is_dir():
        raise SettingError(f"there is no folder {out}; give --out one that exists")
    if write is not None and write.exists():
        raise ExistsError(f"{write} exists already; choose another name")

    def tell(verdict: Verdict) -> None:
        if not as_json:
            echo(verdict.line())

    work = _Work(xy_range, pipette_range, go)
    report = _measure(loaded, plan, work, tell, as_json)
    advice = ", ".join(f"{key} = {value:g}" for key, value in report.recommended.items())
    lines = [
        *_courses(report),
        f"recommended for [stage]: {advice or 'nothing, because the check failed'}",
    ]
    if not report.recommended:
        write = None
    if write is not None:
        _write_advised(rig_name, loaded, report, write)
        lines.append(f"wrote {write}")
    lines.append(f"verdict: {report.level}")
    finish(
        "\n".join(lines),
        ["acq", "stack", "--rig", write or rig_name] if report.level != "bad" else None,
        {
            "level": report.level,
            "verdicts": [vars(verdict) for verdict in report.verdicts],
            "measured": report.measured,
            "step": _course_json(report),
            "correlations": report.ladder,
            "image_after_arrival_um": report.ringing,
            "advised": report.recommended,
            "written": write,
        },
        as_json,
    )
    if report.level == "bad":
        click.get_current_context().exit(1)


@dataclass(frozen=True)
class _Work:
    """What is checked besides drive and camera: ranges in µm, and whether the pipette moves."""

    xy_range: float
    pipette_range: float
    go: bool


def _measure(rig: Rig, plan: CheckPlan, work: _Work, tell: Any, as_json: bool) -> Report:
    from fgaf.acquire.commissioning.check_plan import Bounds
    from fgaf.acquire.commissioning.checkup import check_rig
    from fgaf.acquire.commissioning.pipette_checkup import check_pipette, check_pump
    from fgaf.acquire.commissioning.report import Report
    from fgaf.acquire.commissioning.xy_checkup import check_xy
    from fgaf.acquire.commissioning.xy_trial import XYBounds
    from fgaf.acquire.control.xy_stage import XYMover
    from fgaf.acquire.devices import DeviceError
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.rig import open_rig
    from fgaf.base.errors import SettingError

    with Interrupt.on_signals(last=True) as interrupt:
        try:
            opened = open_rig(rig, interrupt)
        except DeviceError as error:
            failed = Report(tell=tell)
            failed.say("link", "bad", str(error))
            return failed
        with opened:
            bounds = Bounds.of(opened, rig, plan)
            across, not_moved = None, ""
            if opened.xy_stage is not None and work.xy_range > 0:
                travel = XYMover(opened, rig.xy_stage, interrupt)
                try:
                    across = travel, XYBounds.of(travel, work.xy_range)
                except SettingError as error:  # no limits: the drive can be checked without
                    not_moved = f"not moved: {error}"
            echo(bounds.describe(), err=as_json)
            if across:
                echo(across[1].describe(), err=as_json)
            report = check_rig(opened, rig, plan, bounds, interrupt, tell)
            if across:
                check_xy(opened, rig, *across, report)
            if not_moved:
                report.say("x/y stage", "warning", not_moved)
            check_pipette(opened, rig, work.pipette_range, work.go, interrupt, report)
            check_pump(opened, rig, work.go, report)
            return report


def _write_advised(rig_name: str, rig: Rig, report: Report, target: Path) -> None:
    """Write the rig with the recommended settings; comments of its file are kept where possible."""
    from fgaf.acquire.rig import BUILT_IN, load_rig
    from fgaf.base.files import publishing
    from fgaf.base.toml import set_values

    stage = rig.stage.model_copy(update=report.recommended)
    advised = rig.model_copy(update={"stage": stage})
    text = BUILT_IN.get(rig_name) or Path(rig_name).read_text(encoding="utf-8")
    with publishing(target) as part:
        part.write_text(set_values(text, "stage", report.recommended), encoding="utf-8")
        if load_rig(part) != advised:
            part.write_text(advised.to_toml(), encoding="utf-8")


def _courses(report: Report) -> list[str]:
    """Draw position against time after a step, and list how images differ with z and with time."""
    import numpy as np

    from fgaf.acquire.commissioning.verdict import sparkline

    lines = []
    if report.step is not None:
        step = report.step
        end_s = max(2 * report.measured["step_s"], 0.02)
        times_s = np.linspace(0, end_s, _CURVE_SIGNS)
        course = sparkline(step.at(times_s).tolist(), sys.stdout.encoding or "ascii")
        lines += [
            "",
            f"position after a step from {step.from_um:.3f} to {step.target_um:.3f} µm",
            f"  {course} {1e3 * end_s:.0f} ms",
            _row("ms", (f"{1e3 * t:.0f}" for t in times_s[::8])),
            _row("µm", (f"{z:.3f}" for z in step.at(times_s[::8]))),
        ]
    if report.ladder:
        lines += ["", "correlation of images at each z with one at the start"]
        lines += [_row("µm", (f"{z:.5g}" for z in report.ladder))]
        lines += [_row("", (f"{alike:.2f}" for alike in report.ladder.values()))]
    if report.ringing:
        lines += ["", "distance of the image from its final z, by time after arrival"]
        lines += [_row("ms", (f"{ms:g}" for ms in report.ringing))]
        lines += [_row("µm", (f"{um:+.2f}" for um in report.ringing.values()))]
    return [*lines, ""]


def _row(unit: str, cells: Any) -> str:
    return f"  {unit:<3}" + "".join(f"{cell:>7}" for cell in cells)


def _course_json(report: Report) -> dict[str, Any] | None:
    if report.step is None:
        return None
    return {
        "from_um": report.step.from_um,
        "target_um": report.step.target_um,
        "times_s": report.step.times_s.tolist(),
        "positions_um": report.step.positions_um.tolist(),
    }


def _attached(found: Found) -> str:
    problem = f"  ({found.problem})" if found.problem else ""
    return f"{found.kind:<13}{found.address:<27} {found.name}{problem}"


def _as_json(found: Found) -> dict[str, Any]:
    return vars(found) | {"address": found.address}


def _package(point: Any) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
