"""The way of the tip up and down: always at its pixel, whatever the axes of the manipulator."""

from __future__ import annotations

from fgaf.acquire.control.pipette_map import PipetteMap
from fgaf.acquire.devices import LimitsXYZ, Place3
from fgaf.base.errors import SettingError


class TipPath:
    """Heights of the tip over the same pixel. At the start the height is z of the manipulator.

    Parameters
    ----------
    pipette_map
        Where the tip is seen.
    start
        Place of the manipulator: x, y and z in µm.
    limits_um
        Its limits, with the floor.

    Attributes
    ----------
    limits
        Lowest and highest height, µm of the specimen.

    Raises
    ------
    SettingError
        No height is within the limits.
    """

    def __init__(self, pipette_map: PipetteMap, start: Place3, limits_um: LimitsXYZ) -> None:
        self._map, self._start = pipette_map, start
        self._x_px, self._y_px = pipette_map.pixel_of(start)
        self._focus_um = pipette_map.focus_of(start)
        lows, highs = [], []
        up = [b - a for a, b in zip(start, self.place_at(start[2] + 1), strict=True)]
        for at, rises, (low, high) in zip(start, up, limits_um, strict=True):
            if abs(rises) > 1e-9:
                ends = sorted(((low - at) / rises, (high - at) / rises))
                lows.append(start[2] + ends[0])
                highs.append(start[2] + ends[1])
        self.limits = max(lows), min(highs)
        if not self.limits[0] < self.limits[1]:
            raise SettingError(
                "the pipette cannot be moved up or down inside its limits; correct the rig's "
                "[manipulator], or measure the map of the pipette anew"
            )

    @property
    def refraction(self) -> float:
        """µm in the specimen per µm of the drive."""
        return 1 / self._map.drive_factor

    def height_of(self, place: Place3) -> float:
        """Height of the tip, µm of the specimen.

        Parameters
        ----------
        place
            Place of the manipulator.
        """
        return self._start[2] + (self._map.focus_of(place) - self._focus_um) * self.refraction

    def place_at(self, height_um: float) -> Place3:
        """Place of the manipulator with the tip at a height, at its pixel.

        Parameters
        ----------
        height_um
            Height, µm of the specimen.
        """
        drive_um = self._focus_um + (height_um - self._start[2]) / self.refraction
        return self._map.place_for(self._x_px, self._y_px, drive_um)
