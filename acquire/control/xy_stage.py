"""Moves between fields of the specimen with an x/y stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from fgaf.acquire.control.arrival import Axes, Mover, Place, shown
from fgaf.acquire.control.error_context import ending, error_context
from fgaf.acquire.control.positions import Position
from fgaf.acquire.device_tables import XYStageTable
from fgaf.acquire.devices import DeviceError, Devices, LimitsXY, VelocityStage
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.base.errors import SettingError


class XYMover:
    """Moves the specimen. Every wait uses the clock and is finite.

    Parameters
    ----------
    devices
        The open rig: its x/y stage, and the clock of the waits.
    settings
        Limits, tolerance, time-outs; None if the rig has no such table.
    interrupt
        Checked in every wait, but not on the way back.

    Attributes
    ----------
    stage, clock, settings
        The device, the clock of its waits, and its table in the rig.

    Raises
    ------
    SettingError
        The rig has no x/y stage.
    """

    def __init__(
        self, devices: Devices, settings: XYStageTable | None, interrupt: Interrupt
    ) -> None:
        stage = devices.xy_stage
        if stage is None or settings is None:
            raise SettingError(
                "the rig does not move in x and y: add the table [xy_stage] of its x/y stage"
            )
        self.stage, self.settings, self.clock = stage, settings, devices.clock
        axes = Axes(
            "the x/y stage",
            go=lambda place: stage.move_xy_to(*place),
            moving=stage.moving_xy,
            read=stage.position_xy_um,
            halt=stage.stop,
            reopen=getattr(stage, "reopen", None),
            table="xy_stage",
        )
        self._mover = Mover(axes, settings, devices.clock, interrupt)

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self.stage.name

    @property
    def limits_um(self) -> LimitsXY:
        """Lowest and highest x, and y: the device's limits within those of the rig.

        Raises
        ------
        SettingError
            Neither has limits.
        """
        wanted = self.settings.limits_xy_um
        found = []
        for axis, own, rig in zip("xy", self.stage.limits_xy_um, wanted, strict=True):
            low, high = max(rig[0], own[0]), min(rig[1], own[1])
            if not (math.isfinite(low) and math.isfinite(high)):
                raise SettingError(
                    f"{self.stage.name} has no limits of its own in {axis}: set "
                    f"xy_stage.{axis}_limits_um in the rig"
                )
            found.append((low, high))
        return found[0], found[1]

    def position_um(self) -> Place:
        """Position of the stage: x and y.

        Raises
        ------
        DeviceError
            There is no answer, or it is not a number.
        """
        return self._mover.read()

    def check_here(self) -> None:
        """Refuse to start when the stage is outside its limits.

        Raises
        ------
        SettingError
            It is.
        """
        spare_um = self.settings.tolerance_um
        for axis, at, (low, high) in zip("xy", self.position_um(), self.limits_um, strict=True):
            if not low - spare_um <= at <= high + spare_um:
                raise SettingError(
                    f"{self.stage.name} is at {axis} = {at:.1f} µm, outside its limits {low:g} to "
                    f"{high:g} µm; move it inside or correct xy_stage.{axis}_limits_um"
                )

    def check(self, positions: Sequence[Position]) -> None:
        """Refuse a list with positions that this stage cannot reach, before anything moves.

        Raises
        ------
        SettingError
            A position is outside the limits, or the stage does not answer for x and y.
        """
        limits = self.limits_um
        for position in positions:
            place = (position.x_um, position.y_um)
            for axis, value, (low, high) in zip("xy", place, limits, strict=True):
                if not low <= value <= high:
                    raise SettingError(
                        f"position {position.describe()} is outside the stage's limits {low:g} to "
                        f"{high:g} µm in {axis}; correct the list or xy_stage.{axis}_limits_um"
                    )
        try:
            self.position_um()
        except DeviceError as error:
            raise SettingError(
                f"the position of the stage in x and y cannot be read: {error}"
            ) from error

    @contextmanager
    def returning(self, done: str = "all stacks were taken") -> Iterator[Place]:
        """Return the specimen to its current position after the block, also after an error.

        It is not moved when it is not where it was last read; see `Drive.returning`.

        Parameters
        ----------
        done
            What the block did, for the error if only the return fails.

        Raises
        ------
        FgafError
            The error that ended the block, with the state of x and y; or they could not go back.
        """
        start = self._mover.anchor()
        well = f"x, y are back at {shown(start)}"
        with ending(lambda: self._bring_back(start), well, done):
            yield start

    def go_to(self, position: Position) -> Place:
        """Go to a position of the list and confirm it; returns x and y read back.

        Raises
        ------
        DeviceError
            It is not where it was last read, did not arrive within the time-out, or came to rest
            elsewhere.
        """
        with error_context(f"position {position.name}"):
            return self._arrive((position.x_um, position.y_um))

    def glide(self, velocity_um_s: tuple[float, float], seconds: float) -> tuple[Place, float]:
        """Move at a velocity for a while, from a confirmed position, and stop.

        Parameters
        ----------
        velocity_um_s
            Velocity in x and y.
        seconds
            How long.

        Returns
        -------
        tuple of Place and float
            The way read back, x and y in µm, and how long the velocity was held, in seconds.

        Raises
        ------
        SettingError
            The stage moves to positions only.
        DeviceError
            It is not where it was last read, or does not move as commanded; it was stopped.
        """
        stage, mover = self.stage, self._mover
        if not isinstance(stage, VelocityStage):
            raise SettingError(f"{stage.name} moves to positions only, not at a velocity")
        start, begun_ns = mover.confirm(), self.clock.now_ns()
        try:
            while self._since_s(begun_ns) < seconds:
                mover.interrupt.check()
                stage.move_xy_at(*velocity_um_s)
                self.clock.sleep(self.settings.poll_ms / 1e3)
            stage.move_xy_at(0.0, 0.0)
        except InterruptError:
            stage.stop()
            mover.accept(mover.read())
            raise
        except BaseException:
            with suppress(Exception):
                stage.stop()
            raise
        held_s = self._since_s(begun_ns)
        while mover.moving():
            if self._since_s(begun_ns) > seconds + self.settings.timeout_s:
                stage.stop()
                raise DeviceError(f"{stage.name} does not stop after a velocity; switch it off")
            self.clock.sleep(self.settings.poll_ms / 1e3)
        here = mover.read()
        mover.accept(here)
        return tuple(end - at for end, at in zip(here, start, strict=True)), held_s

    def _since_s(self, begun_ns: int) -> float:
        return (self.clock.now_ns() - begun_ns) / 1e9

    def send(self, place: Place, seen: Place | None = None) -> None:
        """Start a move from a confirmed position and return at once; see `Mover.send`.

        Parameters
        ----------
        place
            Where to, x and y in µm.
        seen
            Its position, if it was just read.
        """
        self._mover.send(place, seen=seen)

    def _arrive(self, place: Place) -> Place:
        return self._mover.arrive(place, self.settings.tolerance_um)

    def _bring_back(self, start: Place) -> str:
        return self._mover.bring_back(start, lambda: self._arrive(start))
