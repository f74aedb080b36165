"""An x/y stage that Micro-Manager supports. Its core has no command for a velocity."""

from __future__ import annotations

from fgaf.acquire.devices import LimitsXY
from fgaf.acquire.drivers.limits import require_within_xy
from fgaf.acquire.drivers.mmcore_device import XY_STAGE, choose_device, describe_device
from fgaf.acquire.drivers.mmcore_session import Session, SessionSettings


class MmcoreXYSettings(SessionSettings):
    """The `[xy_stage.options]` of a Micro-Manager stage, with those of `SessionSettings`.

    Attributes
    ----------
    device
        Label of the stage; by default that of the configuration, if it has one.
    """

    device: str | None = None


class MmcoreXYStage:
    """An open x/y stage; implements `fgaf.acquire.devices.XYStage`.

    Attributes
    ----------
    name
        Label, adapter and device.
    limits_xy_um
        Limits from the rig, infinite where it gives none: Micro-Manager has none. Without limits
        the stage is not moved.
    """

    def __init__(self, session: Session, settings: MmcoreXYSettings, limits_um: LimitsXY) -> None:
        self.limits_xy_um = limits_um
        self._session, self._core = session, session.core
        self._closed = False
        self._label = choose_device(session, settings.device, XY_STAGE, "x/y stage")
        self.name = describe_device(session, self._label)

    def position_xy_um(self) -> tuple[float, float]:
        """Read the position of the stage, in µm.

        Raises
        ------
        DeviceError
            It cannot be read.
        """
        label = self._label
        x_um, y_um = self._session.call(
            f"read the position of {label}",
            lambda: (self._core.getXPosition(label), self._core.getYPosition(label)),
        )
        return float(x_um), float(y_um)

    def move_xy_to(self, x_um: float, y_um: float) -> None:
        """Start an absolute move.

        Raises
        ------
        DeviceError
            The position is outside the limits, or there are none; or the stage refuses.
        """
        label = self._label
        require_within_xy((x_um, y_um), self.limits_xy_um, self.name)
        self._session.call(f"move {label}", lambda: self._core.setXYPosition(label, x_um, y_um))

    def moving_xy(self) -> bool:
        """Whether the stage reports that it is busy."""
        label = self._label
        return bool(
            self._session.call(f"ask whether {label} is busy", lambda: self._core.deviceBusy(label))
        )

    def stop(self) -> None:
        """Halt the stage at its position."""
        self._session.call(f"stop {self._label}", lambda: self._core.stop(self._label))

    def close(self) -> None:
        """Release the core; harmless when already closed."""
        if not self._closed:
            self._closed = True
            self._session.release()
