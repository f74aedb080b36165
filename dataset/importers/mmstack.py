"""Micro-Manager's image stack files: a set of TIFFs, each with an index of its own images.

Format: https://micro-manager.org/Micro-Manager_File_Formats. Every file of a set begins with the
summary of the whole recording and the offsets of the images in this file. A recording has one file
for each position or one for all, and more files beyond 4 GB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile

from fgaf.base.errors import FormatError
from fgaf.dataset.importers.ome import integer
from fgaf.dataset.importers.ome_set import (
    PlacedImage,
    absent_files,
    describing,
    placed_images,
    set_of,
)
from fgaf.dataset.importers.tiff_axes import stack_sizes
from fgaf.dataset.importers.tiff_file import Place, is_tiff, read_places
from fgaf.dataset.importers.tiff_metadata import with_micromanager, with_ome
from fgaf.dataset.importers.zstack import Series, ZStack

_STACK: Final = "MMStack"
_RECORDING: Final = ("UUID", "Prefix", "StartTime", "Time", "Date", "Directory", "Positions")

Coordinates = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Index:
    """A file's metadata of its recording, and the places of its own images, by (C, Z, T, R)."""

    summary: dict[str, Any]
    offsets: dict[Coordinates, int]


def open_mmstack(path: Path, xml: str | None) -> Series | None:
    """Open the recording of a Micro-Manager file; None for a file without an index.

    Parameters
    ----------
    path
        Any file of the recording.
    xml
        Its OME-XML, if it has any.

    Raises
    ------
    FormatError
        The file is damaged, or has a single plane.
    """
    own = _index(path)
    if own is None or not own.offsets:
        return None
    places: dict[Coordinates, Place] = {}
    members: list[Path] = []
    for file in _siblings(path):
        index = own if file == path else _index(file)
        if index is None or any(index.summary.get(k) != own.summary.get(k) for k in _RECORDING):
            continue
        members.append(file)
        places |= {at: Place(file, offset=offset) for at, offset in index.offsets.items()}
    recording = _Recording(path, own.summary, places, _described(path, xml))
    with tifffile.TiffFile(path) as tiff:
        sides = tiff.pages.first.shape[:2]
    held = {axis: n for axis, n in recording.sizes.items() if n > 1}
    planes = stack_sizes(path, "".join(held) + "YX", (*held.values(), *sides))
    return Series(path, recording.read, planes, *_set(path, members))


@dataclass(frozen=True)
class _Recording:
    path: Path
    summary: dict[str, Any]
    places: dict[Coordinates, Place]
    images: list[PlacedImage]

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Number of positions, time points, channels and planes, in this order.

        A stopped

               recording has fewer time points than planned.
        """
        most = 1 + np.max(np.array(list(self.places)), axis=0)
        held = dict(zip("CZTR", (int(n) for n in most), strict=True))
        planned = {"R": "Positions", "C": "Channels", "Z": "Slices"}
        sizes = {
            axis: max(held[axis], integer(self.summary.get(planned.get(axis, ""))) or 1)
            for axis in "RTCZ"
        }
        if self.images:
            sizes["T"] = max(sizes["T"], self.images[0].sizes["T"])
        return sizes

    def read(self, index: Mapping[str, int]) -> ZStack:
        """Read the stack at an index into `sizes`.

        Raises
        ------
        FormatError
            No file of the set has one of its planes.
        """
        r, t, c = (index.get(name, 0) for name in ("position", "time", "channel"))
        found = [self.places.get((c, z, t, r)) for z in range(self.sizes["Z"])]
        if None in found:
            gone = absent_files(self.images)
            why = (
                f"{', '.join(gone[:3])} of its set is not beside it: copy the whole set"
                if gone
                else "the recording was stopped, or a file of its set is not beside it"
            )
            raise FormatError(
                f"{self.path} lacks plane {found.index(None) + 1} of position {r}, time {t}; {why}"
                ", or --take another"
            )
        places = [place for place in found if place is not None]
        pages = list(read_places(self.path, places))
        if len({(page.pixels.shape, page.pixels.dtype) for page in pages}) > 1:
            raise FormatError(f"{self.path} has planes of different sizes or types")
        files = tuple(dict.fromkeys(place.file for place in places))
        stack = ZStack(self.path, "", np.stack([page.pixels for page in pages]), files)
        stack = with_micromanager(stack, self.summary, [page.metadata for page in pages])
        return with_ome(stack, self.images[r].ome, (t, c)) if r < len(self.images) else stack


def _index(path: Path) -> _Index | None:
    try:
        with path.open("rb") as file:
            metadata = tifffile.read_micromanager_metadata(file, keys={"Summary", "IndexMap"})
    except (OSError, ValueError, MemoryError):
        return None
    summary, entries = metadata.get("Summary"), metadata.get("IndexMap")
    if not isinstance(summary, dict) or entries is None:
        return None
    offsets = {
        (int(c), int(z), int(t), int(r)): int(offset) for c, z, t, r, offset in entries if offset
    }
    return _Index(summary, offsets)


def _siblings(path: Path) -> list[Path]:
    """List files that may belong to one recording, by name."""
    head, stack, _ = path.name.partition(_STACK)
    if not stack:
        return [path]
    return sorted(
        file
        for file in path.parent.iterdir()
        if file.name.startswith(head + stack) and is_tiff(file) and file.is_file()
    )


def _set(path: Path, members: list[Path]) -> tuple[tuple[Path, ...], str]:
    files, _ = set_of(members)
    head, stack, _ = path.name.partition(_STACK)
    return files, head + stack if files else ""


def _described(path: Path, xml: str | None) -> list[PlacedImage]:
    """Read the OME-XML of the set; none if its file is absent, as the index has the same facts."""
    try:
        return placed_images(describing(path, xml)) if xml else []
    except FormatError:
        return []
