"""Map from moves of the x/y stage to shifts of the image, measured by `acq calibrate-stage`.

It is stored beside the rig file and holds for the camera, the stage and the optics it was measured
with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from fgaf.acquire.control.rig_map import RigMap
from fgaf.acquire.drivers.simulated_xy_stage import SimulatedXYStage, XYStageOptions
from fgaf.acquire.rig import Rig
from fgaf.acquire.tables import parse_table
from fgaf.base.bounds import AnyCount, Bound
from fgaf.base.errors import SettingError

Coefficient = Annotated[float, Bound(-1e5, 1e5, "px/µm")]
ResidualPx = Annotated[float, Bound(0, 1e5, "px")]
Pair = tuple[float, float]


class StageMap(RigMap):
    """Shift of the image for moves of the stage.

    Attributes
    ----------
    x_px_per_um, y_px_per_um
        Shift of the image along x (to the right), and along y (downwards), in pixels per µm of the
        stage in x and in y: the rows of the matrix.
    residual_px
        Root mean square distance of the measured shifts from the map.
    moves
        Number of moves.
    stage
        Name of the stage.
    """

    KIND: ClassVar[str] = "stage-map"
    COMMAND: ClassVar[str] = "calibrate-stage"
    SHOWS: ClassVar[str] = "how the stage moves the image"

    x_px_per_um: tuple[Coefficient, Coefficient]
    y_px_per_um: tuple[Coefficient, Coefficient]
    residual_px: ResidualPx
    moves: AnyCount
    stage: str

    @classmethod
    def require_devices(cls, rig: Rig) -> None:
        """Refuse a rig without an x/y stage."""
        if rig.xy_stage is None:
            raise SettingError("the rig has no x/y stage: add the table [xy_stage] of its stage")

    @classmethod
    def depends_on(cls, rig: Rig) -> Mapping[str, Any]:
        """Camera, stage and scale."""
        across = rig.xy_stage
        return {
            "camera.driver": rig.camera.driver,
            "camera.options": rig.camera.options,
            "xy_stage.driver": (across.driver if across else None) or rig.stage.driver,
            "xy_stage.options": across.options if across else {},
            "optics.pixel_size_um": rig.optics.pixel_size_um,
            "optics.magnification": rig.optics.magnification,
        }

    @classmethod
    def simulated(cls, rig: Rig) -> Self | None:
        """Map of a simulated stage under a simulated camera, from its settings; None for others.

        Parameters
        ----------
        rig
            The rig.
        """
        stage, pixel_um = rig.xy_stage, rig.optics.pixel_size_um
        if stage is None or pixel_um is None:
            return None
        if {rig.camera.driver, stage.driver or rig.stage.driver} != {"simulated"}:
            return None
        options = parse_table(XYStageOptions, stage.options, "xy_stage.options")
        (xx, xy), (yx, yy) = options.turn
        return cls(
            created="",
            x_px_per_um=(-xx / pixel_um, -xy / pixel_um),
            y_px_per_um=(-yx / pixel_um, -yy / pixel_um),
            residual_px=0.0,
            moves=0,
            stage=SimulatedXYStage.name,
            camera=rig.camera.driver,
            rig=cls.settings_of(rig),
        )

    @property
    def pixel_size_um(self) -> float:
        """Side of a pixel in µm of the stage: the inverse of the mean scale."""
        return 1 / math.sqrt(abs(float(np.linalg.det(self._matrix))))

    def shift_px(self, move_um: Pair) -> Pair:
        """Shift of the image, x and y in pixels, when the stage moves by x and y in µm."""
        x, y = self._matrix @ move_um
        return float(x), float(y)

    def move_um(self, shift_px: Pair) -> Pair:
        """Move of the stage, x and y in µm, that shifts the image by x and y in pixels."""
        x, y = np.linalg.solve(self._matrix, shift_px)
        return float(x), float(y)

    def describe(self) -> str:
        """Format it for reading."""
        (a, b), (c, d) = self.x_px_per_um, self.y_px_per_um
        turned = math.degrees(math.atan2(c, a))
        return (
            f"1 µm in x moves the image by {a:.3f}, {c:.3f} px, in y by {b:.3f}, {d:.3f} px: "
            f"{self.pixel_size_um:.4f} µm per pixel, turned by {turned:.1f} degrees"
            f"{', mirrored' if a * d < b * c else ''}"
        )

    @property
    def _matrix(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([self.x_px_per_um, self.y_px_per_um])
