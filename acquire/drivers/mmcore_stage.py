"""A focus drive that Micro-Manager supports.

Some drives report too early that they are not busy (Nikon's Ti2 is one), so a drive counts as
moving until its position is also constant. Continuous focus (PFS and others) would undo every move:
it is switched off while the drive is open and on again afterwards, or the drive is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fgaf.acquire.devices import Clock, DeviceError, EffectiveSettings
from fgaf.acquire.drivers.limits import require_within
from fgaf.acquire.drivers.mmcore_device import (
    STAGE,
    choose_device,
    describe_device,
    set_properties,
)
from fgaf.acquire.drivers.mmcore_session import Session, SessionSettings
from fgaf.acquire.tables import Property, Table
from fgaf.base.bounds import Bound, WaitMs


class SpeedProperty(Table):
    """The property of a drive that holds its speed.

    Attributes
    ----------
    property
        Its name, as Micro-Manager's device property browser shows it.
    um_s
        Size of its unit in µm/s: 1000 if it is in mm/s.
    """

    property: str
    um_s: Annotated[float, Bound(1e-9, 1e9, "µm/s")]


class MmcoreStageSettings(SessionSettings):
    """The `[stage.options]` of a Micro-Manager drive, with those of `SessionSettings`.

    Attributes
    ----------
    device
        Label of the drive; by default the focus drive of the configuration.
    properties
        Properties of the drive, set in this order when it is opened.
    direction
        -1 if larger numbers lower the objective, so that z still increases upwards; by default that
        of Micro-Manager's configuration, where +1 is towards the sample: upwards on an inverted
        microscope.
    continuous_focus
        If continuous focus is on: `off` switches it off, and on again when the drive is closed;
        `refuse` does not open the drive.
    still_ms
        The drive counts as at rest when its position has been constant for this time.
    speed
        The drive's property for its speed; needed for sweeps.
    """

    device: str | None = None
    properties: dict[str, Property] = Field(default_factory=dict)
    direction: Literal[1, -1] | None = None
    continuous_focus: Literal["off", "refuse"] = "off"
    still_ms: WaitMs = 10.0
    speed: SpeedProperty | None = None


class MmcoreStage:
    """An open focus drive; implements `fgaf.acquire.devices.Stage`.

    Attributes
    ----------
    name
        Label, adapter and device, and whether continuous focus was switched off.
    limits_um
        Lowest and highest allowed z, in µm, from the rig.
    effective
        The direction, and whether continuous focus was switched off.
    session
        The core, which the camera may share.
    """

    not_for_sweeps = (
        "Micro-Manager has no command for a speed; give the drive's property for it and its unit "
        "in stage.options: "
        'speed = { property = "Speed", um_s = 1000 }'
    )

    def __init__(
        self,
        session: Session,
        settings: MmcoreStageSettings,
        limits_um: tuple[float, float],
        still_um: float,
        clock: Clock,
    ) -> None:
        self.session = session
        self.limits_um = limits_um
        self._core = session.core
        self._focus_was_on = False
        self._still_um, self._still_ns = still_um, round(settings.still_ms * 1e6)
        self._clock = clock
        self._closed = False
        self._label = choose_device(session, settings.device, STAGE, "focus drive")
        self.name = describe_device(session, self._label)
        set_properties(session, self._label, settings.properties)
        self._direction, notes = self._find_direction(settings.direction)
        if self._end_continuous_focus(settings.continuous_focus):
            self._focus_was_on = True
            self.name += ", continuous focus switched off"
            notes.append(
                "continuous focus is off while the drive is in use, and is switched on "
                "again afterwards"
            )
        self.effective = EffectiveSettings(
            {"direction": self._direction, "continuous_focus_switched_off": self._focus_was_on},
            notes=tuple(notes),
        )
        self._stood_ns, self._stood_um = clock.now_ns(), self.position_um()

    def position_um(self) -> float:
        """Read the position of the drive, in µm."""
        z_um = self.session.call(
            f"read the position of {self._label}", lambda: self._core.getPosition(self._label)
        )
        return float(z_um) * self._direction

    def move_to(self, z_um: float) -> None:
        """Start an absolute move.

        Raises
        ------
        DeviceError
            `z_um` is outside the limits, continuous focus is on again, or the drive refuses.
        """
        require_within(z_um, self.limits_um, self.name)
        if self._continuous_focus():
            raise DeviceError(f"{self.name}: continuous focus was switched on; switch it off")
        self.session.call(
            f"move {self._label}",
            lambda: self._core.setPosition(self._label, z_um * self._direction),
        )
        self._stood_ns, self._stood_um = self._clock.now_ns(), self.position_um()

    def moving(self) -> bool:
        """Whether the drive reports that it is busy, or its position has changed recently."""
        busy = self.session.call(
            f"ask whether {self._label} is busy", lambda: self._core.deviceBusy(self._label)
        )
        here_um, now_ns = self.position_um(), self._clock.now_ns()
        if busy or abs(here_um - self._stood_um) > self._still_um:
            self._stood_ns, self._stood_um = now_ns, here_um
            return True
        return now_ns - self._stood_ns < self._still_ns

    def stop(self) -> None:
        """Halt the drive at its position."""
        self.session.call(f"stop {self._label}", lambda: self._core.stop(self._label))

    def close(self) -> None:
        """Release the core; harmless when already closed."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._focus_was_on:
                self.session.call(
                    "switch continuous focus on again",
                    lambda: self._core.enableContinuousFocus(True),
                )
        finally:
            self.session.release()

    def _find_direction(self, wanted: int | None) -> tuple[int, list[str]]:
        """Find the direction of z: the rig's, else that of the configuration."""
        configured = int(
            self.session.call(
                f"read the direction of {self._label}",
                lambda: self._core.getFocusDirection(self._label),
            )
        )
        if wanted is None:
            return configured or 1, []
        if configured and configured != wanted:
            return wanted, [
                f"direction is {wanted} in the rig and {configured} (towards the sample is +1) in "
                "Micro-Manager's configuration: that of the rig is used"
            ]
        return wanted, []

    def _continuous_focus(self) -> bool:
        return bool(
            self.session.call(
                "ask for continuous focus", lambda: self._core.isContinuousFocusEnabled()
            )
        )

    def _end_continuous_focus(self, policy: str) -> bool:
        """Switch continuous focus off; returns whether it was on."""
        if not self._continuous_focus():
            return False
        if policy == "refuse":
            raise DeviceError(
                f"{self.name}: continuous focus is on and would undo every move; switch it off"
            )
        self.session.call(
            "switch continuous focus off", lambda: self._core.enableContinuousFocus(False)
        )
        if self._continuous_focus():
            raise DeviceError(
                f"{self.name}: continuous focus cannot be switched off; switch it "
                "off at the microscope"
            )
        return True


class MmcoreRampStage(MmcoreStage):
    """A drive whose speed is a property; implements `fgaf.acquire.devices.RampStage`."""

    def __init__(
        self,
        session: Session,
        settings: MmcoreStageSettings,
        speed: SpeedProperty,
        limits_um: tuple[float, float],
        still_um: float,
        clock: Clock,
    ) -> None:
        super().__init__(session, settings, limits_um, still_um, clock)
        self._speed = speed
        self._ramping = False
        self._normal_speed = str(
            session.call(
                f"read {speed.property} of {self._label}",
                lambda: self._core.getProperty(self._label, speed.property),
            )
        )

    def ramp_to(self, z_um: float, speed_um_s: float) -> None:
        """Start an absolute move at a speed; the next move has the normal speed again.

        Raises
        ------
        DeviceError
            The drive refuses the speed, or as `move_to`.
        """
        self._set_speed(f"{speed_um_s / self._speed.um_s:.6g}")
        self._ramping = True
        super().move_to(z_um)

    def move_to(self, z_um: float) -> None:
        """Start an absolute move at the normal speed; see `MmcoreStage.move_to`."""
        self._end_ramp()
        super().move_to(z_um)

    def close(self) -> None:
        """Set the normal speed again, and release the core."""
        try:
            self._end_ramp()
        finally:
            super().close()

    def _end_ramp(self) -> None:
        if self._ramping:
            self._ramping = False
            self._set_speed(self._normal_speed)

    def _set_speed(self, value: str) -> None:
        set_properties(self.session, self._label, {self._speed.property: value})
