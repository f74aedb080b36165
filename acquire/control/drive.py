"""The focus drive: limits are checked, arrival is confirmed, and it returns at the end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from fgaf.acquire.control.arrival import Axes, DisplacedError, Mover
from fgaf.acquire.control.error_context import ending
from fgaf.acquire.device_tables import StageTable
from fgaf.acquire.devices import Clock, DeviceError, Stage
from fgaf.acquire.interrupt import Interrupt
from fgaf.acquire.plan import StackPlan
from fgaf.base.errors import SettingError

_log = logging.getLogger(__name__)


class Drive:
    """Moves an open stage. Every wait uses the clock and is finite.

    Before each move the position is compared with the range of the moves so far (`arrival.Mover`).

    Parameters
    ----------
    stage, clock
        The device, and the clock of its waits.
    settings
        Limits, approach, tolerance, settling, time-outs.
    interrupt
        Checked in every wait, but not on the way back.
    """

    def __init__(
        self, stage: Stage, clock: Clock, settings: StageTable, interrupt: Interrupt
    ) -> None:
        self.settings, self.clock = settings, clock
        self._stage = stage
        self._from_below_um = math.inf
        axes = Axes(
            "the drive",
            go=lambda place: stage.move_to(*place),
            moving=stage.moving,
            read=lambda: (stage.position_um(),),
            halt=stage.stop,
            reopen=getattr(stage, "reopen", None),
            table="stage",
        )
        self._mover = Mover(axes, settings, clock, interrupt)

    @property
    def interrupt(self) -> Interrupt:
        """Ends its waits."""
        return self._mover.interrupt

    @property
    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest z allowed: the device's limits within those of the rig.

        Raises
        ------
        SettingError
            They do not overlap.
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

    @property
    def unit_um(self) -> float | None:
        """Size of the drive's units; None where it can stop at any position."""
        return getattr(self._stage, "unit_um", None)

    def position_um(self) -> float:
        """Position of the drive.

        Raises
        ------
        DeviceError
            There is no answer, or it is not a number.
        """
        (z_um,) = self._mover.read()
        return z_um

    def moving(self) -> bool:
        """Whether the drive reports that it moves."""
        return self._mover.moving()

    def check(self, plan: StackPlan, below_um: float, above_um: float = 0.0) -> None:
        """Refuse a plan that this drive cannot execute, before anything moves.

        Parameters
        ----------
        plan
            The planes.
        below_um, above_um
            How far below the first and above the last plane the drive will go.

        Raises
        ------
        SettingError
            A plane, the way to it or the current position is outside the limits.
        """
        plan.check_limits(self.limits_um, below_um, above_um)
        self.check_here()

    def check_here(self) -> None:
        """Refuse to start when the drive is outside its limits.

        Raises
        ------
        SettingError
            It is.
        """
        low, high = self.limits_um
        here, tolerance = self.position_um(), self.settings.tolerance_um
        if not low - tolerance <= here <= high + tolerance:
            raise SettingError(
                f"the drive is at {here:.3f} µm, outside its limits {low:g} to {high:g} µm; "
                "move it inside or correct stage.limits_um"
            )

    @contextmanager
    def returning(self, done: str = "all planes were taken") -> Iterator[float]:
        """Return the drive to its current position after the block, also after an error.

        It is not moved when it is not where it was last read: after a restart of its controller or
        a move by hand, the effect of a move is unknown.

        Parameters
        ----------
        done
            What the block has done; begins the error when the drive cannot go back.

        Yields
        ------
        float
            Its position, in µm.

        Raises
        ------
        FgafError
            The error that ended the block, with the state of the drive; or the drive could not go
            back.
        """
        (start_um,) = self._mover.anchor()
        well = f"the drive is back at {start_um:.3f} µm"
        with ending(lambda: self._bring_back(start_um), well, done):
            yield start_um

    def forget(self) -> None:
        """Approach the next position from below, independent of the last one."""
        self._from_below_um = math.inf

    def move_to(self, z_um: float) -> float:
        """Go to `z_um`, finally from below, and wait until the drive is there.

        Returns
        -------
        float
            The position read back, in µm.

        Raises
        ------
        DeviceError
            It is not where it was last read, did not arrive within the time-out, or came to rest
            elsewhere.
        """
        approach_um = self.settings.approach_um
        if z_um < self._from_below_um and approach_um > 0:
            below_um = max(z_um - approach_um, self.limits_um[0])
            self.go_to(below_um, max(self.settings.tolerance_um, approach_um / 2))
        here_um = self.go_to(z_um, self.settings.tolerance_um)
        self._from_below_um = z_um
        return here_um

    def go_to(self, z_um: float, tolerance_um: float) -> float:
        """Go directly to `z_um`, and wait until the drive is at rest there; see `Mover.arrive`.

        Parameters
        ----------
        z_um
            Where to, in µm.
        tolerance_um
            Largest distance between `z_um` and the position read back, which is returned.
        """
        (here_um,) = self._mover.arrive((z_um,), tolerance_um)
        return here_um

    def send(
        self, z_um: float, go: Callable[[], None] | None = None, seen_um: float | None = None
    ) -> float:
        """Start a move and return at once; see `Mover.send`.

        Parameters
        ----------
        z_um
            Where to, in µm.
        go
            Starts the move instead of `Stage.move_to`.
        seen_um
            Its position, if it was just read.

        Returns
        -------
        float
            The start position, in µm.
        """
        seen = None if seen_um is None else (seen_um,)
        (here_um,) = self._mover.send((z_um,), go, seen)
        return here_um

    def accept(self, z_um: float) -> None:
        """Accept the final position of a trial; see `Mover.accept`."""
        self._mover.accept((z_um,))

    def halt(self) -> None:
        """Stop, and confirm the position; see `Mover.halt`."""
        self._mover.halt()

    def displacement(self, z_um: float, last_um: float) -> DisplacedError:
        """Make the error for an impossible position; see `Mover.displacement`.

        Parameters
        ----------
        z_um
            Position read back, µm.
        last_um
            Position read back before, µm.
        """
        return self._mover.displacement((z_um,), (last_um,))

    def distrust(self) -> None:
        """Stop moving it, since its readings contradict each other; see `Mover.distrust`."""
        self._mover.distrust()

    def settle(self) -> None:
        """Rest between arrival and exposure."""
        self.clock.sleep(self.settings.settle_ms / 1e3)
        self.interrupt.check()

    def _bring_back(self, start_um: float) -> str:
        """Bring the drive back; see `Mover.bring_back`."""

        def go_back() -> None:
            low, high = self.limits_um
            home_um = min(max(start_um, low), high)  # it may have been outside, by the tolerance
            self.forget()
            try:
                self.move_to(home_um)
            except DisplacedError:
                raise
            except (
                DeviceError
            ):  # the way from below may be blocked by limits that only the device knows
                _log.info(
                    "the way back from below failed; the drive returns directly", exc_info=True
                )
                self.halt()
                self.go_to(home_um, self.settings.tolerance_um)

        return self._mover.bring_back((start_um,), go_back)


class OnDrive:
    """Base of classes that take stacks with a drive; passes on its position and moves."""

    _drive: Drive

    @property
    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest z allowed; see `Drive.limits_um`."""
        return self._drive.limits_um

    def position_um(self) -> float:
        """Where the drive stands; see `Drive.position_um`."""
        return self._drive.position_um()

    def move_to(self, z_um: float) -> float:
        """Go to `z_um` and confirm it; see `Drive.move_to`."""
        return self._drive.move_to(z_um)

    def returning(self) -> AbstractContextManager[float]:
        """Return the drive after the block; see `Drive.returning`."""
        return self._drive.returning()
