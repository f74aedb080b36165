"""The focus drive, moved with care: limits first, arrival confirmed, brought back at the end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from fgaf.acquire.control.arrival import Axes, DisplacedError, Mover
from fgaf.acquire.devices import Clock, DeviceError, Stage
from fgaf.acquire.interrupt import Interrupt, InterruptError
from fgaf.acquire.plan import StackPlan
from fgaf.acquire.rig import StageTable
from fgaf.base.errors import FgafError, SettingError

_log = logging.getLogger(__name__)


class Drive:
    """Moves a stage that is open. Every wait goes through the clock and is finite.

    Before each move the position is compared with what the moves so far allow (`arrival.Mover`).

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
            tolerance="stage.tolerance_um",
            tolerance_um=settings.tolerance_um,
        )
        self._mover = Mover(axes, settings, clock, interrupt)

    @property
    def interrupt(self) -> Interrupt:
        """What ends its waits."""
        return self._mover.interrupt

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

    @property
    def unit_um(self) -> float | None:
        """Size of the units that the drive counts in; None where it stands anywhere."""
        return getattr(self._stage, "unit_um", None)

    def position_um(self) -> float:
        """Where the drive stands.

        Raises
        ------
        DeviceError
            The drive does not say, or says no number.
        """
        (z_um,) = self._mover.read()
        return z_um

    def moving(self) -> bool:
        """Whether the drive says that it moves."""
        return self._mover.moving()

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

        It stays where it is when that is not where it was last read: after a restart of its
        controller, or with a hand on the joystick, nobody knows what a move would do.

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
        (start_um,) = self._mover.anchor()
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
        if lost := self._bring_back(start_um):
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
        """Go to `z_um` the shortest way, and wait until the drive stands there; see `Mover.arrive`.

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
            Starts the move in another way than `Stage.move_to` does.
        seen_um
            Where it is, if that was read just now.

        Returns
        -------
        float
            Where it began, in µm.
        """
        seen = None if seen_um is None else (seen_um,)
        (here_um,) = self._mover.send((z_um,), go, seen)
        return here_um

    def accept(self, z_um: float) -> None:
        """Take a position at which a trial has ended for right; see `Mover.accept`."""
        self._mover.accept((z_um,))

    def halt(self) -> None:
        """Stop where it is, and make sure of where that is; see `Mover.halt`."""
        self._mover.halt()

    def displacement(self, z_um: float, last_um: float) -> DisplacedError:
        """Make the error for a position in which it cannot be; see `Mover.displacement`.

        Parameters
        ----------
        z_um
            Position read back, µm.
        last_um
            Position read back before, µm.
        """
        return self._mover.displacement((z_um,), (last_um,))

    def distrust(self) -> None:
        """Move it no more, as what it has told cannot all be true; see `Mover.distrust`."""
        self._mover.distrust()

    def settle(self) -> None:
        """Rest between arrival and exposure."""
        self.clock.sleep(self.settings.settle_ms / 1e3)
        self.interrupt.check()

    def _fate(self, start_um: float) -> str:
        return self._bring_back(start_um) or f"the drive is back at {start_um:.3f} µm"

    def _bring_back(self, start_um: float) -> str:
        """Bring the drive back; see `Mover.bring_back`."""

        def go_back() -> None:
            low, high = self.limits_um
            home_um = min(max(start_um, low), high)  # it may have stood outside, by the tolerance
            self.forget()
            try:
                self.move_to(home_um)
            except DisplacedError:
                raise
            except DeviceError:  # the way below may be closed, by limits that only the device knows
                _log.info("the way back from below failed; it goes directly", exc_info=True)
                self.halt()
                self.go_to(home_um, self.settings.tolerance_um)

        return self._mover.bring_back((start_um,), go_back)


class OnDrive:
    """What takes stacks with a drive, and hands on where it stands and how it moves."""

    _drive: Drive

    @property
    def limits_um(self) -> tuple[float, float]:
        """Lowest and highest z allowed; see `Drive.limits_um`."""
        return self._drive.limits_um

    def position_um(self) -> float:
        """Where the drive stands; see `Drive.position_um`."""
        return self._drive.position_um()

    def move_to(self, z_um: float) -> float:
        """Go to `z_um` and be sure of it; see `Drive.move_to`."""
        return self._drive.move_to(z_um)

    def returning(self) -> AbstractContextManager[float]:
        """Bring the drive back after the block; see `Drive.returning`."""
        return self._drive.returning()
