"""Drawing of sperm and other objects: the canvas of one exposure and who draws on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.flagellum import FlagellumImager
from fgaf.acquire.simulation.microscope import HORIZON_UM, Microscope
from fgaf.acquire.simulation.scenery.pipette import PIPETTE
from fgaf.acquire.simulation.scenery.tails import Tail
from fgaf.acquire.simulation.scenery.things import Furniture
from fgaf.acquire.simulation.settings import MicroscopeSettings
from fgaf.acquire.simulation.sperm import BEAD_UM, Sperm
from fgaf.acquire.simulation.swimming import Swimming
from fgaf.acquire.simulation.view import Place, along
from fgaf.acquire.simulation.waves import Patch, WaveImager

Array = npt.NDArray[Any]

WIDEST_UM = 23.0
"""Radius of the widest objects."""

_BLUR_STEP_UM, _DRIFT_STEP_UM = 0.35, 0.7
_SLACK_UM = 2.0
_BLUR_MOMENTS, _QUICK_MOMENTS = 9, 3


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

    def shows(self, y_px: Any, x_px: Any, reach_px: float) -> Any:
        """Whether objects within `reach_px` of their positions are visible.

        Parameters
        ----------
        y_px, x_px
            The places, pixels: numbers or arrays.
        reach_px
            Radius, pixels.
        """
        rows, columns = self._product.shape
        return (
            (-reach_px < y_px)
            & (y_px < rows + reach_px)
            & (-reach_px < x_px)
            & (x_px < columns + reach_px)
        )

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
        drift_um: Place = (0.0, 0.0),
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
            (y, x, z) added to its position: to centre it, or to bring it into a view.
        drift_um
            Motion (y, x) of the view during the exposure.
        """
        drift = math.hypot(*drift_um)
        pixel = self.settings.pixel_size_um
        body, way = swimmer.body, swimmer.way
        pose = way.pose(time_s)
        line = body.flagellum(pose, way.beat(time_s))
        before, after = way.pose(time_s - exposure_s / 2), way.pose(time_s + exposure_s / 2)
        y, x = (pose.y_um + shift_um[0]) / pixel, (pose.x_um + shift_um[1]) / pixel
        z = pose.z_um + shift_um[2]
        spread = self.waves.microscope.spread_um(abs(canvas.focus_um - z) + body.length)
        if canvas.shows(y, x, (body.length + body.midpiece_length + spread + drift) / pixel):
            smear = (
                after.y_um - before.y_um - drift_um[0],
                after.x_um - before.x_um - drift_um[1],
            )
            canvas.multiply(
                self.waves.image(
                    body.slices(pose, line, self.settings),
                    y,
                    x,
                    canvas.focus_um - z,
                    smear,
                    math.hypot(*smear) / 2 if drift else 0.0,
                )
            )
        thread = body.thread(line, self.settings)
        far = float(np.abs(canvas.focus_um - z - thread.z_um).max(initial=0)) + _SLACK_UM
        reach = self.waves.microscope.spread_um(far) + drift + _SLACK_UM
        reach = (reach + _fastest_um_s(swimmer) * exposure_s) / pixel
        if not np.any(canvas.shows(y + thread.y_um / pixel, x + thread.x_um / pixel, reach)):
            return
        moments = self._moments(swimmer, exposure_s, drift)
        for moment in moments:
            then = time_s + moment
            if moment:
                pose = way.pose(then)
                line = body.flagellum(pose, way.beat(then))
            thread = body.thread(line, self.settings).thinned(self._stride)
            part = moment / exposure_s if moment else 0.0
            canvas.add_thread(
                self.threads,
                (pose.y_um + shift_um[0] - part * drift_um[0] + thread.y_um) / pixel,
                (pose.x_um + shift_um[1] - part * drift_um[1] + thread.x_um) / pixel,
                pose.z_um + shift_um[2] + thread.z_um,
                thread.strength / len(moments),
            )

    def reach_um(self, away_um: float) -> float:
        """Distance from its centre at which nothing of an object is seen; pipettes are longer.

        Parameters
        ----------
        away_um
            Distance of the drive from its focus.
        """
        return WIDEST_UM + self.waves.microscope.spread_um(min(abs(away_um), HORIZON_UM))

    def thing(
        self,
        canvas: Canvas,
        thing: Furniture | Tail,
        shift_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
        drift_um: Place = (0.0, 0.0),
    ) -> None:
        """Draw an object that does not move by itself.

        Parameters
        ----------
        canvas
            Where to.
        thing
            Which.
        shift_um
            (y, x, z) added to its position.
        drift_um
            Motion (y, x) of the view during the exposure.
        """
        if isinstance(thing, Tail):
            self._tail(canvas, thing, shift_um, drift_um)
            return
        pixel = self.settings.pixel_size_um
        y, x = (thing.y_um + shift_um[0]) / pixel, (thing.x_um + shift_um[1]) / pixel
        reach = self.reach_um(canvas.focus_um - thing.z_um - shift_um[2]) + math.hypot(*drift_um)
        if thing.kind == PIPETTE or canvas.shows(y, x, reach / pixel):
            canvas.multiply(thing.image(self.waves, canvas.focus_um, shift_um, drift_um))

    def _tail(
        self,
        canvas: Canvas,
        tail: Tail,
        shift_um: tuple[float, float, float],
        drift_um: Place,
    ) -> None:
        pixel = self.settings.pixel_size_um
        steps = along(drift_um, _DRIFT_STEP_UM)
        for y, x in steps:
            canvas.add_thread(
                self.threads,
                (tail.y_um + shift_um[0] - y + tail.thread.y_um) / pixel,
                (tail.x_um + shift_um[1] - x + tail.thread.x_um) / pixel,
                tail.z_um + shift_um[2] + tail.thread.z_um,
                tail.thread.strength / len(steps),
            )

    def _moments(self, swimmer: Swimmer, exposure_s: float, drift_um: float) -> Array:
        """Times of the exposure, relative to its middle, for the flagellum's blur.

        Their number is bounded, but not on account of the view's drift, which is bounded itself.
        """
        beat = _fastest_um_s(swimmer) * exposure_s / _BLUR_STEP_UM
        drift = drift_um / _DRIFT_STEP_UM
        most = self._most_moments + np.ceil(drift)
        count = int(np.clip(np.ceil(beat + drift), 1, most))
        return exposure_s * ((np.arange(count) + 0.5) / count - 0.5)


def _fastest_um_s(swimmer: Swimmer) -> float:
    """Highest speed of any part of a sperm."""
    body, way = swimmer.body, swimmer.way
    return body.swing * body.wave * way.beat_hz + way.speed_um_s
