"""Recording of stacks: their headers, and writing from the engine to the file."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fgaf.acquire.control.engine import Engine, Exposure
from fgaf.acquire.control.positions import Position
from fgaf.acquire.control.xy_stage import XYMover
from fgaf.acquire.devices import Devices, effective_settings
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.acquire.plan import StackPlan
from fgaf.acquire.recording.timelapse import Late, Timelapse
from fgaf.acquire.recording.writing import BackgroundWriter
from fgaf.acquire.rig import Rig, effective_optics
from fgaf.base.console import command_line, count
from fgaf.base.errors import FgafError, SettingError
from fgaf.base.files import free_bytes, require_all_new, require_free
from fgaf.dataset.raw import SUFFIX, RawHeader, RawWriter, require_no_part
from fgaf.dataset.truth import FrameTruth, StackTruth, truth_path, write_truth

_log = logging.getLogger(__name__)

Progress = Callable[[Iterable[Any], str, int | None], Iterator[Any]]

_SPARE_BYTES = 2 << 20


@dataclass(frozen=True)
class Labels:
    """The user's labels of a stack; `field` is shared by its repeats."""

    sample_id: str = ""
    operator: str = ""
    field: str = ""


class Method(Protocol):
    """A method to take a stack: `Engine` or `Sweep`."""

    retried: int

    def check(self, plan: StackPlan) -> None:
        """Refuse an impossible plan before anything moves."""
        ...

    def returning(self) -> AbstractContextManager[float]:
        """Return the drive after the block; yields that position."""
        ...

    def move_to(self, z_um: float) -> float:
        """Go to a position between stacks."""
        ...

    def expose(self, plan: StackPlan) -> Generator[Exposure, None, None]:
        """Take every plane, in the plan's order."""
        ...


@dataclass(frozen=True)
class Recorded:
    """Summary of a series without errors.

    Attributes
    ----------
    late
        Stacks that started late.
    retried
        Incomplete frames that were taken again.
    short_of_space
        Number of the stack from which the disk had no space for the rest of the series, but for
        that stack; None if there was always space.
    """

    late: tuple[Late, ...] = ()
    retried: int = 0
    short_of_space: int | None = None


def record_stacks(
    devices: Devices,
    rig: Rig,
    plan: StackPlan,
    paths: list[Path],
    labels: Labels | None = None,
    *,
    method: Method | None = None,
    every_s: float = 0.0,
    positions: Sequence[Position] = (),
    truth: bool = True,
    overwrite: bool = False,
    interrupt: Interrupt | None = None,
    progress: Progress = lambda items, _label, _length: iter(items),
) -> Recorded:
    """Take one stack for each of `paths`; the drive then returns to its start position.

    Limits, names and disk space are checked before the drive moves. A broken or interrupted run
    keeps its planes in a ``.part`` (`fgaf.dataset.recover`).

    Parameters
    ----------
    devices, rig
        The open devices and the rig they come from.
    plan
        The planes.
    paths
        Target files, for example from `stack_paths`.
    labels
        Recorded in every stack; the field is by default named after the first stack.
    method
        Method to take a stack; by default an `Engine`, plane by plane.
    every_s
        Seconds from the start of one stack to the start of the next; the drive waits at its start
        position. 0 takes them without a pause. With positions, from one round to the next.
    positions
        Positions of the specimen to visit in each round; `paths` holds one stack for each position
        of each round. Afterwards x and y return too.
    truth
        Whether the truth of a simulated camera is written beside each stack.
    overwrite
        Whether existing stacks may be replaced.
    interrupt
        Stops the run.
    progress
        Wraps an iterable with a label and a length, as `fgaf.base.console.progress` does.

    Raises
    ------
    SettingError, ExistsError
        The plan or the names are impossible; nothing was moved.
    FgafError
        The run failed; the message gives the plane, the cause, what was kept, and the drive's
        position.
    """
    interrupt = interrupt or Interrupt()
    method = method or Engine(devices, rig.camera, rig.stage, interrupt)
    pace = Timelapse(every_s, devices.clock, interrupt)
    travel = XYMover(devices, rig.xy_stage, interrupt) if positions else None
    check_series(method, plan, positions, travel)
    check_outputs(paths, plan, devices, overwrite)
    header = _header(devices, rig, labels or Labels(), paths[0], positions)
    stops: Sequence[Position | None] = positions or (None,)
    planes, stacks = (progress, _plainly) if len(paths) == 1 else (_plainly, progress)
    short_of_space = None
    with (
        travel.returning() if travel else nullcontext(),
        method.returning() as start_um,
    ):
        for number, path in enumerate(stacks(paths, count(len(paths), "stack"), len(paths)), 1):
            with _counted(number - 1, len(paths)):
                earlier, place = divmod(number - 1, len(stops))
                if place == 0:
                    pace.wait(earlier + 1)
                stop = stops[place]
                if travel and stop:
                    travel.go_to(stop)
                here = plan_at(plan, stop)
                _log.info("stack %d of %d: %s, %s", number, len(paths), path, here.describe())
                if short_of_space is None and not _fits(
                    path, len(paths) + 1 - number, plan, devices
                ):
                    short_of_space = number
                writer = RawWriter(
                    path,
                    header(here, stop),
                    (len(plan), *devices.camera.shape),
                    _pixels(devices),
                    overwrite,
                    compress=rig.compress,
                    downwards=plan.downwards,
                )
                _record(method.expose(here), writer, truth, planes)
                if every_s and number < len(paths) and stop is stops[-1]:
                    method.move_to(start_um)
    return Recorded(tuple(pace.late), method.retried, short_of_space)


def check_series(
    method: Method, plan: StackPlan, positions: Sequence[Position], travel: XYMover | None
) -> None:
    """Refuse a series with an impossible stack, before anything moves.

    Parameters
    ----------
    method
        Takes the stacks.
    plan
        Planes of each stack.
    positions
        Positions of the stacks; empty for the current position.
    travel
        Moves x and y; None if there is no such stage.

    Raises
    ------
    SettingError
        A position or the planes there are outside the limits, or the method refuses the plan.
    """
    if not positions:
        method.check(plan)
    for position in positions:
        with _at(position):
            method.check(plan_at(plan, position))
    if travel:
        travel.check(positions)


def plan_at(plan: StackPlan, position: Position | None) -> StackPlan:
    """The planes at a position: around its own z if it has one.

    Parameters
    ----------
    plan
        Planes of the series.
    position
        One of its positions, or None.
    """
    if position is None or position.z_um is None:
        return plan
    return plan.about(position.z_um)


@contextmanager
def _at(position: Position) -> Iterator[None]:
    try:
        yield
    except SettingError as error:
        raise SettingError(f"position {position.describe()}: {error}") from error


@contextmanager
def _counted(done: int, of: int) -> Iterator[None]:
    """Add the number of finished stacks to every error of the block."""
    try:
        yield
    except FgafError as error:
        if of == 1:
            raise
        line = f"{error}; {done} of {count(of, 'stack')} were done"
        if isinstance(error, InterruptError):
            raise InterruptError(line, error.exit_code) from error
        raise FgafError(line) from error


def _record(
    planes: Generator[Exposure, None, None], writer: RawWriter, truth: bool, progress: Progress
) -> None:
    known: dict[int, FrameTruth] = {}
    total = writer.n_planes
    try:
        with writer:
            with closing(planes) as exposures, BackgroundWriter(writer) as background:
                for exposure in progress(exposures, count(total, "plane"), total):
                    background.put(exposure)
                    if truth and exposure.frame.truth is not None:
                        known[exposure.plane] = exposure.frame.truth
            _publish(writer, [known[plane] for plane in sorted(known)])
    except FgafError as error:
        kept = _kept(writer)
        _log.info("the stack is broken: %s", kept)
        if isinstance(error, InterruptError):
            raise InterruptError(f"{error}; {kept}", error.exit_code) from error
        raise FgafError(f"{error}; {kept}") from error


def _publish(writer: RawWriter, known: list[FrameTruth]) -> None:
    """Publish the truth first, so that a stack never appears without it, or with an older one."""
    truth_path(writer.path).unlink(missing_ok=True)
    if known:
        write_truth(writer.path, StackTruth(stack_uuid=writer.header.uuid, frames=tuple(known)))
    writer.publish()


def _kept(writer: RawWriter) -> str:
    if writer.n_written == 0:
        return "no plane was kept"
    are = "plane is" if writer.n_written == 1 else "planes are"
    command = command_line("acq", "recover", writer.part)
    return f"{writer.n_written} {are} kept, publish with `{command}`"


def check_outputs(paths: list[Path], plan: StackPlan, devices: Devices, overwrite: bool) -> None:
    """Refuse invalid file names, or files that do not fit on the disk; nothing is created.

    Parameters
    ----------
    paths
        The stacks.
    plan, devices
        Content of each.
    overwrite
        Whether existing files may be replaced.

    Raises
    ------
    SettingError, ExistsError
        See `fgaf.base.files.require_all_new`; or a broken run left its ``.part``.
    FgafError
        The disk has too little space.
    """
    require_all_new(paths, overwrite)
    require_all_new(map(truth_path, paths), overwrite)
    for path in paths:
        require_no_part(path, overwrite)
    require_free(paths[0], len(paths) * _bytes_of_one(plan, devices))


def _fits(path: Path, stacks: int, plan: StackPlan, devices: Devices) -> bool:
    return free_bytes(path) >= stacks * _bytes_of_one(plan, devices)


def _bytes_of_one(plan: StackPlan, devices: Devices) -> int:
    pixels = int(np.prod(devices.camera.shape)) * _pixels(devices).itemsize
    return len(plan) * pixels + _SPARE_BYTES


def _header(
    devices: Devices, rig: Rig, labels: Labels, first: Path, positions: Sequence[Position]
) -> Callable[[StackPlan, Position | None], RawHeader]:
    """Return a function that makes headers that differ only in identity, time and position."""
    stem = re.sub(r"_r\d+$", "", first.name.removesuffix(SUFFIX))
    field = labels.field or (stem.removesuffix(f"_{positions[0].name}") if positions else stem)
    rig_toml = rig.to_toml()
    optics = effective_optics(rig, devices.camera)
    reported = {
        name: dict(values)
        for name, device in (("camera", devices.camera), ("stage", devices.stage))
        if (values := effective_settings(device).values)
    }
    device_settings = json.dumps(reported) if reported else ""

    def new(plan: StackPlan, stop: Position | None) -> RawHeader:
        return RawHeader.new(
            step_um=plan.step_um,
            half_range_um=plan.half_range_um,
            center_um=plan.center_um,
            optics=optics,
            bit_depth=devices.camera.bit_depth,
            sample_id=labels.sample_id,
            operator=labels.operator,
            field=f"{field}_{stop.name}" if stop else field,
            position_x_um=stop.x_um if stop else None,
            position_y_um=stop.y_um if stop else None,
            camera=devices.camera.name,
            stage=devices.stage.name,
            rig=rig_toml,
            device_settings=device_settings,
        )

    return new


def _pixels(devices: Devices) -> np.dtype[Any]:
    return np.dtype(np.uint8 if devices.camera.bit_depth <= 8 else np.uint16)


def _plainly(items: Iterable[Any], _label: str, _length: int | None) -> Iterator[Any]:
    return iter(items)
