"""Cells in the flow at a pipette: they swim, are carried and turned, touch, stick, and enter.

A cell moves with the mean of the liquid's velocity over its head and tail, weighted by drag, and
its own speed along its axis. Its axis p turns by Jeffery's equation (Proc. R. Soc. Lond. A 102,
1922), dp/dt = (1 - p p) [(1 + B)/2 L p - (1 - B)/2 L^T p], with the factor B and the gradient L of
the velocity. Along the axis the gradient is that of the whole body, by least squares over its drag,
since the flow changes along a tail of 45 µm; across it, that at the head. Tails are straight here;
the parts that would lie in the glass bend around it and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fgaf.acquire.simulation.aspiration.body import Body
from fgaf.acquire.simulation.aspiration.cells import Cells, Entries, joined
from fgaf.acquire.simulation.aspiration.contact import push_out
from fgaf.acquire.simulation.aspiration.mouth import Mouth
from fgaf.acquire.simulation.aspiration.settings import AspirationSettings

Array = npt.NDArray[Any]
Flow = Callable[[Array], Array]
"""Velocity of the liquid in µm/s at places (..., 3) in µm, both (y, x, z)."""

_LONGEST_S, _LONGEST_UM, _LARGEST_RAD = 0.02, 1.0, 0.05
_SHARE = 0.08
_HELD, _MOST_PATIENCE = 0.1, 1024.0
_STEPS = 1e-3 * np.concatenate([np.eye(3), -np.eye(3)])


class Carried:
    """Moves cells through a flow in time. It draws nothing at random.

    Steps are so short that a cell goes at most a twelfth of its distance from the mouth (or of its
    radius) in one, or turns by 0.05 rad; each cell has its own. The rule is the midpoint's. While
    glass holds a cell in its place, time goes on in longer steps than the cell would go.

    Parameters
    ----------
    settings
        Shape and response of the cells.
    cells
        The cells; they are changed.
    time_s
        Present time.
    view_um
        Length of the bore that is seen, from the mouth on; beyond it cells are left alone.
    """

    def __init__(
        self,
        settings: AspirationSettings,
        cells: Cells,
        time_s: float = 0.0,
        view_um: float = math.inf,
    ) -> None:
        self.cells, self.time_s = cells, time_s
        count = len(cells.place_um)
        self.entries = Entries.none(count)
        self.inside = np.zeros(count, bool)
        self._touching = np.zeros((2, count), bool)
        self._patience = np.ones(count)
        self._backwards = np.zeros(count, bool)
        self._body = Body.of(settings)
        self._view_um = view_um
        self._drift = np.array([*settings.drift_um_s, 0.0])
        radius = (settings.head_length_um * settings.head_width_um**2) ** (1 / 3) / 2
        # Stokes' drag: 1 mPa s um^2/s is 1e-3 pN
        drag = 6e-3 * math.pi * settings.viscosity_mpa_s * radius
        self._tear_um_s = settings.adhesion_pn / drag

    @property
    def left(self) -> Array:
        """(M,) whether they are out of view up the bore."""
        return ~np.isnan(self.entries.left_s)

    def depth_um(self, mouth: Mouth) -> Array:
        """Distance (M,) of the heads behind the plane of a mouth; negative before it."""
        return -mouth.ahead(self.cells.place_um)

    def add(self, cells: Cells) -> None:
        """Carry further cells from now on; they come last."""
        self.cells = joined(self.cells, cells)
        count = len(cells.place_um)
        self.entries = joined(self.entries, Entries.none(count))
        self.inside = np.append(self.inside, np.zeros(count, bool))
        self._touching = np.append(self._touching, np.zeros((2, count), bool), axis=1)
        self._patience = np.append(self._patience, np.ones(count))
        self._backwards = np.append(self._backwards, np.zeros(count, bool))

    def advance(self, duration_s: float, flow: Flow, mouth: Mouth | None = None) -> None:
        """Let time pass while flow and mouth stay as they are.

        Parameters
        ----------
        duration_s
            How long.
        flow
            The liquid.
        mouth
            The pipette; None for a flow without one.
        """
        end = self.time_s + duration_s
        clock = np.full(len(self.inside), self.time_s)
        going = np.nonzero(~self.left)[0]
        while len(going):
            self._step(going, clock, end, flow, mouth)
            going = going[(clock[going] < end) & ~self.left[going]]
        self.time_s = end

    def _step(self, who: Array, clock: Array, end: float, flow: Flow, mouth: Mouth | None) -> None:
        """One step of each of some cells."""
        cells = self.cells
        place, axis, begun = cells.place_um[who], cells.axis[who], clock[who]
        velocity, turn, scale = self._rates(who, place, axis, begun, flow, mouth)
        wait = self._patience[who]
        step = scale / np.maximum(_length(velocity), 1e-9)
        step = np.minimum(step, _LARGEST_RAD / np.maximum(_length(turn), 1e-9))
        step = np.minimum(np.minimum(step * wait, _LONGEST_S), end - begun)
        half = (step / wait)[:, None] / 2
        velocity, turn, _ = self._rates(
            who,
            place + half * velocity,
            _unit(axis + half * turn),
            begun + step / 2,
            flow,
            mouth,
        )
        moved, turned = place + 2 * half * velocity, _unit(axis + 2 * half * turn)
        clock[who] = np.where(step < end - begun, begun + step, end)
        planned = _length(moved - place)
        entering = _entering(place, moved, mouth)
        touched = push_out(self._body, moved, turned, mouth, self.inside[who] | entering)
        held = touched[1] & (_length(moved - place) < _HELD * planned)
        self._patience[who] = np.where(held, np.minimum(2 * wait, _MOST_PATIENCE), 1.0)
        if mouth is not None and self.inside[who].any():
            self._follow(who, moved - place, turned, mouth)
        cells.place_um[who], cells.axis[who] = moved, turned
        counts = self.entries.dish_touches, self.entries.rim_touches
        for count, now, before in zip(counts, touched, self._touching, strict=True):
            count[who] += now & ~before[who]
            before[who] = now
        if mouth is not None:
            self._note(who, entering, place, begun, clock[who], mouth)

    def _rates(
        self, who: Array, place: Array, axis: Array, time_s: Array, flow: Flow, mouth: Mouth | None
    ) -> tuple[Array, Array, Array]:
        """Velocity and turning of the heads, and the length of a step."""
        body, cells = self._body, self.cells
        count = len(body.weights)
        points = np.concatenate(
            [
                place[:, None, :] + body.places_um[:, None] * axis[:, None, :],
                place[:, None, :] + _STEPS,
            ],
            axis=1,
        )
        liquid = flow(points)
        weights, scale = self._in_liquid(points[:, :count], self.inside[who], place, mouth)
        total = np.maximum(weights.sum(axis=1), 1e-9)
        centre = weights @ body.places_um / total
        arms = body.places_um - centre[:, None]
        square = np.maximum(np.einsum("nk,nk->n", weights, arms**2), 1e-9)
        drag = liquid[:, :count]
        mean = np.einsum("nk,nki->ni", weights, drag) / total[:, None]
        lengthwise = np.einsum("nk,nki->ni", weights * arms, drag) / square[:, None]
        around = np.einsum("nki,ni->nk", liquid[:, count:], axis)
        across = (around[:, :3] - around[:, 3:]) / (2 * _STEPS[0, 0])
        factor = body.jeffery
        carried = (1 + factor) / 2 * lengthwise - (1 - factor) / 2 * across
        carried -= np.einsum("ni,ni->n", carried, axis)[:, None] * axis
        velocity = mean - centre[:, None] * carried + cells.speed_um_s[who, None] * axis
        velocity += np.where(self.inside[who, None], 0.0, self._drift)
        velocity[:, 2] += _rise(cells.wander[who], time_s)
        turn = carried
        turn[:, 0] += cells.turn_rad_s[who] * axis[:, 1]
        turn[:, 1] -= cells.turn_rad_s[who] * axis[:, 0]
        if cells.stuck[who].any():
            at_head = np.linalg.norm(liquid[:, :2].mean(axis=1), axis=1)
            cells.stuck[who] &= at_head <= self._tear_um_s
            free = ~cells.stuck[who, None]
            velocity, turn = velocity * free, turn * free
        return velocity, turn, scale

    def _in_liquid(
        self, points: Array, inside: Array, place: Array, mouth: Mouth | None
    ) -> tuple[Array, Array]:
        """Weights (M, P) of the parts that the liquid reaches, and the lengths of steps (M,).

        A part in the bore belongs to a straight body only if that passes through the mouth.
        """
        weights = np.broadcast_to(self._body.weights, points.shape[:2])
        if mouth is None:
            return weights, np.full(len(points), _LONGEST_UM)
        ahead, aside, radius = mouth.along(points)
        nearest = np.hypot(ahead, radius).min(axis=1)
        scale = _SHARE * np.maximum(nearest, mouth.inner_um)
        wide = mouth.slope * np.minimum(ahead, 0.0)
        piped = (ahead < 0) & (radius < mouth.outer_um - wide)
        if not piped.any():
            return weights, scale
        before, beside, _ = mouth.along(place)
        apart = before[:, None] - ahead
        part = (before[:, None] / np.where(piped & (apart != 0), apart, 1.0))[..., None]
        crossing = np.linalg.norm(beside[:, None] * (1 - part) + aside * part, axis=-1)
        through = inside[:, None] | ((before[:, None] > 0) & (crossing < mouth.inner_um))
        lost = piped & ~((radius < mouth.inner_um - wide) & through)
        return np.where(lost, 0.0, weights), scale

    def _follow(self, who: Array, way_um: Array, axis: Array, mouth: Mouth) -> None:
        """Turn cells in the bore along it, in place: the soft end behind is drawn after the other.

        What is drawn along by a rope turns to it within the rope's length, here that of the head.
        """
        gone = np.abs(way_um @ mouth.axis) / self._body.head_um
        part = np.where(self.inside[who], np.minimum(gone, 1.0), 0.0)[:, None]
        side = np.where(self._backwards[who], 1.0, -1.0)[:, None]
        axis += part * (side * mouth.axis - axis)
        axis /= _length(axis)[:, None]

    def _note(
        self,
        who: Array,
        entering: Array,
        before_um: Array,
        begun: Array,
        ended: Array,
        mouth: Mouth,
    ) -> None:
        """Note which heads are in the bore after a step, and which are out of view."""
        ahead, entries = mouth.ahead(self.cells.place_um[who]), self.entries
        self.inside[who] = (self.inside[who] | entering) & (ahead <= 0)
        new = who[entering & self.inside[who]]
        if len(new):
            tail = self.cells.place_um[new] + self._body.centre_um * self.cells.axis[new]
            deep, _, radius = mouth.along(tail)
            self._backwards[new] = (deep < 0) & (radius < mouth.outer_um)
        first = entering & self.inside[who] & np.isnan(entries.time_s[who])
        if first.any():
            new = who[first]
            way, step = self.cells.place_um[new] - before_um[first], (ended - begun)[first]
            place, part = _crossing(before_um[first], self.cells.place_um[new], mouth)
            entries.time_s[new] = begun[first] + part * step
            entries.radius_um[new] = mouth.along(place)[2]
            entries.z_um[new] = place[:, 2] - mouth.centre[2]
            entries.speed_um_s[new] = _length(way) / step
        out = self.inside[who] & (-ahead > self._view_um)
        entries.left_s[who[out]] = ended[out]


def _entering(before_um: Array, now_um: Array, mouth: Mouth | None) -> Array:
    """Whether heads (M,) go through the mouth in a step."""
    if mouth is None:
        return np.zeros(len(now_um), bool)
    entering: Array = (mouth.ahead(before_um) > 0) & (mouth.ahead(now_um) <= 0)
    if entering.any():
        place, _ = _crossing(before_um, now_um, mouth)
        entering &= mouth.along(place)[2] < mouth.inner_um
    return entering


def _crossing(before_um: Array, now_um: Array, mouth: Mouth) -> tuple[Array, Array]:
    """Places (M, 3) where steps meet the plane of the mouth, and the parts of the steps till then.

    A step that does not meet it has one of its ends.
    """
    old, new = mouth.ahead(before_um), mouth.ahead(now_um)
    part = np.clip(old / np.where(old != new, old - new, 1.0), 0, 1)
    return before_um + part[:, None] * (now_um - before_um), part


def _rise(wander: Array, time_s: Array) -> Array:
    """Own vertical speed (M,) of cells at times."""
    size, frequency, phase = (wander[..., k] for k in range(3))
    turns = 2 * np.pi * frequency
    rise: Array = (size * turns * np.cos(turns * time_s[:, None] + phase)).sum(axis=1)
    return rise


def _length(vectors: Array) -> Array:
    """Lengths (M,), as `numpy.linalg.norm` in half the time."""
    length: Array = np.sqrt(np.einsum("ni,ni->n", vectors, vectors))
    return length


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / _length(vectors)[:, None]
    return unit
