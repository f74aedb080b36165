"""Replays a recorded raw stack as camera and focus drive.

When the drive is sent to within the rig's tolerance of a recorded plane, but at most half a step
away, it is at that plane and reads back its recorded z. At any other position nothing can be
exposed. So a frame is never returned for another z, and a finer plan than the recorded one is an
error.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fgaf.acquire.devices import Clock, DeviceError, Frame, Stage
from fgaf.acquire.drivers.limits import require_within
from fgaf.acquire.drivers.simulated_clock import SimulatedClock
from fgaf.acquire.rig import Opening
from fgaf.acquire.tables import Table, parse_table
from fgaf.base.bounds import ExposureMs
from fgaf.base.errors import SettingError
from fgaf.dataset.raw import RawStack


class ReplayStageSettings(Table):
    """The `[stage.options]` of a replay.

    Attributes
    ----------
    stack
        The raw stack, ``NAME.stack.h5``.
    realtime
        Whether exposures take their recorded time; else they take no time.
    """

    stack: Path
    realtime: bool = False


class ReplayCameraSettings(Table):
    """The `[camera.options]` of a replay.

    Attributes
    ----------
    exposure_ms
        From the rig; the frames keep their recorded exposure time.
    stack
        The raw stack; by default that of the drive, if it is a replay too.
    """

    exposure_ms: ExposureMs
    stack: Path | None = None


@dataclass(frozen=True)
class Planes:
    """The z positions of a recorded stack.

    Attributes
    ----------
    z_um
        (P,) drive positions read back when it was recorded, in µm.
    reach_um
        Maximum distance from a plane that counts as on it, in µm.
    """

    z_um: npt.NDArray[np.float64]
    reach_um: float

    @classmethod
    def of(cls, stack: RawStack, opening: Opening) -> Self:
        """Read the z positions of a stack; the reach is the rig's tolerance, at most half a step.

        Parameters
        ----------
        stack
            An open raw stack.
        opening
            The rig, with its tolerance.
        """
        return cls(stack.z_um, min(opening.rig.stage.tolerance_um, stack.header.step_um / 2))

    def nearest(self, z_um: float) -> int:
        """Return the index of the nearest plane."""
        return int(np.argmin(np.abs(self.z_um - z_um)))

    def at(self, z_um: float) -> int | None:
        """Return the index of the plane at a z, None between the planes."""
        plane = self.nearest(z_um)
        # Positions are sums of steps: allow for rounding errors.
        return plane if abs(self.z_um[plane] - z_um) <= self.reach_um * (1 + 1e-9) else None


class ReplayStage:
    """A drive that moves without delay; implements `fgaf.acquire.devices.Stage`.

    Attributes
    ----------
    name
        The recorded drive and the file.
    limits_um
        Lowest and highest z, in µm: those of the planes, extended by half a step, and below also by
        the rig's approach.
    stack
        The file.
    """

    not_for_sweeps = "a replay has no images between the recorded planes"

    def __init__(self, stack: RawStack, opening: Opening) -> None:
        planes = Planes.of(stack, opening)
        margin_um = stack.header.step_um / 2
        self.name = f"replay of {stack.header.stage or 'an unknown drive'}, {stack.path.name}"
        self.limits_um = (
            float(planes.z_um.min()) - margin_um - opening.rig.stage.approach_um,
            float(planes.z_um.max()) + margin_um,
        )
        self.stack = stack.path
        self._planes = planes
        self._z_um = stack.header.center_um

    def position_um(self) -> float:
        """Return the recorded z of its plane, or its target between planes, in µm."""
        plane = self._planes.at(self._z_um)
        return self._z_um if plane is None else float(self._planes.z_um[plane])

    def move_to(self, z_um: float) -> None:
        """Go to `z_um`.

        Raises
        ------
        DeviceError
            `z_um` is outside the limits.
        """
        require_within(z_um, self.limits_um, self.name)
        self._z_um = z_um

    def moving(self) -> bool:
        """Always false: it moves without delay."""
        return False

    def stop(self) -> None:
        """Does nothing, as no move takes time."""

    def close(self) -> None:
        """Does nothing."""


class ReplayCamera:
    """Returns the plane at the drive's position; implements `fgaf.acquire.devices.Camera`.

    Attributes
    ----------
    name
        The recorded camera and the file.
    shape
        Rows and columns (Y, X) of the frames.
    bit_depth
        Significant bits of a pixel.
    """

    not_for_sweeps = "a replay has no images between the recorded planes"

    def __init__(self, path: Path, opening: Opening, stage: Stage) -> None:
        self._opened = ExitStack()
        self._stack = stack = self._opened.enter_context(RawStack.open(path))
        try:
            stack.verify()
            truth = stack.truth()
            self._known = truth.frames if truth else None
        except BaseException:
            self._opened.close()
            raise
        self.name = f"replay of {stack.header.camera or 'an unknown camera'}, {path.name}"
        self.shape = stack.shape[1:]
        self.bit_depth = max(stack.header.bit_depth, 1 if stack.frames.dtype == np.uint8 else 9)
        self._planes = Planes.of(stack, opening)
        self._clock: Clock = opening.clock
        self._stage = stage
        self._started = False
        self._count = 0

    def start(self) -> None:
        """Arm; frame numbers start again at 0."""
        self._started = True
        self._count = 0

    def trigger(self, timeout_s: float) -> Frame:  # noqa: ARG002
        """Return a copy of the plane at the drive's position, with the current time.

        Raises
        ------
        DeviceError
            Not started, or the drive is between the planes.
        """
        if not self._started:
            raise DeviceError(f"{self.name} is not started")
        plane = self._plane()
        exposure_us = float(self._stack.planes["exposure_us"][plane])
        self._clock.sleep(exposure_us / 2e6)
        middle_ns = self._clock.now_ns()
        self._clock.sleep(exposure_us / 2e6)
        frame_id, self._count = self._count, self._count + 1
        known = self._known[plane] if self._known else None
        return Frame(
            pixels=self._stack.frames[plane],
            frame_id=frame_id,
            time_device_ns=0,
            time_host_ns=middle_ns,
            exposure_us=exposure_us,
            truth=known and known.model_copy(update={"time_ns": middle_ns}),
        )

    def stop(self) -> None:
        """Disarm; harmless when not started."""
        self._started = False

    def close(self) -> None:
        """Close the file; harmless when already closed."""
        self._started = False
        self._opened.close()

    def _plane(self) -> int:
        z_um = self._stage.position_um()
        plane = self._planes.at(z_um)
        if plane is None:
            near_um = self._planes.z_um[self._planes.nearest(z_um)]
            raise DeviceError(
                f"{self.name} has no plane at {z_um:.3f} µm, the nearest is at {near_um:.3f} µm; "
                "ask for planes that were recorded (`fgaf-data info` lists them)"
            )
        return plane


def open_stage(settings: Mapping[str, Any], opening: Opening) -> ReplayStage:
    """Open a recorded drive: the entry point `replay` of the group `fgaf.stages`.

    The rig's clock is replaced by a simulated one.

    Parameters
    ----------
    settings
        The rig's `[stage.options]`, see `ReplayStageSettings`.
    opening
        Gives the rig, whose tolerance and approach are needed; gets the clock.

    Raises
    ------
    SettingError
        A key is unknown, missing or wrong.
    FormatError
        The file is not a raw stack.
    """
    checked = parse_table(ReplayStageSettings, settings, "stage.options")
    opening.clock = SimulatedClock(checked.realtime)
    with RawStack.open(checked.stack) as stack:
        return ReplayStage(stack, opening)


def open_camera(settings: Mapping[str, Any], opening: Opening) -> ReplayCamera:
    """Open a recorded camera: the entry point `replay` of the group `fgaf.cameras`.

    Parameters
    ----------
    settings
        The rig's `[camera.options]`, see `ReplayCameraSettings`.
    opening
        Gives the rig, its clock, and any drive.

    Raises
    ------
    SettingError
        A key is unknown or wrong, or neither camera nor drive name a stack.
    FormatError
        The file is not a raw stack, or is damaged.
    """
    checked = parse_table(ReplayCameraSettings, settings, "camera.options")
    stage = opening.stage
    path = checked.stack or (stage.stack if isinstance(stage, ReplayStage) else None)
    if stage is None or path is None:
        raise SettingError("nothing to replay: give camera.options.stack, a NAME.stack.h5")
    return ReplayCamera(path, opening, stage)
