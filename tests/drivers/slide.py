"""A camera over a slide with fixed detail, which the simulated x/y stage moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from fgaf.acquire import Frame
from fgaf.acquire.drivers.simulated_xy_stage import SimulatedXYStage

SHAPE = (160, 240)
PIXEL_UM = 0.5


@dataclass
class Slide:
    """A camera over a slide with fixed detail, beside dust on the sensor.

    Attributes
    ----------
    stage
        Moves the slide; its true position counts.
    pixel_um
        The true pixel size.
    detail
        Strength of the slide's detail, in grey levels.
    level
        Mean grey level.
    drift_px
        The slide moves by this from frame to frame.
    changing
        Every frame shows another slide.
    """

    stage: SimulatedXYStage
    pixel_um: float = PIXEL_UM
    detail: float = 20.0
    level: float = 120.0
    drift_px: float = 0.0
    changing: bool = False
    name: str = "slide"
    shape: tuple[int, int] = SHAPE
    bit_depth: int = 8
    count: int = field(default=0, init=False)

    def start(self) -> None:
        self.count = 0

    def trigger(self, timeout_s: float) -> Frame:  # noqa: ARG002
        rows, columns = self.shape
        random = np.random.default_rng(self.count if self.changing else 7)
        world = gaussian_filter(random.normal(size=(rows * 3, columns * 3)), 2.0)
        x_um, y_um = self.stage.specimen_um()
        moved = self.drift_px * self.count
        world = shift(world, (y_um / self.pixel_um + moved, x_um / self.pixel_um), order=1)
        view = world[rows : 2 * rows, columns : 2 * columns]
        dust = gaussian_filter(np.random.default_rng(3).normal(size=self.shape), 3.0)
        noise = np.random.default_rng(self.count).normal(size=self.shape)
        image = self.level + self.detail * (view / world.std() + 0.5 * dust / dust.std()) + noise
        self.count += 1
        pixels = np.clip(image, 0, 255).astype(np.uint8)
        return Frame(pixels, self.count, 0, 0, 5000.0)

    def stop(self) -> None: ...

    def close(self) -> None: ...
