"""The specimen: fields side by side without end, whose cells swim from one into the others.

The fields are tiles of the frame's size, each drawn from the seed and its place. Cells may have
started any distance from where they are seen. They are found without a search, because cells share
their courses (heading, speed and turns): cell k of a tile has the course of cell k of the tile four
tiles on. Cells of one course keep their arrangement, so those in view are those that started in the
view less the way that they all have gone.

The first tile is the field at x = y = 0. Its own cells return from the opposite side when they
leave, as those of a closed field do, and nothing else ever reaches into it: of the other tiles,
what would do so is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from fgaf.acquire.simulation.cache import kept
from fgaf.acquire.simulation.field_cells import draw_cells
from fgaf.acquire.simulation.microscope import HORIZON_UM, Microscope
from fgaf.acquire.simulation.painter import WIDEST_UM, Swimmer
from fgaf.acquire.simulation.scenery.furnish import draw_tails, furnish
from fgaf.acquire.simulation.scenery.pipette import PIPETTE
from fgaf.acquire.simulation.scenery.tails import Tail
from fgaf.acquire.simulation.scenery.things import Furniture
from fgaf.acquire.simulation.settings import ScenerySettings, SimulationSettings
from fgaf.acquire.simulation.view import Place

_COURSES = 4
_LEAST_TILE_UM = 30.0
_MARGIN_UM = 5.0
_FARTHEST_UM = 54.0 + _MARGIN_UM
_SLACK_UM = 1e-3
_KEPT_CELLS, _LEAST_TILES, _KEPT_FURNISHED = 20_000, 64, 64
_MOST_IN_CLUMP = {"pairs": 2, "end_pairs": 2, "rosettes": 8, "agglutinates": 12}
_ONLY_FIRST = {"pipette": False, "needles": 0, "droplet": False, "edges": 0, "dust": 0}
_FIRST: Place = (0.0, 0.0)

Index = tuple[int, int]
Body = TypeVar("Body", covariant=True)


class Seen(NamedTuple, Generic[Body]):
    """A cell or an object that may be in view.

    Attributes
    ----------
    id
        Its number in the truth, unique in the world.
    body
        The cell or object.
    shift_um
        (y, x, z) from its own coordinates to those of the view.
    """

    id: int
    body: Body
    shift_um: tuple[float, float, float]


class World:
    """The specimen. Tiles have the size of a frame, but no side under 30 µm.

    Parameters
    ----------
    settings
        The first field, and the extent.
    microscope
        Says how far the images of objects reach.
    more
        How many further objects have numbers in the truth.

    Attributes
    ----------
    size_um
        Height and width of a view, and of the first field.
    cells
        Cells of the first field.
    things
        Objects of the first field.
    """

    def __init__(self, settings: SimulationSettings, microscope: Microscope, more: int = 0) -> None:
        self._settings = settings
        rows, columns = settings.shape
        pixel = settings.pixel_size_um
        self.size_um: Place = (rows * pixel, columns * pixel)
        self._tile_um = (
            max(self.size_um[0], _LEAST_TILE_UM),
            max(self.size_um[1], _LEAST_TILE_UM),
        )
        self._clear_um = WIDEST_UM + microscope.spread_um(HORIZON_UM)
        self.cells = draw_cells(settings, self.size_um)
        self.things = _draw_things(settings, self.size_um)
        self._numbers = _most_objects(settings) + more
        self._base = kept(self._draw_base, _COURSES**2)
        tiles = max(_LEAST_TILES, _KEPT_CELLS // max(1, len(self.cells)))
        self._tile = kept(self._draw_tile, tiles)
        self._furnished = kept(self._furnish, _KEPT_FURNISHED)

    def swimmers(self, corner_um: Place, time_s: float) -> Iterator[Seen[Swimmer]]:
        """Cells that are in view, or so near that their tails may be.

        Parameters
        ----------
        corner_um
            Place (y, x) of the view's first pixel.
        time_s
            Time.
        """
        yield from self._first_cells(corner_um, time_s)
        if corner_um == _FIRST:
            return
        alone = self._settings.cells
        for base in np.ndindex(_COURSES, _COURSES):
            for number, one in enumerate(self._base(base)[:alone]):
                y, x = one.way.path(time_s)
                gone = (y - one.way.start.y_um, x - one.way.start.x_um)
                for index in self._tiles(*self._around(corner_um, _FARTHEST_UM, gone), base):
                    yield from self._of_tile(index, range(number, number + 1), corner_um, time_s)
        for index in self._tiles(*self._around(corner_um, _FARTHEST_UM)):
            clumps = range(alone, len(self._tile(index)))
            yield from self._of_tile(index, clumps, corner_um, time_s)

    def is_near(self, corner_um: Place, place_um: Place, swimmer: Swimmer) -> bool:
        """Whether a cell at a place of the specimen may be seen in a view.

        Parameters
        ----------
        corner_um
            Place (y, x) of the view's first pixel.
        place_um
            Place (y, x) of its head.
        swimmer
            The cell.
        """
        return self._overlaps(corner_um, place_um, _away(swimmer)) and self._exists(place_um)

    def lying(self, corner_um: Place, reach_um: float) -> Iterator[Seen[Furniture | Tail]]:
        """Objects in view or within `reach_um` of it, and all those of the first field.

        A pipette is held by the microscope and does not move with the stage.

        Parameters
        ----------
        corner_um
            Place (y, x) of the view's first pixel.
        reach_um
            Largest distance from the view.
        """
        for number, thing in enumerate(self.things, len(self.cells)):
            held = thing.kind == PIPETTE
            shift = (0.0, 0.0, 0.0) if held else (-corner_um[0], -corner_um[1], 0.0)
            yield Seen(number, thing, shift)
        if corner_um == _FIRST:
            return
        for index in self._tiles(*self._around(corner_um, reach_um)):
            y, x = self._corner(index)
            shift = (y - corner_um[0], x - corner_um[1], 0.0)
            for number, thing in self._furnished(index):
                if self._exists((thing.y_um + y, thing.x_um + x)):
                    yield Seen(self._number(index, number), thing, shift)

    def _first_cells(self, corner_um: Place, time_s: float) -> Iterator[Seen[Swimmer]]:
        """Cells of the first tile: they return from the other side when they left its field.

        So there is a copy in each field of a lattice, and one in each view; it is there only if its
        own path leads through the first field.
        """
        for number, swimmer in enumerate(self.cells):
            away = _away(swimmer)
            shift, copy, start, place = [], [], [], []
            for at, size, corner in zip(
                swimmer.way.path(time_s), self.size_um, corner_um, strict=True
            ):
                period = size + 2 * away
                shift.append(float((at - corner + away) % period - away - at))
                copy.append(round((shift[-1] + corner) / period))
                start.append(copy[-1] * period)
                place.append(at + shift[-1] + corner)
            if corner_um != _FIRST and not (
                self._meets_first(swimmer, (start[0], start[1]))
                and self._exists((place[0], place[1]), away)
            ):
                continue
            yield Seen(number, swimmer, (shift[0], shift[1], 0.0))

    def _of_tile(
        self, index: Index, numbers: range, corner_um: Place, time_s: float
    ) -> Iterator[Seen[Swimmer]]:
        """Those of some cells of a tile that are in view."""
        cells, (tile_y, tile_x) = self._tile(index), self._corner(index)
        for number in numbers:
            swimmer = cells[number]
            if swimmer is None:
                continue
            y, x = swimmer.way.path(time_s)
            if self.is_near(corner_um, (y + tile_y, x + tile_x), swimmer):
                shift = (tile_y - corner_um[0], tile_x - corner_um[1], 0.0)
                yield Seen(self._number(index, number), swimmer, shift)

    def _around(
        self, corner_um: Place, room_um: float, gone_um: Place = (0.0, 0.0)
    ) -> tuple[Place, Place]:
        """Lowest and highest place from which something that has gone a way is near a view."""
        low = [at - gone - room_um for at, gone in zip(corner_um, gone_um, strict=True)]
        high = [at + size + 2 * room_um for at, size in zip(low, self.size_um, strict=True)]
        return (low[0], low[1]), (high[0], high[1])

    def _tiles(self, low_um: Place, high_um: Place, base: Index | None = None) -> Iterator[Index]:
        """Tiles but the first one in an area, only those with the courses of `base` if given."""
        spans = []
        for axis, size in enumerate(self._tile_um):
            begin, end = math.floor(low_um[axis] / size), math.floor(high_um[axis] / size) + 1
            if base is None:
                spans.append(range(begin, end))
            else:
                spans.append(range(begin + (base[axis] - begin) % _COURSES, end, _COURSES))
        for row in spans[0]:
            for column in spans[1]:
                if (row, column) != (0, 0):
                    yield row, column

    def _draw_base(self, base: Index) -> tuple[Swimmer, ...]:
        """Cells of one of the tiles that give their courses to the others."""
        return draw_cells(self._tile_settings(base), self._tile_um) if any(base) else self.cells

    def _draw_tile(self, index: Index) -> tuple[Swimmer | None, ...]:
        """Cells of a tile, without those that would come into the first field."""
        base = (index[0] % _COURSES, index[1] % _COURSES)
        settings, alone = self._tile_settings(index), self._settings.cells
        if index == base:
            cells = self._base(base)
        else:
            courses = [each.way for each in self._base(base)[:alone]]
            cells = draw_cells(settings, self._tile_um, courses if settings.motile else None)
        start = self._corner(index)
        return tuple(None if self._meets_first(each, start) else each for each in cells)

    def _furnish(self, index: Index) -> tuple[tuple[int, Furniture | Tail], ...]:
        """Numbered objects of a tile, without those whose images would reach the first field."""
        settings, (y, x) = self._tile_settings(index), self._corner(index)
        drawn = _draw_things(settings, self._tile_um)
        return tuple(
            (number, thing)
            for number, thing in enumerate(drawn, len(self._tile(index)))
            if not self._overlaps((0.0, 0.0), (thing.y_um + y, thing.x_um + x), self._clear_um)
        )

    def _tile_settings(self, index: Index) -> SimulationSettings:
        words = np.array((self._settings.seed, *index), np.int64).view(np.uint32)
        seed = int(np.random.SeedSequence(words.tolist()).generate_state(1)[0])
        return self._settings.model_copy(update={"seed": seed} | _ONLY_FIRST)

    def _meets_first(self, swimmer: Swimmer, start_um: Place) -> bool:
        """Whether a cell that starts in a tile there is ever within its length of the first field.

        The circle of its path meets a rectangle if the radius lies between the distances of the
        rectangle's nearest and farthest points from the centre.
        """
        away = _away(swimmer) + _SLACK_UM
        y, x, radius = swimmer.way.orbit()
        nearest, farthest = [], []
        for centre, size in zip((y + start_um[0], x + start_um[1]), self.size_um, strict=True):
            low, high = -away - centre, size + away - centre
            nearest.append(max(low, 0.0, -high))
            farthest.append(max(abs(low), abs(high)))
        return math.hypot(*nearest) <= radius <= math.hypot(*farthest)

    def _overlaps(self, corner_um: Place, place_um: Place, room_um: float) -> bool:
        """Whether a place lies in a view, or within `room_um` of it."""
        return all(
            corner - room_um <= place < corner + size + room_um
            for corner, place, size in zip(corner_um, place_um, self.size_um, strict=True)
        )

    def _exists(self, place_um: Place, room_um: float = 0.0) -> bool:
        """Whether a place lies within the extent of the specimen, or within `room_um` of it."""
        fields = self._settings.extent_fields
        if fields is None:
            return True
        before, behind = fields // 2, fields - fields // 2
        return all(
            -before * size - room_um <= place < behind * size + room_um
            for place, size in zip(place_um, self._tile_um, strict=True)
        )

    def _corner(self, index: Index) -> Place:
        return index[0] * self._tile_um[0], index[1] * self._tile_um[1]

    def _number(self, index: Index, number: int) -> int:
        """Number of a cell or an object of a tile, unique in the world."""
        row, column = (2 * each if each >= 0 else -2 * each - 1 for each in index)
        tile = row * row + row + column if row >= column else column * column + row
        return tile * self._numbers + number


def _away(swimmer: Swimmer) -> float:
    """Distance from its head at which nothing of a cell is seen."""
    return swimmer.body.tail_length + _MARGIN_UM


def _draw_things(settings: SimulationSettings, size_um: Place) -> tuple[Furniture | Tail, ...]:
    things: list[Furniture | Tail] = [*furnish(settings, size_um)]
    return (*things, *draw_tails(settings, size_um))


def _most_objects(settings: SimulationSettings) -> int:
    """Largest number of cells and objects of a field, with the grains of dust before it."""
    counts = (getattr(settings, name) for name in ScenerySettings.model_fields)
    scenery = sum(int(count) for count in counts if isinstance(count, int))
    clumps = sum(most * getattr(settings, name) for name, most in _MOST_IN_CLUMP.items())
    return int(settings.cells + scenery + clumps + settings.dust)
