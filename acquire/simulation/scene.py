"""A field of the simulated microscope: the camera image at a time and a drive position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.camera import light, mirror, sensor
from fgaf.acquire.simulation.camera.dust import draw_dust
from fgaf.acquire.simulation.flagellum import FlagellumImager
from fgaf.acquire.simulation.microscope import Microscope
from fgaf.acquire.simulation.population import draw_sperm
from fgaf.acquire.simulation.scenery.clumps import CLUMPS
from fgaf.acquire.simulation.scenery.droplet import DropletEdge
from fgaf.acquire.simulation.scenery.furnish import draw_rims, draw_shafts, draw_tails, furnish
from fgaf.acquire.simulation.scenery.pipette import Needle
from fgaf.acquire.simulation.scenery.tails import Tail
from fgaf.acquire.simulation.scenery.texture import Texture
from fgaf.acquire.simulation.scenery.things import Furniture, Placed
from fgaf.acquire.simulation.settings import MicroscopeSettings, SimulationSettings
from fgaf.acquire.simulation.silhouette import silhouette
from fgaf.acquire.simulation.sperm import BEAD_UM, Sperm
from fgaf.acquire.simulation.swimming import Pose, Swimming, draw_swimming
from fgaf.acquire.simulation.waves import Patch, WaveImager
from fgaf.dataset.truth import CellTruth, as_outline

Array = npt.NDArray[Any]

_TRUTH_MARGIN_UM = 5.0
_BLUR_STEP_UM = 0.35
_BLUR_MOMENTS, _QUICK_MOMENTS = 9, 3
_CLUMP_DEPTH_UM = 0.3


@dataclass(frozen=True)
class Swimmer:
    """A sperm and its path."""

    body: Sperm
    way: Swimming


class Canvas:
    """The image under construction: relative intensity of one exposure.

    Compact objects multiply the image, weak threads are added: each object is imaged separately,
    and where images overlap the light is assumed to pass one object after the other.

    Parameters
    ----------
    shape
        (Y, X) pixels.
    focus_um
        The drive's z.
    """

    def __init__(self, shape: tuple[int, int], focus_um: float) -> None:
        self.focus_um = focus_um
        self._product = np.ones(shape, np.float32)
        self._weak = np.zeros(shape, np.float32)

    def multiply(self, patch: Patch) -> None:
        """Add an object's image to the canvas; parts outside are cut off."""
        rows, columns = self._product.shape
        height, width = patch.intensity.shape
        y0, y1 = max(patch.top, 0), min(patch.top + height, rows)
        x0, x1 = max(patch.left, 0), min(patch.left + width, columns)
        if y0 < y1 and x0 < x1:
            self._product[y0:y1, x0:x1] *= patch.intensity[
                y0 - patch.top : y1 - patch.top, x0 - patch.left : x1 - patch.left
            ]

    def shows(self, y_px: float, x_px: float, reach_px: float) -> bool:
        """Whether an object within `reach_px` of a position is visible.

        Parameters
        ----------
        y_px, x_px
            The place, pixels.
        reach_px
            Radius, pixels.
        """
        rows, columns = self._product.shape
        return -reach_px < y_px < rows + reach_px and -reach_px < x_px < columns + reach_px

    def add_thread(
        self, imager: FlagellumImager, y_px: Array, x_px: Array, z_um: Array, strength: Array
    ) -> None:
        """Add weak beads at drive positions `z_um`.

        Parameters
        ----------
        imager
            Adds images of beads.
        y_px, x_px
            (N,) places, pixels.
        z_um
            (N,) drive positions of their focus, µm.
        strength
            (N,) phase of each.
        """
        imager.add(self._weak, y_px, x_px, self.focus_um - z_um, strength)

    def relative(self) -> Array:
        """Intensity relative to the empty background, (Y, X) float32."""
        return self._product * np.maximum(1 + self._weak, 0)


class Painter:
    """Draws sperm on a canvas; caches the tables of one microscope."""

    def __init__(self, settings: MicroscopeSettings) -> None:
        self.settings = settings
        self.waves = WaveImager(Microscope(settings))
        self.threads = FlagellumImager(self.waves.windows)
        resolved = max(settings.pixel_size_um, 0.25 / settings.cutoff)
        self._stride = max(1, int(resolved / BEAD_UM)) if settings.quick else 1
        self._most_moments = _QUICK_MOMENTS if settings.quick else _BLUR_MOMENTS

    def sperm(
        self,
        canvas: Canvas,
        swimmer: Swimmer,
        time_s: float,
        exposure_s: float = 0.0,
        shift_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Draw one sperm on the canvas at a time.

        During the exposure the head moves on a straight line without turning; the flagellum is
        drawn at as many times as its motion blur needs.

        Parameters
        ----------
        canvas
            Where to.
        swimmer
            Who.
        time_s, exposure_s
            Middle and length of the exposure.
        shift_um
            (y, x, z) added to its position: to centre it, or to bring it back into a field.
        """
        pixel = self.settings.pixel_size_um
        body, way = swimmer.body, swimmer.way
        pose = way.pose(time_s)
        line = body.flagellum(pose, way.beat(time_s))
        before, after = way.pose(time_s - exposure_s / 2), way.pose(time_s + exposure_s / 2)
        y, x = (pose.y_um + shift_um[0]) / pixel, (pose.x_um + shift_um[1]) / pixel
        z = pose.z_um + shift_um[2]
        spread = self.waves.microscope.spread_um(abs(canvas.focus_um - z) + body.length)
        if canvas.shows(y, x, (body.length + body.midpiece_length + spread) / pixel):
            canvas.multiply(
                self.waves.image(
                    body.slices(pose, line, self.settings),
                    y,
                    x,
                    canvas.focus_um - z,
                    (after.y_um - before.y_um, after.x_um - before.x_um),
                )
            )
        moments = self._moments(swimmer, exposure_s)
        for moment in moments:
            then = time_s + moment
            if moment:
                pose = way.pose(then)
                line = body.flagellum(pose, way.beat(then))
            thread = body.thread(line, self.settings).thinned(self._stride)
            canvas.add_thread(
                self.threads,
                (pose.y_um + shift_um[0] + thread.y_um) / pixel,
                (pose.x_um + shift_um[1] + thread.x_um) / pixel,
                pose.z_um + shift_um[2] + thread.z_um,
                thread.strength / len(moments),
            )

    def tail(self, canvas: Canvas, tail: Tail) -> None:
        """Draw a tail without a head.

        Parameters
        ----------
        canvas
            Where to.
        tail
            Which.
        """
        pixel = self.settings.pixel_size_um
        canvas.add_thread(
            self.threads,
            (tail.y_um + tail.thread.y_um) / pixel,
            (tail.x_um + tail.thread.x_um) / pixel,
            tail.z_um + tail.thread.z_um,
            tail.thread.strength,
        )

    def _moments(self, swimmer: Swimmer, exposure_s: float) -> Array:
        """Times of the exposure, relative to its middle, for the flagellum's blur."""
        body = swimmer.body
        fastest = body.swing * body.wave * swimmer.way.beat_hz + swimmer.way.speed_um_s
        count = int(np.clip(np.ceil(fastest * exposure_s / _BLUR_STEP_UM), 1, self._most_moments))
        return exposure_s * ((np.arange(count) + 0.5) / count - 0.5)


class Scene:
    """A field of cells that swim independently of exposures.

    Every exposure depends only on the settings and its arguments: the same call gives the same
    pixels, in any order of calls.

    Parameters
    ----------
    settings
        The microscope, its camera and the specimen.
    """

    def __init__(self, settings: SimulationSettings) -> None:
        self.settings = settings
        self._painter = Painter(settings)
        self._light = light.illumination(settings)
        self._dust = draw_dust(settings)
        for grain in self._dust:
            grain.multiply(self._light)
        rows, columns = settings.shape
        self._size_um = (rows * settings.pixel_size_um, columns * settings.pixel_size_um)
        self.swimmers: tuple[Swimmer, ...] = tuple(self._populate())
        self.things: tuple[Furniture, ...] = tuple(furnish(settings, self._size_um))
        self._tails = draw_tails(settings, self._size_um)
        self._needles, self._edges = self._draw_straight()
        self._grain = (
            Texture(settings, self._painter.waves.microscope, settings.center_um)
            if settings.grain
            else None
        )

    def expose(
        self,
        time_s: float,
        exposure_s: float,
        focus_um: float,
        before_each: Callable[[], None] = lambda: None,
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

        Returns
        -------
        pixels
            (Y, X) uint8 or uint16.
        truth
            Content of the field in the middle of the exposure.
        """
        middle = time_s + exposure_s / 2
        canvas = Canvas(self.settings.shape, focus_um)
        truth = []
        for number, swimmer in enumerate(self.swimmers):
            before_each()
            shift = self._fold(swimmer, middle)
            self._painter.sperm(canvas, swimmer, middle, exposure_s, shift)
            truth.append(self._truth_of(number, swimmer, middle, shift))
        for thing in self.things:
            before_each()
            canvas.multiply(thing.image(self._painter.waves, focus_um))
        for tail in self._tails:
            self._painter.tail(canvas, tail)
        relative = canvas.relative()
        for part in (*self._edges, *self._needles, self._grain):
            if part is not None:
                part.multiply(relative, focus_um)
        truth += self._truth_of_things(len(self.swimmers))
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
        seen = [cell for cell in truth if self._in_field(cell)]
        if band := self.settings.mirror_px:
            pixels = mirror.pad(pixels, band)
            seen = list(mirror.mirror_truth(seen, self.settings.shape, band))
        return pixels, tuple(seen)

    def _truth_of(
        self, number: int, swimmer: Swimmer, time_s: float, shift: tuple[float, float, float]
    ) -> CellTruth:
        pose = swimmer.way.pose(time_s)
        pixel = self.settings.pixel_size_um
        headless = swimmer.body.headless
        length, width = (None, None) if headless else swimmer.body.outline_um(pose)
        outline = self._outline_of(swimmer.body, pose, shift) if self.settings.outlines else ()
        return CellTruth(
            id=number,
            kind="tail" if headless else "sperm",
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

    def _outline_of(
        self, body: Sperm, pose: Pose, shift: tuple[float, float, float]
    ) -> tuple[tuple[float, float], ...]:
        place = np.array([pose.y_um + shift[0], pose.x_um + shift[1]])
        return as_outline((silhouette(body, pose) + place) / self.settings.pixel_size_um)

    def _truth_of_things(self, first: int) -> list[CellTruth]:
        """Truth of what does not move, numbered from `first`."""
        pixel = self.settings.pixel_size_um
        shafts = [needle.shaft for needle in self._needles]
        placed: list[Placed] = [*self.things, *self._tails, *shafts]
        truth = [
            CellTruth(
                id=number,
                kind=thing.kind,
                y_px=thing.y_um / pixel,
                x_px=thing.x_um / pixel,
                focus_um=thing.z_um,
                yaw_rad=thing.yaw,
            )
            for number, thing in enumerate(placed, first)
        ]
        return truth + [
            CellTruth(
                id=number,
                kind="dust",
                y_px=grain.y_px,
                x_px=grain.x_px,
                focus_um=self.settings.center_um,
            )
            for number, grain in enumerate(self._dust, first + len(truth))
        ]

    def _in_field(self, cell: CellTruth) -> bool:
        margin = _TRUTH_MARGIN_UM / self.settings.pixel_size_um
        rows, columns = self.settings.shape
        return -margin < cell.y_px < rows + margin and -margin < cell.x_px < columns + margin

    def _fold(self, swimmer: Swimmer, time_s: float) -> tuple[float, float, float]:
        """Shift that lets a cell that swam far away enter again from the other side."""
        away = swimmer.body.tail_length + 5.0
        y, x = swimmer.way.path(time_s)
        shift = []
        for place, size in zip((y, x), self._size_um, strict=True):
            period = size + 2 * away
            shift.append(float((place + away) % period - away - place))
        return shift[0], shift[1], 0.0

    def _populate(self) -> list[Swimmer]:
        s = self.settings
        rng = np.random.default_rng([s.seed, 0])
        margins = [min(s.margin_um, size / 2 * 0.9) for size in self._size_um]
        swimmers: list[Swimmer] = []
        taken: list[Array] = []
        for _ in range(s.cells):
            body = draw_sperm(rng, s.motile, s)
            depth = s.center_um + float(rng.uniform(-1, 1)) * s.depth_spread_um
            start = Pose(0.0, 0.0, depth, yaw=float(rng.uniform(0, 2 * np.pi)))
            way = draw_swimming(rng, start, s.motile, s.beat_hz, s.speed_um_s, s.rolled_heads)
            way = way.climbing(s.climb)
            way = replace(way, start=replace(way.start, z_um=depth - way.pose(0).z_um + depth))
            swimmers.append(Swimmer(body, self._settle(rng, way, taken, margins)))
        return swimmers + self._clump(taken, margins)

    def _clump(self, taken: list[Array], margins: list[float]) -> list[Swimmer]:
        """Groups of sperm whose heads touch; they beat, but do not get away."""
        s = self.settings
        rng = np.random.default_rng([s.seed, 15])
        swimmers = []
        for name, layout in CLUMPS.items():
            for _ in range(getattr(s, name)):
                z = s.center_um + float(rng.uniform(-1, 1)) * s.depth_spread_um
                middle = self._settle(rng, Swimming(Pose(0.0, 0.0, z)), taken, margins).start
                for y, x, yaw in layout(rng):
                    depth = z + float(rng.normal(0, _CLUMP_DEPTH_UM))
                    start = Pose(middle.y_um + y, middle.x_um + x, depth, yaw=yaw)
                    body = draw_sperm(rng, s.motile, s)
                    way = draw_swimming(
                        rng, start, s.motile, s.beat_hz, s.speed_um_s, s.rolled_heads
                    )
                    swimmers.append(Swimmer(body, way.held()))
        return swimmers

    def _draw_straight(self) -> tuple[tuple[Needle, ...], tuple[DropletEdge, ...]]:
        """Needles and edges of droplets, beside heads as they are at time 0."""
        s, scope = self.settings, self._painter.waves.microscope
        poses = [swimmer.way.pose(0.0) for swimmer in self.swimmers]
        heads = [(pose.y_um, pose.x_um) for pose in poses]
        needles = [Needle(shaft, scope, s.shape) for shaft in draw_shafts(s, self._size_um, heads)]
        edges = [
            DropletEdge(rim, scope, s.shape, z) for rim, z in draw_rims(s, self._size_um, heads)
        ]
        return tuple(needles), tuple(edges)

    def _settle(
        self, rng: np.random.Generator, way: Swimming, taken: list[Array], margins: list[float]
    ) -> Swimming:
        """Find a position where a cell keeps its distance from the others for a while.

        `taken` holds the others' tracks; the cell's own is added.
        """
        times = np.linspace(0, self.settings.separation_s, 6)
        track = np.array([way.path(t) for t in times])
        others = np.array(taken)
        best, room = np.zeros(2), -1.0
        for _ in range(60):
            place = np.array(
                [
                    float(rng.uniform(margin, size - margin))
                    for margin, size in zip(margins, self._size_um, strict=True)
                ]
            )
            if not taken:
                best = place
                break
            away = others - (track + place)
            least = float(np.hypot(away[..., 0], away[..., 1]).min())
            if least > room:
                best, room = place, least
            if least >= self.settings.separation_um:
                break
        taken.append(track + best)
        return way.at(*best.tolist())


def _whole(number: float) -> int:
    """A number as the non-negative integer that seeds need; one to one within 2**62."""
    n = round(number)
    return 2 * n if n >= 0 else -2 * n - 1
