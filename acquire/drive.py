"""The focus drive, moved with care: limits first, arrival confirmed, brought back at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from fgaf.acquire.arrival import Axes, arrive
from fgaf.acquire.devices import Clock, DeviceError, Stage
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.acquire.plan import StackPlan
from fgaf.acquire.rig import StageTable
from fgaf.dataset.errors import FgafError, SettingError


class Drive:
    """Moves a stage that is open. Every wait goes through the clock and is finite.

    Parameters
    ----------
    stage, clock
        The device, and the time its waits are measured by.
    settings
        Limits, approach, tolerance, settling, time-outs.
    interrupt
        Looked at in every wait, but not on the way back.
    """

    def __init__(
        self, stage: Stage, clock: Clock, settings: StageTable, interrupt: Interrupt
    ) -> None:
        self.settings = settings
        self.interrupt = interrupt
        self._stage, self._clock = stage, clock
        self._from_below_um = math.inf
        self._axes = Axes(
            "the drive",
            lambda place: stage.move_to(*place),
            stage.moving,
            lambda: (self.position_um(),),
            "stage.tolerance_um",
            settings.tolerance_um,
        )

    @property
    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest z allowed: the device's limits within those of the rig.

        Raises
        ------
        SettingError
            They have nothing in common.
        """
        low, high = self._stage.limits_um
        if self.settings.limits_um is not None:
            low, high = max(low, self.settings.limits_um[0]), min(high, self.settings.limits_um[1])
        if not low < high:
            raise SettingError(
                f"stage.limits_um of the rig lies outside the drive's {self._stage.limits_um}; "
                "correct the rig"
            )
        return low, high

    def position_um(self) -> float:
        """Where the drive stands.

        Raises
        ------
        DeviceError
            The drive does not say, or says no number.
        """
        z_um = self._stage.position_um()
        if not math.isfinite(z_um):
            raise DeviceError(f"the drive gives {z_um} as its position; check its connection")
        return z_um

    def check(self, plan: StackPlan, below_um: float, above_um: float = 0.0) -> None:
        """Refuse, before anything moves, a plan that this drive cannot carry out.

        Parameters
        ----------
        plan
            The planes.
        below_um, above_um
            How far below the first and above the last plane the drive will go.

        Raises
        ------
        SettingError
            A plane, the way to it or the present position is outside the limits.
        """
        plan.check_limits(self.limits_um, below_um, above_um)
        self.check_here()

    def check_here(self) -> None:
        """Refuse to begin where the drive stands outside its limits.

        Raises
        ------
        SettingError
            It does.
        """
        low, high = self.limits_um
        here, tolerance = self.position_um(), self.settings.tolerance_um
        if not low - tolerance <= here <= high + tolerance:
            raise SettingError(
                f"the drive stands at {here:.3f} µm, outside its limits {low:g} to {high:g} µm; "
                "move it inside or correct stage.limits_um"
            )

    @contextmanager
    def returning(self, done: str = "all planes were taken") -> Iterator[float]:
        """Bring the drive back to where it stands now, whatever happens in the block.

        Parameters
        ----------
        done
            What a block that ends well has done; begins the error when the drive cannot go back.

        Yields
        ------
        float
            Where it stands, in µm.

        Raises
        ------
        FgafError
            What ended the block, with what became of the drive; or the drive could not go back.
        """
        start_um = self.position_um()
        try:
            yield start_um
        except FgafError as error:
            fate = self._fate(start_um)
            if isinstance(error, InterruptError):
                raise InterruptError(f"{error}; {fate}", error.exit_code) from error
            raise DeviceError(f"{error}; {fate}") from error
        except BaseException as error:
            error.add_note(self._fate(start_um))
            raise
        if lost := self._not_returned(start_um):
            raise DeviceError(f"{done}, but {lost}")

    def forget(self) -> None:
        """Approach the next position from below, wherever the last one was."""
        self._from_below_um = math.inf

    def move_to(self, z_um: float) -> float:
        """Go to `z_um`, at the end from below, and wait until the drive is really there.

        Returns
        -------
        float
            The position read back, in µm.

        Raises
        ------
        DeviceError
            It did not arrive within the time-out, or came to rest elsewhere.
        """
        approach_um = self.settings.approach_um
        if z_um < self._from_below_um and approach_um > 0:
            below_um = max(z_um - approach_um, self.limits_um[0])
            self.go_to(below_um, max(self.settings.tolerance_um, approach_um / 2))
        here_um = self.go_to(z_um, self.settings.tolerance_um)
        self._from_below_um = z_um
        return here_um

    def go_to(self, z_um: float, tolerance_um: float) -> float:
        """Go to `z_um` the shortest way, and wait until the drive stands there; see `arrive`.

        Parameters
        ----------
        z_um
            Where to, in µm.
        tolerance_um
            Largest distance between `z_um` and the position read back, which is returned.
        """
        (here_um,) = arrive(
            self._axes, (z_um,), tolerance_um, self.settings, self._clock, self.interrupt
        )
        return here_um

    def settle(self) -> None:
        """Rest between arrival and exposure."""
        self._clock.sleep(self.settings.settle_ms / 1e3)
        self.interrupt.check()

    def _fate(self, start_um: float) -> str:
        return self._not_returned(start_um) or f"the drive is back at {start_um:.3f} µm"

    def _not_returned(self, start_um: float) -> str | None:
        """Bring the drive back; say what went wrong, or None.

        The cause that led here may have left the drive moving, so it is halted first. Drivers are
        foreign code and may raise anything, which must not hide that first cause.
        """
        self.interrupt = Interrupt()
        self.forget()
        try:
            self._stage.stop()
            self.move_to(start_um)
        except Exception as error:
            return f"the drive could not return to {start_um:.3f} µm ({error}); {self._where()}"
        return None

    def _where(self) -> str:
        try:
            return f"it is at {self.position_um():.3f} µm"
        except Exception:
            return "and where it is cannot be read"
