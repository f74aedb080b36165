"""The commands `acq stack` and `acq sweep`: two ways to take the same file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fgaf.acquire.commands.options import rig_option, set_option
from fgaf.base.bounds import (
    ExposureMs,
    FramesPerPlane,
    HalfRangeUm,
    IntervalS,
    PositionUm,
    Repeats,
    Seed,
    StepUm,
    ToleranceUm,
)
from fgaf.base.console import Tool, command_line, count, echo, finish, progress
from fgaf.base.options import PATH, Number, json_option, overwrite_option

if TYPE_CHECKING:
    from fgaf.acquire.devices import Devices
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.plan import StackPlan
    from fgaf.acquire.recording.recording import Recorded
    from fgaf.acquire.rig import Rig

_HALF_RANGE_UM = 2.0
_OPTIONS = (
    click.option(
        "--step", type=Number(StepUm), default=0.5, show_default=True, help="µm between planes."
    ),
    click.option(
        "--range",
        "half_range",
        type=Number(HalfRangeUm),
        help="Half range in µm: 2 is ±2 µm about the centre. Other tools take the total.  "
        "[default: 2]",
    ),
    click.option(
        "--center",
        type=Number(PositionUm),
        help="Middle plane in µm.  [default: where the drive is]",
    ),
    click.option(
        "--from", "low", type=Number(PositionUm), metavar="Z", help="Lowest plane in µm, with --to."
    ),
    click.option(
        "--to",
        "high",
        type=Number(PositionUm),
        metavar="Z",
        help="Highest plane in µm, with --from; instead of --range and --center.",
    ),
    click.option(
        "--out",
        type=PATH,
        default=Path("raw"),
        show_default=True,
        metavar="DIR",
        help="Folder for the stacks.",
    ),
    rig_option,
    set_option,
    click.option(
        "--positions",
        type=PATH,
        metavar="FILE.csv",
        help="Positions to visit: columns x_um, y_um and optional z_um (middle plane) and name. "
        "One stack at each; needs a stage with x and y.",
    ),
    click.option(
        "--repeat",
        type=Number(Repeats),
        default=1,
        show_default=True,
        help="Number of stacks, or of rounds.",
    ),
    click.option(
        "--every",
        "every_s",
        type=Number(IntervalS),
        default=0.0,
        metavar="SECONDS",
        help="Time from the start of one stack, or round, to the start of the next.  "
        "[default: one after another]",
    ),
    click.option("--name", default="", help="File name.  [default: SAMPLE_time, in UTC]"),
    click.option("--sample", default="", metavar="ID", help="Recorded; groups cells in the split."),
    click.option("--field", default="", metavar="NAME", help="Field of view; repeats share it."),
    click.option("--operator", default="", help="Recorded."),
    click.option(
        "--exposure-ms", type=Number(ExposureMs), help="Exposure time, instead of the rig's."
    ),
    click.option(
        "--compress",
        is_flag=True,
        help="Smaller files by lossless compression; every HDF5 program reads them.",
    ),
    click.option("--seed", type=Number(Seed), help="Seed of the simulated specimen."),
    click.option("--realtime", is_flag=True, help="Run simulated time at the speed of real time."),
    click.option(
        "--truth/--no-truth",
        default=True,
        show_default=True,
        help="Write the true cell data of a simulated camera beside the stack.",
    ),
    click.option(
        "--masks",
        is_flag=True,
        help="Write the outlines of simulated heads into the truth, from which masks are drawn.",
    ),
    click.option(
        "--dry-run", is_flag=True, help="Check everything, print the planes, move nothing."
    ),
    overwrite_option,
    json_option,
)


@dataclass(frozen=True)
class Request:
    """Options of `acq stack` and `acq sweep`."""

    step: float
    half_range: float | None
    center: float | None
    low: float | None
    high: float | None
    out: Path
    rig_name: str
    overrides: tuple[str, ...]
    positions: Path | None
    repeat: int
    every_s: float
    name: str
    sample: str
    field: str
    operator: str
    exposure_ms: float | None
    compress: bool
    seed: int | None
    realtime: bool
    truth: bool
    masks: bool
    dry_run: bool
    overwrite: bool
    as_json: bool
    downwards: bool = False

    def plan(self) -> StackPlan:
        """Plan the planes; around 0 if no centre is given.

        Raises
        ------
        SettingError
            The planes are not given, given twice, or impossible.
        """
        from fgaf.acquire.plan import StackPlan
        from fgaf.base.errors import SettingError

        if self.low is None and self.high is None:
            half_range = _HALF_RANGE_UM if self.half_range is None else self.half_range
            return StackPlan(self.step, half_range, self.center or 0.0, downwards=self.downwards)
        if self.low is None or self.high is None:
            raise SettingError("--from and --to belong together; give both")
        if self.half_range is not None or self.center is not None:
            raise SettingError("--from and --to replace --range and --center; leave those out")
        return StackPlan.spanning(self.step, self.low, self.high, downwards=self.downwards)

    @property
    def centered_here(self) -> bool:
        """Whether the middle plane is at the drive's current position."""
        return self.center is None and self.low is None


class Way:
    """A method to take a stack, for the commands."""

    def open(self, devices: Devices, rig: Rig, interrupt: Interrupt) -> Any:
        """Make the `Engine` or the `Sweep`.

        Parameters
        ----------
        devices
            The opened rig.
        rig
            Its settings.
        interrupt
            Stops a run at a signal.
        """
        raise NotImplementedError

    def describe(self, plan: StackPlan) -> str:
        """Describe the run before the first move."""
        return plan.describe()

    def report(self) -> dict[str, Any]:
        """Return results for scripts after the run."""
        return {}


class Stepwise(Way):
    """Takes plane by plane, with the drive at rest."""

    def __init__(self, allow_uneven: bool) -> None:
        self._allow_uneven = allow_uneven

    def open(self, devices: Devices, rig: Rig, interrupt: Interrupt) -> Any:
        """Make the engine."""
        from fgaf.acquire.control.engine import Engine

        return Engine(devices, rig.camera, rig.stage, interrupt, allow_uneven=self._allow_uneven)


class InOneRamp(Way):
    """Takes a stack with the drive moving; see `Sweep`."""

    def __init__(self, frames_per_plane: int, tolerance_um: float | None) -> None:
        from fgaf.acquire.control.sweep import SweepSettings

        self._settings = SweepSettings(frames_per_plane, tolerance_um)

    def open(self, devices: Devices, rig: Rig, interrupt: Interrupt) -> Any:
        """Make the sweep."""
        from fgaf.acquire.control.sweep import Sweep

        self._sweep = Sweep(devices, rig.camera, rig.stage, self._settings, interrupt)
        return self._sweep

    def describe(self, plan: StackPlan) -> str:
        """Add speed and blur to the planes."""
        return f"{plan.describe()}\n{self._sweep.describe(plan)}"

    def report(self) -> dict[str, Any]:
        """Give the number of ramps, and the last one's speed and straightness."""
        last = self._sweep.last
        found = {"speed_um_s": last.speed_um_s, "residual_um": last.residual_um} if last else {}
        return {"ramps": self._sweep.ramps, **found}


def _recording_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(cls=Tool)
@_recording_options
@click.option(
    "--allow-uneven",
    is_flag=True,
    help="Allow a step that is not a multiple of the drive's unit: planes are then uneven.",
)
@click.option(
    "--downwards",
    is_flag=True,
    help="Start at the highest plane. Each is approached from below, and stored in order of z.",
)
def stack(allow_uneven: bool, **options: Any) -> None:
    """Take focus stacks: move, wait for arrival, settle, expose, check, plane by plane.

    The drive returns to its start position, also after an error or Ctrl-C. A broken run leaves its
    planes in a .part file: `acq recover` publishes it.
    """
    _record(Request(**options), Stepwise(allow_uneven))


@click.command(cls=Tool)
@_recording_options
@click.option(
    "--frames-per-plane",
    type=Number(FramesPerPlane),
    default=1,
    show_default=True,
    help="Frames per step: more is slower, with less blur and closer to the planes.",
)
@click.option(
    "--tolerance",
    "tolerance_um",
    type=Number(ToleranceUm),
    help="Largest distance of a frame from its plane, µm.  [default: a quarter of a step]",
)
@click.option(
    "--keep",
    type=click.Choice(["planes", "all"]),
    default="planes",
    show_default=True,
    help="Keep one frame per plane, or all frames: the planes are then denser by that factor.",
)
def sweep(frames_per_plane: int, tolerance_um: float | None, keep: str, **options: Any) -> None:
    """Take focus stacks in one ramp of the drive, with a free-running camera.

    For swimming cells: nine planes in nine frame times. The z of each frame is computed from the
    drive's read-backs during the ramp and the camera's time stamps. If a plane has no frame near
    it, the ramp is repeated a few times before it is an error. Needs a free-running camera and a
    drive with a constant speed.
    """
    request = Request(**options)
    if keep == "all":
        request = Request(**options | {"step": request.step / max(1, frames_per_plane)})
        frames_per_plane = min(1, frames_per_plane)
    _record(request, InOneRamp(frames_per_plane, tolerance_um))


def _record(request: Request, way: Way) -> None:
    from fgaf.acquire.control.positions import describe_all, read_positions
    from fgaf.acquire.control.xy_stage import XYMover
    from fgaf.acquire.devices import effective_settings
    from fgaf.acquire.interrupt import Interrupt
    from fgaf.acquire.recording.recording import (
        Labels,
        Recorded,
        check_outputs,
        check_series,
        record_stacks,
    )
    from fgaf.acquire.recording.stack_names import stack_paths
    from fgaf.acquire.rig import effective_optics, open_rig
    from fgaf.dataset.raw import broken_runs

    plan = request.plan()
    positions = read_positions(request.positions) if request.positions else ()
    paths = stack_paths(
        request.out, request.repeat, request.name, request.sample, positions=positions
    )
    rig = _rig_of(request)
    recorded = Recorded()
    with Interrupt.on_signals(last=True) as interrupt, open_rig(rig, interrupt) as devices:
        method = way.open(devices, rig, interrupt)
        if request.centered_here:
            plan = plan.about(round(method.position_um(), 3))
        travel = XYMover(devices, rig.xy_stage, interrupt) if positions else None
        check_series(method, plan, positions, travel)
        check_outputs(paths, plan, devices, request.overwrite)
        if not request.dry_run:
            echo(f"writing {paths[0]}", err=request.as_json)
            for part in broken_runs(request.out):
                echo(
                    f"{part} was left by a broken run: "
                    f"`{command_line('acq', 'recover', part)}` publishes it",
                    err=True,
                )
        echo(way.describe(plan), err=request.as_json)
        effective_optics(rig, devices.camera)  # refuses before anything moves
        for device in (devices.camera, devices.stage, devices.xy_stage):
            for note in effective_settings(device).notes:
                echo(note, err=request.as_json)
        if positions:
            echo(describe_all(positions), err=request.as_json)
        if not request.dry_run:
            recorded = record_stacks(
                devices,
                rig,
                plan,
                paths,
                Labels(request.sample, request.operator, request.field),
                method=method,
                every_s=request.every_s,
                positions=positions,
                truth=request.truth,
                overwrite=request.overwrite,
                interrupt=interrupt,
                progress=progress,
            )
    one = len(paths) == 1
    finish(
        "\n".join([_wrote(request, plan, paths), *_remarks(recorded, request)]),
        ["fgaf-curate", "auto", paths[0] if one else request.out],
        {
            "files": paths,
            "positions": [asdict(position) for position in positions],
            "planes": len(plan),
            "z_um": list(plan),
            "step_um": plan.step_um,
            "half_range_um": plan.half_range_um,
            "center_um": plan.center_um,
            "downwards": plan.downwards,
            "dry_run": request.dry_run,
            **asdict(recorded),
            **way.report(),
        },
        request.as_json,
    )


def _rig_of(request: Request) -> Rig:
    from fgaf.acquire.rig import load_rig
    from fgaf.base.errors import SettingError

    simulated = load_rig(request.rig_name, request.overrides).simulation is not None
    if (request.seed is not None or request.realtime or request.masks) and not simulated:
        raise SettingError(
            f"--seed, --realtime and --masks are for simulated rigs only; {request.rig_name} is a "
            "real one: leave them out"
        )
    if request.masks and not request.truth:
        raise SettingError("--masks are written into the truth; leave out --no-truth")
    settings = {
        "simulation.seed": request.seed,
        "stage.options.realtime": "true" if request.realtime else None,
        "simulation.outlines": "true" if request.masks else None,
        "camera.exposure_ms": request.exposure_ms,
        "compress": "true" if request.compress else None,
    }
    given = [f"{key}={value}" for key, value in settings.items() if value is not None]
    return load_rig(request.rig_name, (*request.overrides, *given))


def _wrote(request: Request, plan: StackPlan, paths: list[Path]) -> str:
    files = f"{paths[0]}" if len(paths) == 1 else f"{paths[0]} to {paths[-1].name}"
    wrote = "would write" if request.dry_run else "wrote"
    stacks, planes = count(len(paths), "stack"), count(len(plan), "plane")
    return f"{wrote} {stacks} of {planes}: {files}"


def _remarks(recorded: Recorded, request: Request) -> list[str]:
    lines = []
    begun = count(request.repeat, "round" if request.positions else "stack")
    if recorded.retried:
        lines.append(f"{count(recorded.retried, 'incomplete frame')} taken again")
    if recorded.late:
        longest = max(late.seconds for late in recorded.late)
        lines.append(
            f"warning: {len(recorded.late)} of {begun} started late, by up to {longest:.1f} s; "
            "take fewer planes or raise --every"
        )
    if recorded.short_of_space is not None:
        lines.append(
            f"warning: from stack {recorded.short_of_space} on the disk had no space for the whole "
            "series; free some space"
        )
    return lines
