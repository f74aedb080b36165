"""Cells of a simulated field that a sucking pipette carries.

Whoever simulates a pipette gives the scene a `Suction`: where the mouth is and how much flows into
it, at any time of the scene's clock. ``Scene(settings, suction)`` then asks the `Carrier` for the
cells of every exposure. While nothing flows, all cells keep their own paths exactly. Once liquid
flows, the cells that feel it are carried; from then on each continues from where it is and the way
it heads, also when the flow has ended. A cell in the bore is seen there, and moves with the
pipette.

The place of a mouth is (y, x) in µm of the specimen, from the first pixel of the first field, as
the views of the scene are; its z is a height over the dish in µm of the specimen, which
`SimulationSettings.height_um` and `drive_um` convert from and to positions of the focus drive.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.carried import Carried
from fgaf.acquire.simulation.aspiration.carried_swimming import CarriedSwimming, Mean
from fgaf.acquire.simulation.aspiration.cells import Cells
from fgaf.acquire.simulation.aspiration.hydraulics import UM3_PER_NL
from fgaf.acquire.simulation.aspiration.mouth import Mouth
from fgaf.acquire.simulation.aspiration.mouth_flow import MouthFlow
from fgaf.acquire.simulation.aspiration.settings import AspirationSettings
from fgaf.acquire.simulation.painter import Swimmer
from fgaf.acquire.simulation.settings import SimulationSettings
from fgaf.acquire.simulation.view import Place
from fgaf.acquire.simulation.world import Seen, World
from fgaf.base.errors import SettingError

Array = npt.NDArray[Any]

_LEAST_UM_S, _FARTHEST_UM = 1.0, 150.0
_LOOK_S, _SPAN_S, _QUICK_S, _STILL_S, _KEPT_S = 0.01, 0.005, 0.001, 0.01, 10.0
_FAST_UM_S, _MOVING_UM_S, _CLOSE_UM = 400.0, 20.0, 10.0
_FORGOTTEN = 100
_MOVE_UM, _MOST_MOVES, _TOUCH_UM = 0.5, 64, 40.0
_STICK = 11


class Suction(Protocol):
    """A pipette in the specimen as the liquid feels it, at times in s of the scene's clock."""

    def mouth(self, time_s: float) -> Mouth:
        """Place over the dish, axis and glass of the mouth."""
        ...

    def flow_nl_s(self, time_s: float) -> float:
        """Flow into the mouth; negative out of it."""
        ...


@dataclass(frozen=True)
class Entry:
    """What became of a carried cell; None before it happens.

    Attributes
    ----------
    entered_s
        When the centre of its head passed the plane of the mouth within the bore.
    radius_um, z_um, speed_um_s
        Distance from the axis, height less that of the mouth, and speed at that time.
    left_s
        When it had gone through the straight part of the pipette.
    inside
        Whether it is in the bore now.
    depth_um
        Its distance now behind the plane of the mouth; negative before it.
    rim_touches, dish_touches
        How often a contact of the head with glass or dish began.
    stuck
        Whether it adheres to the dish.
    """

    entered_s: float | None
    radius_um: float | None
    z_um: float | None
    speed_um_s: float | None
    left_s: float | None
    inside: bool
    depth_um: float
    rim_touches: int
    dish_touches: int
    stuck: bool


class Carrier:
    """Moves the cells that a pipette's flow reaches, in time.

    A cell is reached where a sink in open liquid would draw by 1 µm/s or more, at most 150 µm from
    the mouth, if it is in or near the view of the camera. Exposures may go back by 10 s.

    Parameters
    ----------
    settings
        The field; the pipette's are those of `SimulationSettings.aspiration`, or the usual ones.
    world
        Its cells.
    suction
        The pipette.
    """

    def __init__(self, settings: SimulationSettings, world: World, suction: Suction) -> None:
        self._settings, self._world, self._suction = settings, world, suction
        self._pipette = settings.aspiration or AspirationSettings()
        none = Cells.starting(np.zeros((0, 3)), np.zeros(0), 0.0)
        self._carried = Carried(self._pipette, none, view_um=self._pipette.straight_um)
        self._bodies: dict[int, Swimmer] = {}
        self._taken_s: list[float] = []
        self._times: list[float] = []
        self._states: list[tuple[Array, Array]] = []
        self._time_s, self._look_s, self._span_s = 0.0, 0.0, _SPAN_S
        self._field: MouthFlow | None = None

    @property
    def entries(self) -> dict[int, Entry]:
        """What became of the carried cells, by their number in the truth."""
        carried, mouth = self._carried, self._suction.mouth(self._time_s)
        depth, found = carried.depth_um(mouth), carried.entries
        return {
            number: Entry(
                entered_s=_happened(found.time_s[k]),
                radius_um=_happened(found.radius_um[k]),
                z_um=_happened(found.z_um[k]),
                speed_um_s=_happened(found.speed_um_s[k]),
                left_s=_happened(found.left_s[k]),
                inside=bool(carried.inside[k]),
                depth_um=float(depth[k]),
                rim_touches=int(found.rim_touches[k]),
                dish_touches=int(found.dish_touches[k]),
                stuck=bool(carried.cells.stuck[k]),
            )
            for k, number in enumerate(self._bodies)
        }

    def advance(self, time_s: float, corner: Callable[[float], Place]) -> None:
        """Let time pass up to a time or a little beyond; one in the past changes nothing.

        The steps do not depend on the times that are asked for.

        Parameters
        ----------
        time_s
            Time of the scene's clock.
        corner
            Place (y, x) of the view's first pixel at a time.
        """
        while self._time_s < time_s:
            if self._time_s >= self._look_s:
                self._take(corner(self._time_s))
                self._look_s = self._time_s + _LOOK_S
            if self._bodies:
                self._move()
            else:
                self._time_s = self._look_s

    def swimmers(self, corner_um: Place, time_s: float) -> Iterator[Seen[Swimmer]]:
        """Cells in view, as `World.swimmers`, the carried ones where they have been carried to.

        Parameters
        ----------
        corner_um
            Place (y, x) of the view's first pixel.
        time_s
            Time, at most that of the last `advance`.
        """
        carried = {
            number: taken
            for number, taken in zip(self._bodies, self._taken_s, strict=True)
            if taken <= time_s
        }
        for seen in self._world.swimmers(corner_um, time_s):
            if seen.id not in carried:
                yield seen
        left_s = self._carried.entries.left_s
        for k, (number, swimmer) in enumerate(self._bodies.items()):
            if number not in carried or left_s[k] <= time_s:
                continue
            if self._world.is_near(corner_um, swimmer.way.path(time_s), swimmer):
                yield Seen(number, swimmer, (-corner_um[0], -corner_um[1], 0.0))

    def _take(self, corner_um: Place) -> None:
        """Begin to carry the cells that the flow reaches."""
        now = self._time_s
        reach = self._reach_um(now)
        if not reach:
            return
        mouth, new, places = self._suction.mouth(now), [], []
        for number, swimmer, shift in self._world.swimmers(corner_um, now):
            if number in self._bodies:
                continue
            start = swimmer.way.start
            way = swimmer.way.at(
                start.y_um + shift[0] + corner_um[0], start.x_um + shift[1] + corner_um[1]
            )
            place = (*way.path(now), self._settings.height_um(way.level(now)))
            if math.dist(place, mouth.place_um) < reach:
                mean = self._mean(len(self._bodies))
                self._bodies[number] = Swimmer(swimmer.body, CarriedSwimming.of(way, mean))
                self._taken_s.append(now)
                new.append((number, way))
                places.append(place)
        if not new:
            return
        ways = [way for _, way in new]
        cells = Cells.starting(
            np.array(places),
            np.array([way.heading(now) for way in ways]),
            np.array([way.speed_um_s for way in ways]),
            np.array([way.turn_rad_s for way in ways]),
            np.array([self._sticks(number, way.beat_hz) for number, way in new]),
        )
        reduction = self._settings.reduction
        most = max(len(way.z_wander) for way in ways)
        cells.wander = np.zeros((len(ways), most, 3))
        for row, way in zip(cells.wander, ways, strict=True):
            for wave, (size, frequency, phase) in zip(row, way.z_wander, strict=False):
                wave[:] = size / reduction, frequency, phase
        self._carried.time_s = now
        self._carried.add(cells)
        self._remember()

    def _reach_um(self, time_s: float) -> float:
        """Distance from the mouth within which cells are carried."""
        flow = abs(self._suction.flow_nl_s(time_s)) * UM3_PER_NL
        return min(math.sqrt(flow / (4 * math.pi * _LEAST_UM_S)), _FARTHEST_UM)

    def _sticks(self, number: int, beat_hz: float) -> bool:
        """Whether an immotile cell adheres, drawn from the seed and its number."""
        rng = np.random.default_rng([self._settings.seed, _STICK, number])
        return beat_hz == 0 and rng.uniform() < self._pipette.adhesion_share

    def _move(self) -> None:
        """Carry the cells over a short time."""
        carried, suction, begun = self._carried, self._suction, self._time_s
        before = suction.mouth(begun)
        end = begun + (self._span_s if self._reach_um(begun) > before.inner_um else _STILL_S)
        mouth = suction.mouth(end)
        moved = float(np.linalg.norm(mouth.centre - before.centre))
        if moved > _MOVE_UM:
            away = np.linalg.norm(carried.cells.place_um - before.centre, axis=1)
            if (~carried.inside & ~carried.left & (away < moved + _TOUCH_UM)).any():
                end = begun + (end - begun) / min(math.ceil(moved / _MOVE_UM), _MOST_MOVES)
                mouth = suction.mouth(end)
        carried.cells.place_um[carried.inside] += mouth.centre - before.centre
        flow = suction.flow_nl_s((begun + end) / 2)
        start = carried.cells.place_um.copy()
        carried.advance(end - begun, self._liquid(mouth, flow), mouth)
        self._time_s = end
        self._span_s = self._next_span_s(carried.cells.place_um - start, end - begun, mouth)
        self._remember()

    def _next_span_s(self, way_um: Array, span_s: float, mouth: Mouth) -> float:
        """Length of the next span; the path between spans is drawn straight."""
        here = ~self._carried.left
        speed = np.linalg.norm(way_um[here], axis=1) / span_s
        away = np.linalg.norm(self._carried.cells.place_um[here] - mouth.centre, axis=1)
        if ((speed > _FAST_UM_S) | ((away < _CLOSE_UM) & (speed > _MOVING_UM_S))).any():
            return _QUICK_S
        return _SPAN_S

    def _liquid(self, mouth: Mouth, flow_nl_s: float) -> Callable[[Array], Array]:
        if not flow_nl_s:
            return np.zeros_like
        if self._field is None or self._field.mouth != mouth:
            self._field = MouthFlow(mouth)
        field = self._field
        return lambda places: field.velocity(places, flow_nl_s)

    def _remember(self) -> None:
        """Keep where the cells are now, and forget what is long ago."""
        if self._times and self._times[-1] == self._time_s:
            self._times.pop()
            self._states.pop()
        cells = self._carried.cells
        self._times.append(self._time_s)
        self._states.append((cells.place_um.copy(), cells.axis.copy()))
        old = bisect_right(self._times, self._time_s - _KEPT_S)
        if old > _FORGOTTEN:
            del self._times[:old], self._states[:old]

    def _mean(self, k: int) -> Callable[[float], Mean | None]:
        """Where a carried cell is on average, by time; None before it was carried."""

        def mean(time_s: float) -> Mean | None:
            if time_s < self._taken_s[k]:
                return None
            if time_s < self._times[0]:
                raise SettingError(
                    f"the cells at {time_s:g} s are forgotten; ask for {self._times[0]:g} s or more"
                )
            after = min(max(bisect_right(self._times, time_s), 1), len(self._times) - 1)
            before = max(after - 1, 0)
            if len(self._states[before][0]) <= k:
                before = after
            (place, axis), (then, turned) = self._states[before], self._states[after]
            length = self._times[after] - self._times[before]
            part = (time_s - self._times[before]) / length if length else 0.0
            at = place[k] + part * (then[k] - place[k])
            p = axis[k] + min(part, 1.0) * (turned[k] - axis[k])
            return Mean(
                float(at[0]),
                float(at[1]),
                self._settings.drive_um(float(at[2])),
                math.atan2(p[0], p[1]),
                math.atan2(p[2], math.hypot(p[0], p[1])),
            )

        return mean


def _happened(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
