"""The micropipette of a simulated camera, in a manipulator and on a pump of any driver.

Simulated devices say what they truly do at any time. All others are read for each frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from fgaf.acquire.devices import Clock, DeviceError, Manipulator, Place3, Pump
from fgaf.acquire.drivers.mount import Mount
from fgaf.acquire.drivers.simulated_manipulator import SimulatedManipulator
from fgaf.acquire.drivers.simulated_pump import SimulatedPump
from fgaf.acquire.simulation.aspiration.mouth import Vector
from fgaf.acquire.simulation.holder import Hold, Holder, Stroke
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.view import Place
from fgaf.acquire.trace import Trace


class ReadManipulator:
    """Where a manipulator of any driver has the tip, between its readings too.

    Parameters
    ----------
    manipulator
        It is read.
    mount
        Where it has the tip.
    """

    def __init__(self, manipulator: Manipulator, mount: Mount) -> None:
        self._manipulator, self._mount = manipulator, mount
        self._places: Trace | None = None

    def read(self, clock: Clock) -> None:
        """Read it; one that does not answer counts as where it was.

        Raises
        ------
        DeviceError
            It has never answered.
        """
        asked_ns = clock.now_ns()
        try:
            place = self._manipulator.position_xyz_um()
        except DeviceError:
            if self._places is None:
                raise
            return
        self._places = self._places or Trace()
        self._places.add((asked_ns + clock.now_ns()) // 2, place)

    def tip_um(self, time_ns: int) -> Place3:
        """Place of the tip at a time; `read` comes first.

        Parameters
        ----------
        time_ns
            The time.
        """
        if self._places is None:
            raise DeviceError(f"{self._manipulator.name} was not read yet")
        x, y, z = self._places.at(time_ns)
        return self._mount.tip_at((x, y, z))


class ReadPump:
    """What a pump of any driver has displaced, by its readings.

    Parameters
    ----------
    pump
        It is read.

    Attributes
    ----------
    changes
        Time in ns and new flow in nL/s of each change that was read.
    """

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self.changes: list[tuple[int, float]] = []

    def read(self, clock: Clock) -> None:
        """Read its flow; a pump that has an alarm, or does not answer, counts as standing."""
        flow = 0.0
        with suppress(DeviceError):
            flow = self._pump.flow_nl_s()
        if flow != (self.changes[-1][1] if self.changes else 0.0):
            self.changes.append((clock.now_ns(), flow))


class SimulatedSuction:
    """Holds the micropipette of the camera's scene.

    Parameters
    ----------
    manipulator, pump
        Of the rig.
    mount
        Where a manipulator that is not simulated has the tip; simulated ones have their own.
    clock
        Of the readings.
    opened_ns
        When the time of the scene began.
    """

    def __init__(
        self,
        manipulator: Manipulator,
        pump: Pump | None,
        mount: Mount,
        clock: Clock,
        opened_ns: int,
    ) -> None:
        self._clock, self._opened_ns = clock, opened_ns
        self._arm = (
            manipulator
            if isinstance(manipulator, SimulatedManipulator)
            else ReadManipulator(manipulator, mount)
        )
        self._pump = pump if pump is None or isinstance(pump, SimulatedPump) else ReadPump(pump)

    def read(self) -> None:
        """Read the devices that are not simulated; call it for every frame."""
        for device in (self._arm, self._pump):
            if isinstance(device, ReadManipulator | ReadPump):
                device.read(self._clock)

    def holder(self, settings: SimulationSettings, corner: Callable[[float], Place]) -> Holder:
        """The pipette, as the scene needs it.

        Parameters
        ----------
        settings
            The field.
        corner
            See `Hold`.
        """
        rows, columns = (side * settings.pixel_size_um for side in settings.shape)

        def free_tip(time_s: float) -> Vector:
            x, y, z = self._arm.tip_um(self._opened_ns + round(time_s * 1e9))
            return y + rows / 2, x + columns / 2, z

        return Holder(settings, Hold(free_tip, corner, self._strokes))

    def _strokes(self) -> Sequence[Stroke]:
        pump = self._pump
        if pump is None:
            return ()
        longest = {"longest_s": pump.longest_s} if isinstance(pump, SimulatedPump) else {}
        return [
            Stroke((begun_ns - self._opened_ns) / 1e9, flow, **longest)
            for begun_ns, flow in pump.changes
        ]
