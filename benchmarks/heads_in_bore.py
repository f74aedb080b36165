"""Whether the finder sees heads at the mouth and in the bore, with and without the ground.

Simulated heads are drawn at places along a bore of 10 µm, on its axis and 2 µm beside it, and the
finder looks for each in a window as the live tracker's. The ground is learnt from nine frames of
the glass alone, and not renewed. Then drive or tip are off by a little. The last part, without a
pipette, says how well heads are found in and near their focus.

Run ``python benchmarks/heads_in_bore.py [--cells 6]``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.acquire.simulation.camera import sensor
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.scenery.held_pipette import HeldPipette
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.curate.detection.network import shipped
from fgaf.curate.detection.scale import Scale
from fgaf.model.bench.aspiration.cell import draw_subject
from fgaf.model.live.ground import FRAMES, Box, Ground

Image = npt.NDArray[Any]
Place = tuple[float, float]

SHAPE, TIP_PX = (256, 512), (128, 150)
PIPETTE = AspirationSettings(inner_diameter_um=10, outer_diameter_um=11)
SETTINGS = SimulationSettings(shape=SHAPE, quick=True, aspiration=PIPETTE)
PIXEL_UM = SETTINGS.pixel_size_um
TIP_UM = (TIP_PX[0] * PIXEL_UM, TIP_PX[1] * PIXEL_UM)
ALONG_UM = (-10, -6, -4, -2, 0, 2, 4, 6, 9, 13, 20, 30)
BESIDE_UM = (0.0, 2.0, -2.0)
LEAST = 0.15
NEAR_UM = 3.0
WINDOW = 40


class Bore:
    """Draws heads and pipette, and finds heads."""

    def __init__(self) -> None:
        self._painter = Painter(SETTINGS)
        self._pipette = HeldPipette(PIPETTE, self._painter.waves, SHAPE)
        self._rng = np.random.default_rng(0)
        self._scale, self._finder = Scale(PIXEL_UM), shipped(exact=False)

    def frame(
        self, swimmer: Swimmer | None, at: Place, drive_um: float, off: Place | None = (0.0, 0.0)
    ) -> Image:
        """A head so far beside and behind the mouth; `off` moves the tip, None is no pipette."""
        canvas = Canvas(SHAPE, drive_um)
        if swimmer is not None:
            pose = swimmer.way.pose(0.0)
            shift = (TIP_UM[0] + at[0] - pose.y_um, TIP_UM[1] + at[1] - pose.x_um, -pose.z_um)
            self._painter.sperm(canvas, swimmer, 0.0, 0.005, shift)
        relative = canvas.relative()
        if off is not None:
            self._pipette.multiply(
                relative, drive_um, [(TIP_UM[0] + off[0], TIP_UM[1] + off[1], 0.0)]
            )
        return sensor.expose(relative, 0.005, SETTINGS, self._rng)

    def found(self, image: Image, at: Place) -> tuple[float, float]:
        """Best score near a place, and how far it is from there, µm."""
        place = [tip + um / PIXEL_UM for tip, um in zip(TIP_PX, at, strict=True)]
        side = round(WINDOW * self._scale.zoom)
        top, left = (
            int(np.clip(round(p - side / 2), 0, size - side))
            for p, size in zip(place, SHAPE, strict=True)
        )
        window = self._scale.contrast(image[top : top + side, left : left + side][None])
        (heads,) = self._finder.heads(window, 0.05)
        y, x = (self._scale.to_image(heads[:, k]) + start for k, start in ((0, top), (1, left)))
        away = np.hypot(y - place[0], x - place[1]) * PIXEL_UM
        near = away < NEAR_UM
        if not near.any():
            return 0.0, np.inf
        best = int(np.argmax(np.where(near, heads[:, 2], 0)))
        return float(heads[best, 2]), float(away[best])

    def learnt(self, drive_um: float) -> Ground:
        """The ground of the glass alone."""
        box = Box(0, 100, *SHAPE)
        ground = Ground(box, np.ones((SHAPE[0], SHAPE[1] - 100), np.float32))
        for _ in range(FRAMES):
            ground.learn(self.frame(None, (0, 0), drive_um), None)
        return ground


def told(found: Sequence[tuple[float, float]]) -> str:
    """Share above the least score, median score and error."""
    score, away = np.array(found).T
    return (
        f"{np.mean(score > LEAST):.2f} found, median score {np.median(score):.2f}, "
        f"error {np.median(away):.2f} µm"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=6)
    count = parser.parse_args().cells
    bore = Bore()
    cells = [
        draw_subject(np.random.default_rng(k), True, (4, 20), (10, 30), (0, 0.2), 0).swimmer
        for k in range(count)
    ]
    for drive_um in (-1.5, -1.0, 0.0, 1.0):
        ground = bore.learnt(drive_um)
        both: tuple[list[Any], list[Any]] = ([], [])
        for along in ALONG_UM:
            frames = [
                ((BESIDE_UM[k % 3], along), bore.frame(cell, (BESIDE_UM[k % 3], along), drive_um))
                for k, cell in enumerate(cells)
            ]
            both[0].append([bore.found(image, at) for at, image in frames])
            both[1].append([bore.found(ground.without(image), at) for at, image in frames])
        for name, places in zip(("as it is", "without the ground"), both, strict=True):
            before = [each for place in places[:4] for each in place]
            behind = [each for place in places[4:] for each in place]
            print(f"drive {drive_um:g} µm, {name}: before the mouth {told(before)}", end="; ")
            print(f"behind it {told(behind)}", flush=True)
    ground = bore.learnt(0.0)
    offs: list[tuple[str, float, Place]] = [("as learnt", 0.0, (0.0, 0.0))]
    offs += [(f"drive off by {um:g} µm", um, (0.0, 0.0)) for um in (0.15, 0.3, 0.5)]
    offs += [(f"tip off to the side by {um:g} µm", 0.0, (um, 0.0)) for um in (0.07, 0.15, 0.3)]
    for name, drive_um, off in offs:
        found = []
        for along in (-2, 0, 2, 4, 9, 20):
            for k, cell in enumerate(cells):
                at = (BESIDE_UM[k % 3], along)
                image = ground.without(bore.frame(cell, at, drive_um, off))
                found.append(bore.found(image, at))
        print(f"{name}: {told(found)}", flush=True)
    kinds = [
        draw_subject(np.random.default_rng(k), k % 2 == 0, (4, 20), (10, 30), (0, 0.2), 0).swimmer
        for k in range(24)
    ]
    for drive_um in (-2.0, -1.0, -0.7, -0.4, 0.0, 0.4, 0.7, 1.0):
        at = (0.0, 0.0)
        scores = [bore.found(bore.frame(cell, at, drive_um, None), at)[0] for cell in 3 * kinds]
        print(f"no pipette, drive {drive_um:g} µm: {np.mean(np.array(scores) < 0.5):.2f} under 0.5")


if __name__ == "__main__":
    main()
