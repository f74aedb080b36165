"""Map from the manipulator to the tip in the image, measured by `acq calibrate-pipette`.

It is stored beside the rig file. It holds for the camera, the drive, the manipulator and the optics
it was measured with, and until the pipette is exchanged or moved in its holder.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from fgaf.acquire.control.rig_map import RigMap
from fgaf.acquire.devices import Place3
from fgaf.acquire.drivers.simulated_manipulator import ManipulatorOptions, SimulatedManipulator
from fgaf.acquire.rig import Rig
from fgaf.acquire.tables import parse_table
from fgaf.base.bounds import AnyCount, Bound, DistanceUm, PlacePx, PositionUm
from fgaf.base.errors import SettingError

Coefficient = Annotated[float, Bound(-1e5, 1e5)]
Row = tuple[Coefficient, Coefficient, Coefficient]
Array = np.ndarray[Any, np.dtype[np.float64]]


class PipetteMap(RigMap):
    """Where the tip is seen, and the focus of the drive on it, for a place of the manipulator.

    Attributes
    ----------
    x_px_per_um, y_px_per_um, drive_um_per_um
        Shift of the tip along x (to the right) and y (downwards) of the image in pixels, and of its
        focus in µm of the drive, per µm of the manipulator in x, y and z: the rows of the matrix.
    place_um
        A place of the manipulator.
    tip_px, tip_drive_um
        Pixel (x, y) of the tip's end at that place, and the drive's z with it in focus.
    residual_px, residual_um
        Root mean square distances of the measured pixels, and of the positions of the drive, from
        the map.
    moves
        Number of places that were measured.
    dish_um
        The manipulator's lowest z at which the tip did not touch the dish, if that was looked for.
    manipulator
        Name of the manipulator.
    """

    KIND: ClassVar[str] = "pipette-map"
    COMMAND: ClassVar[str] = "calibrate-pipette"
    SHOWS: ClassVar[str] = "where the tip is in the image"

    x_px_per_um: Row
    y_px_per_um: Row
    drive_um_per_um: Row
    place_um: tuple[PositionUm, PositionUm, PositionUm]
    tip_px: tuple[PlacePx, PlacePx]
    tip_drive_um: PositionUm
    residual_px: Annotated[float, Bound(0, 1e5, "px")]
    residual_um: DistanceUm
    moves: AnyCount
    dish_um: PositionUm | None = None
    manipulator: str

    @classmethod
    def require_devices(cls, rig: Rig) -> None:
        """Refuse a rig without a manipulator."""
        if rig.manipulator is None:
            raise SettingError(
                "the rig has no micropipette: add the table [manipulator] of its manipulator"
            )

    @classmethod
    def depends_on(cls, rig: Rig) -> Mapping[str, Any]:
        """Camera, drive, manipulator and optics."""
        held = rig.manipulator
        return {
            "camera.driver": rig.camera.driver,
            "camera.options": rig.camera.options,
            "stage.driver": rig.stage.driver,
            "stage.options": rig.stage.options,
            "manipulator.driver": held.driver if held else None,
            "manipulator.options": held.options if held else {},
            "optics.pixel_size_um": rig.optics.pixel_size_um,
            "optics.magnification": rig.optics.magnification,
            "optics.medium_index": rig.optics.medium_index,
        }

    @classmethod
    def simulated(cls, rig: Rig) -> Self | None:
        """Map of a simulated manipulator under a simulated camera and drive; None for others.

        Parameters
        ----------
        rig
            The rig.
        """
        held, simulation = rig.manipulator, rig.simulation
        if held is None or simulation is None:
            return None
        if {rig.camera.driver, rig.stage.driver, held.driver} != {"simulated"}:
            return None
        options = parse_table(ManipulatorOptions, held.options, "manipulator.options")
        pixel_um, reduction = simulation.pixel_size_um, simulation.reduction
        x, y, z = options.matrix
        rows, columns = simulation.shape
        return cls(
            created="",
            camera=rig.camera.driver,
            rig=cls.settings_of(rig),
            x_px_per_um=_scaled(x, 1 / pixel_um),
            y_px_per_um=_scaled(y, 1 / pixel_um),
            drive_um_per_um=_scaled(z, reduction),
            place_um=(0.0, 0.0, 0.0),
            tip_px=(
                columns / 2 + options.tip_um[0] / pixel_um,
                rows / 2 + options.tip_um[1] / pixel_um,
            ),
            tip_drive_um=options.tip_um[2] * reduction,
            residual_px=0.0,
            residual_um=0.0,
            moves=0,
            manipulator=SimulatedManipulator.name,
        )

    @property
    def pixel_size_um(self) -> float:
        """Side of a pixel in µm of the manipulator."""
        return 2 / sum(float(np.linalg.norm(row)) for row in self._matrix[:2])

    @property
    def drive_factor(self) -> float:
        """µm of the drive per µm of height in the specimen."""
        return float(np.linalg.norm(self.drive_um_per_um))

    def pixel_of(self, place_um: Place3) -> tuple[float, float]:
        """Pixel (x, y) of the tip's end; where the drive stands does not change it.

        Parameters
        ----------
        place_um
            Place of the manipulator: x, y and z in µm.
        """
        x, y, _ = self._seen(place_um)
        return x, y

    def focus_of(self, place_um: Place3) -> float:
        """Position of the drive with the tip in focus, in µm.

        Parameters
        ----------
        place_um
            Place of the manipulator: x, y and z in µm.
        """
        return self._seen(place_um)[2]

    def place_for(self, x_px: float, y_px: float, drive_um: float) -> Place3:
        """Place of the manipulator: x, y and z in µm, with the tip at a pixel and in focus.

        Parameters
        ----------
        x_px, y_px
            Pixel of the tip's end.
        drive_um
            Position of the drive that has it in focus.
        """
        wanted = (x_px - self.tip_px[0], y_px - self.tip_px[1], drive_um - self.tip_drive_um)
        x, y, z = (
            float(at + move) for at, move in zip(self.place_um, self.move_for(*wanted), strict=True)
        )
        return x, y, z

    def move_for(self, x_px: float, y_px: float, drive_um: float) -> Place3:
        """Move of the manipulator in x, y and z, in µm, that shifts the tip.

        Parameters
        ----------
        x_px, y_px
            Shift in the image, to the right and downwards.
        drive_um
            Shift of its focus, in µm of the drive.
        """
        x, y, z = np.linalg.solve(self._matrix, (x_px, y_px, drive_um))
        return float(x), float(y), float(z)

    def describe(self) -> str:
        """Format it for reading."""
        x, y = self.tip_px
        return (
            f"the tip is at x, y = {x:.1f}, {y:.1f} px, in focus at {self.tip_drive_um:.2f} µm of "
            f"the drive; {self.pixel_size_um:.4f} µm per pixel, and {self.drive_factor:.3f} µm of "
            "the drive per µm of height"
        )

    def _seen(self, place_um: Place3) -> tuple[float, float, float]:
        moved = self._matrix @ (np.array(place_um) - self.place_um)
        x, y, drive = np.array([*self.tip_px, self.tip_drive_um]) + moved
        return float(x), float(y), float(drive)

    @cached_property
    def _matrix(self) -> Array:
        return np.array([self.x_px_per_um, self.y_px_per_um, self.drive_um_per_um])


def _scaled(row: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    x, y, z = (factor * each for each in row)
    return x, y, z
