"""Maps that were measured on a rig, in a file beside it: stored, read, refused when it changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from fgaf.acquire.rig import BUILT_IN, Rig
from fgaf.acquire.tables import Table, parse_table
from fgaf.base.console import command_line
from fgaf.base.errors import FormatError, SettingError
from fgaf.base.files import publishing
from fgaf.base.inputs import parse_toml, read_text
from fgaf.base.toml import write_toml


class RigMap(Table):
    """Base of the maps. A map holds for the settings of the rig with which it was measured.

    Attributes
    ----------
    version
        Version of the file format.
    created
        Time of the measurement, ISO 8601 in UTC.
    camera
        Name of the camera.
    rig
        The rig's settings it holds for: key, and value as JSON.
    """

    KIND: ClassVar[str]
    """Name of the map in the names of its files."""
    COMMAND: ClassVar[str]
    """The command of `acq` that measures it."""
    SHOWS: ClassVar[str]
    """What it says."""

    version: Literal[1] = 1
    created: str
    camera: str
    rig: dict[str, str]

    @classmethod
    def depends_on(cls, rig: Rig) -> Mapping[str, Any]:
        """Settings of a rig on which the map depends: key, and value."""
        raise NotImplementedError

    @classmethod
    def require_devices(cls, rig: Rig) -> None:
        """Refuse a rig without the devices whose map it is.

        Parameters
        ----------
        rig
            The rig.

        Raises
        ------
        SettingError
            The rig lacks their table.
        """
        raise NotImplementedError

    @classmethod
    def settings_of(cls, rig: Rig) -> dict[str, str]:
        """The settings of a rig on which the map depends, as they are stored."""
        return {
            key: json.dumps(value, sort_keys=True, default=str)
            for key, value in cls.depends_on(rig).items()
        }

    @classmethod
    def path_of(cls, rig_name: str | Path) -> Path:
        """Path of the map of a rig: beside its file; for a built-in rig in the current folder."""
        name = f"{rig_name}.toml" if str(rig_name) in BUILT_IN else rig_name
        return Path(name).with_suffix(f".{cls.KIND}.toml")

    @classmethod
    def read(cls, path: Path, rig: Rig, rig_name: str | Path = "RIG") -> Self:
        """Read the map of a rig.

        Parameters
        ----------
        path
            The file, usually `path_of` the rig.
        rig
            The rig for which it must hold.
        rig_name
            Its name or file, for the command that measures the map.

        Raises
        ------
        SettingError
            There is none, it is damaged, it was measured with other settings of the rig, or the rig
            lacks the devices.
        """
        cls.require_devices(rig)
        again = f"run `{command_line('acq', cls.COMMAND, rig_name)}`"
        if not path.is_file():
            raise SettingError(f"there is no {path}: {again} to measure {cls.SHOWS}")
        try:
            found = parse_table(cls, parse_toml(read_text(path)), str(path))
        except (FormatError, ValueError) as error:
            raise SettingError(f"{path} cannot be read ({error}): {again} anew") from error
        now = cls.settings_of(rig)
        changed = [key for key in now if found.rig.get(key) != now[key]]
        if changed:
            raise SettingError(
                f"{path} does not hold any more: {', '.join(changed)} of the rig changed since it "
                f"was measured; {again} anew"
            )
        return found

    @classmethod
    def simulated(cls, rig: Rig) -> Self | None:
        """Map of simulated devices, from their settings; None for others.

        Parameters
        ----------
        rig
            The rig.
        """
        raise NotImplementedError

    @classmethod
    def of(cls, rig_name: str | Path, rig: Rig, path: Path | None = None) -> Self:
        """Read the map of a rig; simulated devices that were not measured have their own.

        Parameters
        ----------
        rig_name
            Name or file of the rig.
        rig
            The rig.
        path
            The map's file; by default that beside the rig.

        Raises
        ------
        SettingError
            See `read`.
        """
        found = path or cls.path_of(rig_name)
        if path is None and not found.is_file() and (own := cls.simulated(rig)) is not None:
            return own
        return cls.read(found, rig, rig_name)

    def write(self, path: Path) -> None:
        """Write the map; an older one is replaced.

        Parameters
        ----------
        path
            The file, usually `path_of` the rig.
        """
        with publishing(path) as part:
            part.write_text(write_toml(self.model_dump(exclude_none=True)), encoding="utf-8")
