"""The heights between which the pipette goes in a trial, µm of the manipulator."""

from __future__ import annotations

from typing import Final

from fgaf.model.aspirate.mouth import Mouth
from fgaf.model.aspirate.observation import Observation

_LEAVES: Final = 3.0
"""A level tip goes to the cell's height again when it is off by so many times `level_um`."""


class TipHeight:
    """Raises the tip over cells that are brought to it, and lowers it to the height of one.

    Parameters
    ----------
    mouth
        The mouth.
    lowest_um
        The raised pipette is never lower than this.

    Attributes
    ----------
    wanted_um
        Where the pipette goes; None: it stays where it is.
    """

    def __init__(self, mouth: Mouth, lowest_um: float) -> None:
        self._mouth = mouth
        self._lowest_um = self._raised_um = lowest_um
        self.wanted_um: float | None = None
        self._is_level = False

    def clear(self, seen: Observation, z_um: float | None) -> bool:
        """Whether the tip is high enough over a cell; it is sent there.

        Parameters
        ----------
        seen
            The frame.
        z_um
            Height of the cell, µm of the drive; None if it is unknown.
        """
        level_um = self._level_um(seen, z_um)
        if level_um is not None:
            clear_um = self._mouth.setup.inside(level_um + self._mouth.settings.rise_um)
            self._raised_um = max(self._lowest_um, clear_um)
        if self.is_raised(seen):
            return True
        self.lift()
        return False

    def level(self, seen: Observation, z_um: float | None) -> bool:
        """Whether the tip is at the height of a cell; it is sent there.

        A tip that is level stays until it is off by more: when it moves, the glass around the
        mouth looks different.

        Parameters
        ----------
        seen, z_um
            See `clear`.
        """
        level_um = self._level_um(seen, z_um)
        if level_um is None or seen.pipette_moving:
            return False
        wanted_um = self._mouth.setup.inside(level_um)
        off_um = self._mouth.settings.level_um * (_LEAVES if self._is_level else 1)
        self._is_level = abs(seen.pipette_z_um - wanted_um) <= off_um
        if not self._is_level:
            self.wanted_um = wanted_um
        return self._is_level

    def lift(self) -> None:
        """Send the tip up."""
        self.wanted_um = self._raised_um

    def is_raised(self, seen: Observation) -> bool:
        """Whether the tip is up."""
        return seen.pipette_z_um >= self._raised_um - self._mouth.settings.level_um

    def _level_um(self, seen: Observation, z_um: float | None) -> float | None:
        """Where the manipulator is when the tip is at a height of the drive."""
        over_um = self._mouth.over_um(seen.tip, z_um)
        return None if over_um is None else seen.pipette_z_um + over_um
