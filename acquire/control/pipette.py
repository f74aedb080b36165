"""Moves of the micropipette: inside limits, over the floor, slowly, and upwards when in doubt."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fgaf.acquire.control.arrival import Axes, Mover, shown
from fgaf.acquire.control.error_context import ending
from fgaf.acquire.device_tables import ManipulatorTable
from fgaf.acquire.devices import Devices, LimitsXYZ, Place3
from fgaf.acquire.interrupt import Interrupt
from fgaf.base.errors import SettingError


class PipetteMover:
    """Moves the manipulator of an open rig. Every wait uses the clock and is finite.

    Both ends of a move lie inside the limits and above the floor, and no axis leaves the range
    between them, so that the way does too.

    Parameters
    ----------
    devices
        The open rig: its manipulator, and the clock of the waits.
    settings
        Limits, floor, highest speed, tolerance, time-outs; None if the rig has no such table.
    interrupt
        Checked in every wait, but not on the retreat.
    tell
        Called with every move, before it begins.
    go
        Whether anything moves. Else moves are checked and told, and their ends are taken as the
        positions.

    Raises
    ------
    SettingError
        The rig has no manipulator, or its limits or its floor are not given.
    """

    def __init__(
        self,
        devices: Devices,
        settings: ManipulatorTable | None,
        interrupt: Interrupt,
        tell: Callable[[str], None] = lambda _: None,
        go: bool = True,
    ) -> None:
        manipulator = devices.manipulator
        if manipulator is None or settings is None:
            raise SettingError(
                "the rig has no micropipette: add the table [manipulator] of its manipulator"
            )
        self.manipulator, self.settings, self.clock = manipulator, settings, devices.clock
        self._tell, self._go = tell, go
        self._planned: Place3 | None = None
        axes = Axes(
            "the pipette",
            go=lambda place: manipulator.move_xyz_to(
                place[0], place[1], place[2], settings.highest_speed_um_s
            ),
            moving=manipulator.moving_xyz,
            read=manipulator.position_xyz_um,
            halt=manipulator.stop,
            reopen=getattr(manipulator, "reopen", None),
            table="manipulator",
        )
        self._mover = Mover(axes, settings, devices.clock, interrupt)
        self.limits_um: LimitsXYZ = self._find_limits()

    @property
    def name(self) -> str:
        """Name of the manipulator."""
        return self.manipulator.name

    def position_um(self) -> Place3:
        """Position of the manipulator: x, y and z; without `go` where it would be.

        Raises
        ------
        DeviceError
            There is no answer, or it is not a number.
        """
        if self._planned is not None:
            return self._planned
        x, y, z = self._mover.read()
        return x, y, z

    def moving(self) -> bool:
        """Whether the manipulator reports that it moves."""
        return self._go and self._mover.moving()

    def check(self, places: Sequence[Place3], mend: str = "") -> None:
        """Refuse places outside the limits or under the floor, before anything moves.

        Parameters
        ----------
        places
            x, y and z of each.
        mend
            What a person may do about it; by default the limits or the floor are to be corrected.

        Raises
        ------
        SettingError
            One of them is.
        """
        for place in places:
            for axis, at, (low, high) in zip("xyz", place, self.limits_um, strict=True):
                if not low <= at <= high:
                    floor = axis == "z" and low == self.settings.floor_um and at < low
                    own = f"correct manipulator.{'floor_um' if floor else f'{axis}_limits_um'}"
                    raise SettingError(
                        f"the pipette would go to {axis} = {at:.1f} µm, outside {low:g} to "
                        f"{high:g} µm; {mend or own}"
                    )

    def check_here(self) -> None:
        """Refuse to start when the pipette is outside its limits or under the floor.

        Raises
        ------
        SettingError
            It is.
        """
        spare_um, here = self.settings.tolerance_um, self.position_um()
        for axis, at, (low, high) in zip("xyz", here, self.limits_um, strict=True):
            if not low - spare_um <= at <= high + spare_um:
                raise SettingError(
                    f"{self.name} is at {axis} = {at:.1f} µm, outside its limits {low:g} to "
                    f"{high:g} µm; move it inside by hand, or correct the rig's [manipulator]"
                )

    def go_to(self, place: Place3, speed_um_s: float | None = None) -> Place3:
        """Go to a place and confirm it; returns the position read back.

        Parameters
        ----------
        place
            x, y and z in µm.
        speed_um_s
            Speed, by default the highest.

        Raises
        ------
        SettingError
            The place is outside the limits or under the floor, or the speed is too high.
        DeviceError
            The pipette is not where it was last read, did not arrive within the time-out, or came
            to rest elsewhere.
        """
        go = self._prepared(place, speed_um_s)
        if not self._go:
            self._planned = place
            return place
        x, y, z = self._mover.arrive(place, self.settings.tolerance_um, go)
        return x, y, z

    def send(self, place: Place3, speed_um_s: float | None = None) -> None:
        """Start a move from a confirmed position and return at once; see `go_to`.

        Parameters
        ----------
        place
            x, y and z in µm.
        speed_um_s
            Speed, by default the highest.
        """
        go = self._prepared(place, speed_um_s)
        if self._go:
            self._mover.send(place, go)
        else:
            self._planned = place

    def halt(self) -> None:
        """Stop the pipette, and confirm its position; a lost link is reopened for that.

        Raises
        ------
        DeviceError
            It does not stop, or is not where it can be.
        """
        if self._go:
            self._mover.halt()

    @contextmanager
    def retreating(self) -> Iterator[Place3]:
        """Raise the pipette after the block, also after an error.

        It is stopped first, then raised straight to `ManipulatorTable.retreat_um` over the start,
        as far as the limits allow. It is not moved when it is not where it was last read: its
        coordinates are then not valid.

        Yields
        ------
        tuple of float
            Its position at the start.

        Raises
        ------
        FgafError
            The error that ended the block, with the state of the pipette; or it could not retreat.
        """
        if not self._go:
            yield self.position_um()
            return
        x, y, z = self._mover.anchor()
        start = (x, y, z)
        done = "the work with the pipette was done"
        with ending(lambda: self._retreat(start), "the pipette was raised", done):
            yield start

    def _prepared(self, place: Place3, speed_um_s: float | None) -> Callable[[], None]:
        """Check a move, and tell it; returns what starts it."""
        highest = self.settings.highest_speed_um_s
        speed = highest if speed_um_s is None else speed_um_s
        if not 0 < speed <= highest:
            raise SettingError(
                f"the pipette would move at {speed:g} µm/s; manipulator.highest_speed_um_s is "
                f"{highest:g}"
            )
        self.check([place])
        self._tell(f"the pipette goes to {shown(place)} at {speed:g} µm/s")
        return lambda: self.manipulator.move_xyz_to(*place, speed)

    def _retreat(self, start: Place3) -> str:
        """Raise the pipette; returns the problem, empty if there is none."""
        high = self.limits_um[2][1]
        top = min(start[2] + self.settings.retreat_um, max(high, start[2]))

        def up() -> None:
            x, y, z = self._mover.confirm()
            if z < top - self.settings.tolerance_um:
                self._tell(f"the pipette is raised to z = {top:.1f} µm")
            self._mover.arrive((x, y, max(top, z)), self.settings.tolerance_um)

        words = ("was not raised to z =", "could not be raised to z =")
        return self._mover.bring_back((top,), up, words)

    def _find_limits(self) -> LimitsXYZ:
        floor = self.settings.floor_um
        if floor is None:
            raise SettingError(
                "the rig does not say how deep the pipette may go: set manipulator.floor_um to the "
                "lowest z in µm at which its tip is clear of the dish"
            )
        found = []
        own, wanted = self.manipulator.limits_xyz_um, self.settings.limits_xyz_um
        for axis, its, rig in zip("xyz", own, wanted, strict=True):
            low, high = max(its[0], rig[0]), min(its[1], rig[1])
            if axis == "z":
                low = max(low, floor)
            if not (math.isfinite(low) and math.isfinite(high)):
                raise SettingError(
                    f"{self.name} has no limits of its own in {axis}: set "
                    f"manipulator.{axis}_limits_um in the rig"
                )
            if not low < high:
                raise SettingError(
                    f"nothing is left of the limits of {self.name} in {axis}: {low:g} to {high:g} "
                    "µm; correct the rig's [manipulator]"
                )
            found.append((low, high))
        return found[0], found[1], found[2]
