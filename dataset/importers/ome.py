"""Acquisition metadata in OME-XML, with its units and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from fgaf.base.errors import FormatError
from fgaf.dataset.formats import OME_NAMESPACE

MICROMETRES: Final = {
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "nm": 1e-3,
    "å": 1e-4,
    "inch": 25_400.0,
    "in": 25_400.0,
}
SECONDS: Final = {
    "s": 1.0,
    "sec": 1.0,
    "ms": 1e-3,
    "µs": 1e-6,
    "μs": 1e-6,
    "us": 1e-6,
    "min": 60.0,
}


@dataclass(frozen=True)
class OmeImage:
    """The acquisition metadata of one image in an OME-XML block."""

    root: ElementTree.Element
    image: ElementTree.Element
    pixels: ElementTree.Element

    @classmethod
    def every(cls, path: Path, xml: str) -> list[OmeImage]:
        """Parse the OME-XML of the file `path`: every image that has pixels.

        Parameters
        ----------
        path
            The file that it describes, named in the error.
        xml
            The text.

        Raises
        ------
        FormatError
            It cannot be parsed, or describes no image.
        """
        root = parse_ome(path, xml)
        found = [
            cls(root, image, pixels)
            for image in root.findall("Image")
            if (pixels := image.find("Pixels")) is not None
        ]
        if not found:
            raise FormatError(f"{path}: its OME-XML describes no image; export it again")
        return found

    def length(self, element: ElementTree.Element, name: str) -> float | None:
        """Length in µm; None if absent or without a unit of length. OME's default is µm.

        Parameters
        ----------
        element
            Element of the XML.
        name
            Name of its attribute.
        """
        value = number(element.get(name))
        unit = micrometres(element.get(f"{name}Unit", "µm"))
        return None if value is None or unit is None else value * unit

    def per_plane(
        self,
        n: int,
        at: tuple[int, int],
        name: str,
        units: dict[str, float],
        default_unit: str | None,
    ) -> list[float | None]:
        """One attribute of the Plane elements at a time point and channel, in the base unit.

        Parameters
        ----------
        n
            Number of planes.
        at
            Time point and channel, counted from 0.
        name
            Of the attribute.
        units
            Factor to the base unit, by lower-case name of the unit.
        default_unit
            Unit if none is given; None leaves such values out.
        """
        found: list[float | None] = [None] * n
        for k, plane in self._planes(n, at):
            value = number(plane.get(name))
            unit = units.get(plane.get(f"{name}Unit", default_unit or "").lower())
            if value is not None and unit is not None:
                found[k] = value * unit
        return found

    def numbers(self, n: int, at: tuple[int, int], name: str) -> list[float | None]:
        """One attribute of the Plane elements at a time point and channel, without its unit.

        Parameters
        ----------
        n
            Number of planes.
        at
            Time point and channel, counted from 0.
        name
            Of the attribute.
        """
        found: list[float | None] = [None] * n
        for k, plane in self._planes(n, at):
            found[k] = number(plane.get(name))
        return found

    def _planes(self, n: int, at: tuple[int, int]) -> Iterator[tuple[int, ElementTree.Element]]:
        for plane in self.pixels.iter("Plane"):
            k = integer(plane.get("TheZ"))
            here = (integer(plane.get("TheT")) or 0, integer(plane.get("TheC")) or 0)
            if here == at and k is not None and 0 <= k < n:
                yield k, plane

    def of_objective(self, name: str) -> float | None:
        """One attribute of the image's objective; None if it is not described."""
        settings = self.image.find("ObjectiveSettings")
        wanted = None if settings is None else settings.get("ID")
        described = list(self.root.iter("Objective"))
        for objective in described:
            if objective.get("ID") == wanted or (wanted is None and len(described) == 1):
                return positive(objective.get(name))
        return None

    def medium_index(self) -> float | None:
        """Refractive index between specimen and objective."""
        settings = self.image.find("ObjectiveSettings")
        return None if settings is None else positive(settings.get("RefractiveIndex"))

    def record(self) -> str | None:
        """Record of the raw stack from which this was exported; None for other images."""
        for comment in self.root.iter("CommentAnnotation"):
            if comment.get("Namespace") == OME_NAMESPACE:
                return comment.findtext("Value")
        return None

    def acquired_s(self) -> float | None:
        """Start of the acquisition, s since the epoch; None without a time zone."""
        try:
            start = datetime.fromisoformat(self.image.findtext("AcquisitionDate", "").strip())
        except ValueError:
            return None
        return start.timestamp() if start.tzinfo is not None else None


def parse_ome(path: Path, xml: str) -> ElementTree.Element:
    """Parse the OME-XML of the file `path` and remove namespaces from its names.

    Parameters
    ----------
    path
        The file that it describes, named in the error.
    xml
        The text.

    Raises
    ------
    FormatError
        It cannot be parsed.
    """
    try:
        # The standard parser resolves no external entities and limits their expansion.
        root = ElementTree.fromstring(xml)  # noqa: S314
    except ElementTree.ParseError as error:
        raise FormatError(
            f"{path}: its OME-XML cannot be parsed ({error}); export it again"
        ) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def micrometres(unit: str) -> float | None:
    """Find how many µm a unit is; None if it is not a unit of length."""
    plain = unit.strip().replace("\\u00B5", "µ").replace("\\u00b5", "µ")
    return MICROMETRES.get(plain.lower())


def number(value: Any) -> float | None:
    """Read a number: None if absent, NaN if it is not a number."""
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def positive(value: Any) -> float | None:
    """Read a positive number; zero and less mean unknown; see `number`."""
    found = number(value)
    return None if found is None or found <= 0 else found


def integer(value: Any) -> int | None:
    """Read an integer; None for anything else."""
    found = number(value)
    return None if found is None or not math.isfinite(found) else int(found)
