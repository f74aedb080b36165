"""A field of the simulated microscope: the camera image at a time and a drive position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.camera import light, mirror, sensor
from fgaf.acquire.simulation.camera.dust import draw_dust
from fgaf.acquire.simulation.carrier import Carrier, Suction
from fgaf.acquire.simulation.holder import Holder
from fgaf.acquire.simulation.painter import Canvas, Painter, Swimmer
from fgaf.acquire.simulation.scenery.droplet import DropletEdge
from fgaf.acquire.simulation.scenery.furnish import WIDER_UM, draw_rims, draw_shafts
from fgaf.acquire.simulation.scenery.held_pipette import HeldPipette
from fgaf.acquire.simulation.scenery.pipette import PIPETTE, Needle
from fgaf.acquire.simulation.scenery.texture import Texture
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.silhouette import silhouette
from fgaf.acquire.simulation.view import Place, View, split_exposure
from fgaf.acquire.simulation.world import Seen, World
from fgaf.dataset.truth import CellTruth, as_outline

Array = npt.NDArray[Any]

_TRUTH_MARGIN_UM = 5.0
_PARTS = tuple(part / 8 for part in range(-4, 5))


class Scene:
    """A field of cells that swim independently of exposures.

    Every exposure depends only on the settings and its arguments: the same call gives the same
    pixels, in any order of calls. With a suction it also depends on what flowed before.

    Parameters
    ----------
    settings
        The microscope, its camera and the specimen.
    suction
        A pipette whose flow carries cells; that of a `Holder` is also seen.

    Attributes
    ----------
    carrier
        Who carries them; None without a suction.
    """

    def __init__(self, settings: SimulationSettings, suction: Suction | None = None) -> None:
        self.settings = settings
        self._painter = Painter(settings)
        self._light = light.illumination(settings)
        self._dust = draw_dust(settings)
        for grain in self._dust:
            grain.multiply(self._light)
        scope = self._painter.waves.microscope
        self._held: tuple[Holder, HeldPipette] | None = None
        if isinstance(suction, Holder):
            pipette = HeldPipette(suction.form, self._painter.waves, settings.shape)
            self._held = suction, pipette
        self._world = World(settings, scope, 0 if self._held is None else 1)
        self.carrier = None if suction is None else Carrier(settings, self._world, suction)
        self._cells = self._world if self.carrier is None else self.carrier
        self._needles, self._edges = self._draw_straight()
        self._grain = (
            Texture(settings, self._painter.waves.microscope, settings.center_um)
            if settings.grain
            else None
        )

    @property
    def swimmers(self) -> tuple[Swimmer, ...]:
        """The sperm of the first field, by their number in the truth."""
        return self._world.cells

    def expose(
        self,
        time_s: float,
        exposure_s: float,
        focus_um: float,
        before_each: Callable[[], None] = lambda: None,
        place: Callable[[float], Place] = lambda _: (0.0, 0.0),
    ) -> tuple[Array, tuple[CellTruth, ...]]:
        """Take one image.

        Parameters
        ----------
        time_s
            Start of the exposure on the simulated clock.
        exposure_s
            Its length.
        focus_um
            The drive's z.
        before_each
            Called before each cell and each object; an exception from it ends the exposure.
        place
            Place (y, x) of the frame's first pixel in the specimen, in µm, at a time; by default
            the camera stays at the first field.

        Returns
        -------
        pixels
            (Y, X) uint8 or uint16.
        truth
            Content of the field in the middle of the exposure.
        """
        if self.carrier is not None:
            self.carrier.advance(time_s + exposure_s, place)
        views = split_exposure(place, time_s, exposure_s)
        relative = self._relative(views[0], focus_um, before_each)
        for view in views[1:]:
            relative += self._relative(view, focus_um, before_each)
        if len(views) > 1:
            relative /= np.float32(len(views))
        rng = np.random.default_rng(
            [
                self.settings.seed,
                2,
                _whole(time_s * 1e9),
                _whole(exposure_s * 1e9),
                _whole(focus_um * 1e4),
            ]
        )
        pixels = sensor.expose(relative * self._light, exposure_s, self.settings, rng)
        middle = time_s + exposure_s / 2
        seen = self._truth(place(middle), middle)
        if band := self.settings.mirror_px:
            pixels = mirror.pad(pixels, band)
            seen = tuple(mirror.mirror_truth(seen, self.settings.shape, band))
        return pixels, seen

    def _relative(self, view: View, focus_um: float, before_each: Callable[[], None]) -> Array:
        """Intensity before the camera relative to the empty background, (Y, X) float32."""
        canvas = Canvas(self.settings.shape, focus_um)
        for _, swimmer, shift in self._cells.swimmers(view.corner_um, view.time_s):
            before_each()
            self._painter.sperm(canvas, swimmer, view.time_s, view.exposure_s, shift, view.drift_um)
        reach = self._painter.reach_um(
            abs(focus_um - self.settings.center_um) + self.settings.depth_spread_um + WIDER_UM
        )
        for _, thing, shift in self._world.lying(view.corner_um, reach + view.drift_length_um):
            before_each()
            drift = (0.0, 0.0) if thing.kind == PIPETTE else view.drift_um
            self._painter.thing(canvas, thing, shift, drift)
        relative = canvas.relative()
        for edge in self._edges:
            edge.multiply(relative, focus_um, view)
        for needle in self._needles:
            needle.multiply(relative, focus_um)
        if self._grain is not None:
            self._grain.multiply(relative, focus_um, view)
        if self._held is not None:
            before_each()
            holder, pipette = self._held
            tips = [holder.tip(view.time_s + part * view.exposure_s) for part in _PARTS]
            pipette.multiply(relative, focus_um, tips)
        return relative

    def _truth(self, corner_um: Place, time_s: float) -> tuple[CellTruth, ...]:
        """All that is in the frame."""
        world, pixel = self._world, self.settings.pixel_size_um
        cells = [
            _truth_of(seen, time_s, self.settings)
            for seen in self._cells.swimmers(corner_um, time_s)
        ]
        things = [
            CellTruth(
                id=number,
                kind=thing.kind,
                y_px=(thing.y_um + shift[0]) / pixel,
                x_px=(thing.x_um + shift[1]) / pixel,
                focus_um=thing.z_um,
                yaw_rad=thing.yaw,
            )
            for number, thing, shift in world.lying(corner_um, _TRUTH_MARGIN_UM)
        ]
        first = len(world.cells) + len(world.things)
        shafts = [
            CellTruth(
                id=number,
                kind=needle.shaft.kind,
                y_px=needle.shaft.y_um / pixel,
                x_px=needle.shaft.x_um / pixel,
                focus_um=needle.shaft.z_um,
                yaw_rad=needle.shaft.yaw,
            )
            for number, needle in enumerate(self._needles, first)
        ]
        dust = [
            CellTruth(
                id=number,
                kind="dust",
                y_px=grain.y_px,
                x_px=grain.x_px,
                focus_um=self.settings.center_um,
            )
            for number, grain in enumerate(self._dust, first + len(shafts))
        ]
        held = self._held_truth(time_s, first + len(shafts) + len(dust))
        seen = (*cells, *things, *shafts, *dust, *held)
        return tuple(each for each in seen if self._in_field(each))

    def _held_truth(self, time_s: float, number: int) -> tuple[CellTruth, ...]:
        """The tip of the micropipette."""
        if self._held is None:
            return ()
        holder, pipette = self._held
        y, x, z = holder.tip(time_s)
        pixel = self.settings.pixel_size_um
        return (
            CellTruth(
                id=number,
                kind=PIPETTE,
                y_px=y / pixel,
                x_px=x / pixel,
                focus_um=z * self.settings.reduction,
                yaw_rad=pipette.yaw,
            ),
        )

    def _in_field(self, cell: CellTruth) -> bool:
        margin = _TRUTH_MARGIN_UM / self.settings.pixel_size_um
        rows, columns = self.settings.shape
        return -margin < cell.y_px < rows + margin and -margin < cell.x_px < columns + margin

    def _draw_straight(self) -> tuple[tuple[Needle, ...], tuple[DropletEdge, ...]]:
        """Needles and edges of droplets, beside heads as they are at time 0."""
        s, scope, size = self.settings, self._painter.waves.microscope, self._world.size_um
        poses = [swimmer.way.pose(0.0) for swimmer in self.swimmers]
        heads = [(pose.y_um, pose.x_um) for pose in poses]
        needles = [Needle(shaft, scope, s.shape) for shaft in draw_shafts(s, size, heads)]
        edges = [DropletEdge(rim, scope, s.shape, z) for rim, z in draw_rims(s, size, heads)]
        return tuple(needles), tuple(edges)


def _truth_of(seen: Seen[Swimmer], time_s: float, settings: SimulationSettings) -> CellTruth:
    body, shift, pixel = seen.body.body, seen.shift_um, settings.pixel_size_um
    pose = seen.body.way.pose(time_s)
    length, width = (None, None) if body.headless else body.outline_um(pose)
    place = np.array([pose.y_um + shift[0], pose.x_um + shift[1]])
    outline = as_outline((silhouette(body, pose) + place) / pixel) if settings.outlines else ()
    return CellTruth(
        id=seen.id,
        kind="tail" if body.headless else "sperm",
        y_px=(pose.y_um + shift[0]) / pixel,
        x_px=(pose.x_um + shift[1]) / pixel,
        focus_um=pose.z_um,
        yaw_rad=pose.yaw,
        pitch_rad=pose.pitch,
        roll_rad=pose.roll,
        length_um=length,
        width_um=width,
        outline_px=outline,
    )


def _whole(number: float) -> int:
    """A number as the non-negative integer that seeds need; one to one within 2**62."""
    n = round(number)
    return 2 * n if n >= 0 else -2 * n - 1
