"""OME-TIFF: images whose planes may lie in several files, found through the OME-XML."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final
from xml.etree import ElementTree

import numpy as np

from fgaf.base.errors import FormatError
from fgaf.base.inputs import read_text
from fgaf.dataset.importers.ome import OmeImage, integer, parse_ome
from fgaf.dataset.importers.tiff_axes import stack_sizes
from fgaf.dataset.importers.tiff_file import Place, is_tiff, opened_tiff, read_places
from fgaf.dataset.importers.tiff_metadata import with_micromanager, with_ome
from fgaf.dataset.importers.zstack import Series, ZStack

_MOST_PLANES: Final = 1_000_000


@dataclass(frozen=True)
class Description:
    """OME-XML, and the file that holds it."""

    file: Path
    xml: str


def describing(path: Path, xml: str) -> Description:
    """Find the OME-XML of a set: in this file, or in the file to which it refers.

    Parameters
    ----------
    path
        One file of the set.
    xml
        Its own OME-XML.

    Raises
    ------
    FormatError
        The other file is not beside it, or has no description either.
    """
    only = parse_ome(path, xml).find("BinaryOnly")
    if only is None:
        return Description(path, xml)
    other = _beside(path, only.get("MetadataFile", ""))
    if not other.is_file():
        raise FormatError(
            f"{path} is one file of a set that {other.name} describes, which is not beside it; "
            "copy the whole set"
        )
    if is_tiff(other):
        with opened_tiff(other) as tiff:
            text = tiff.ome_metadata or ""
    else:
        text = read_text(other)
    if not text or parse_ome(other, text).find("BinaryOnly") is not None:
        raise FormatError(f"{other} does not describe the set of {path}; copy it again")
    return Description(other, text)


def open_ome(path: Path, xml: str) -> Series:
    """Open the images that OME-XML describes; their planes may be in any file of the set.

    Parameters
    ----------
    path
        The file that the user named: any of the set, or the OME-XML itself.
    xml
        Its OME-XML.

    Raises
    ------
    FormatError
        The XML is damaged or not found, the images differ, there are other axes than z, time
        point and channel, or there is a single plane.
    """
    described = describing(path, xml)
    images = placed_images(described)
    if len({image.layout for image in images}) > 1:
        raise FormatError(
            f"{path} holds {len(images)} images that differ; save each as a file of its own"
        )
    axes, shape = images[0].layout
    sizes = stack_sizes(path, axes, shape)
    if len(images) > 1:
        sizes = {"position": len(images)} | sizes

    def read(index: Mapping[str, int]) -> ZStack:
        return images[index.get("position", 0)].read(path, index)

    members = sorted({file for image in images for file in image.files})
    return Series(path, read, sizes, *set_of(members))


def set_of(members: Sequence[Path]) -> tuple[tuple[Path, ...], str]:
    """List the files of a set, and find their common name; empty for a single file."""
    if len(members) < 2:
        return (), ""
    names = [re.sub(r"(\.ome)?\.[^.]*$", "", file.name, flags=re.IGNORECASE) for file in members]
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = "".join(letters[0] for letters in alike)
    return tuple(members), re.sub(r"[-_. ]+[A-Za-z]*$", "", common) or names[0]


@dataclass(frozen=True)
class _Run:
    """Consecutive planes in a file; `start` is the number of the first one in the image."""

    start: int
    n: int
    file: Path
    page: int


@dataclass(frozen=True)
class PlacedImage:
    """One image of a set: its OME-XML and the places of its planes."""

    ome: OmeImage
    described: Description
    own_uuid: str
    single: bool

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Number of planes, channels and time points."""
        pixels = self.ome.pixels
        sizes = {axis: max(integer(pixels.get(f"Size{axis}")) or 1, 1) for axis in "ZCT"}
        channel = pixels.find("Channel")
        samples = 1 if channel is None else integer(channel.get("SamplesPerPixel")) or 1
        sizes["C"] = max(sizes["C"] // max(samples, 1), 1)
        if np.prod(list(sizes.values()), dtype=float) > _MOST_PLANES:
            raise FormatError(
                f"{self.described.file}: its OME-XML declares {sizes} planes, channels and times"
            )
        return sizes

    @cached_property
    def layout(self) -> tuple[str, tuple[int, ...]]:
        """Axes longer than one, and the image's size."""
        sizes = {axis: n for axis in "TCZ" if (n := self.sizes[axis]) > 1}
        sides = tuple(integer(self.ome.pixels.get(f"Size{axis}")) or 0 for axis in "YX")
        return "".join(sizes) + "YX", (*sizes.values(), *sides)

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Files that should hold its planes; they may be missing."""
        return tuple(dict.fromkeys(run.file for run in self._runs))

    def place(self, t: int, c: int, z: int) -> Place | None:
        """Find a plane; None if the XML does not say where it is.

        Parameters
        ----------
        t, c, z
            Time point, channel and plane, counted from 0.
        """
        number = self._number({"T": t, "C": c, "Z": z})
        k = bisect.bisect_right(self._starts, number) - 1
        if k < 0 or number >= self._runs[k].start + self._runs[k].n:
            return None
        run = self._runs[k]
        return Place(run.file, run.page + number - run.start)

    def read(self, path: Path, index: Mapping[str, int]) -> ZStack:
        """Read the stack of a time point and channel.

        Parameters
        ----------
        path
            The file with which the set was opened, named in errors.
        index
            "time" and "channel", counted from 0; 0 if omitted.

        Raises
        ------
        FormatError
            A plane or its file is missing, or pages differ from the XML.
        """
        t, c = index.get("time", 0), index.get("channel", 0)
        files: dict[Path, None] = {}

        def places() -> Iterator[Place]:
            for z in range(self.sizes["Z"]):
                place = self.place(t, c, z)
                if place is None:
                    raise FormatError(
                        f"{path} lacks plane {z + 1} of the {self.sizes['Z']} that its OME-XML "
                        "describes; the recording is not complete: --take another, or export it "
                        "again"
                    )
                files[place.file] = None
                yield place

        pages = list(read_places(path, places()))
        frames = [page.pixels for page in pages]
        shape = self.layout[1][-2:]
        odd = next((frame for frame in frames if frame.shape != shape), None)
        if odd is not None or len({frame.dtype for frame in frames}) > 1:
            found = "other types" if odd is None else f"{odd.shape[0]} x {odd.shape[1]} pixels"
            raise FormatError(
                f"{path} has pages of {found}, and {shape[0]} x {shape[1]} of one type by its "
                "OME-XML; export it again"
            )
        stack = ZStack(path, "OME-TIFF", np.stack(frames), tuple(files))
        if any(page.metadata for page in pages):
            stack = with_micromanager(stack, {}, [page.metadata for page in pages])
        return with_ome(stack, self.ome, (t, c))

    def _number(self, at: Mapping[str, int]) -> int:
        number = 0
        for axis in reversed(self._order):
            number = number * self.sizes[axis] + at[axis]
        return number

    @cached_property
    def _order(self) -> str:
        order = self.ome.pixels.get("DimensionOrder", "XYZCT")[2:]
        return order if sorted(order) == sorted("ZCT") else "ZCT"

    @cached_property
    def _runs(self) -> list[_Run]:
        total = int(np.prod(list(self.sizes.values())))
        found: dict[int, _Run] = {}
        for data in self.ome.pixels.findall("TiffData"):
            first = {axis: integer(data.get(f"First{axis}")) or 0 for axis in "ZCT"}
            if any(first[axis] >= n for axis, n in self.sizes.items()):
                continue
            start, page = self._number(first), integer(data.get("IFD"))
            count = integer(data.get("PlaneCount")) or integer(data.get("NumPlanes"))
            n = count or (total - start if page is None else 1)
            found[start] = _Run(start, n, self._file(data.find("UUID")), page or 0)
        if not found and self.ome.pixels.find("TiffData") is None:
            found[0] = _Run(0, total, self.described.file, 0)
        return [found[start] for start in sorted(found)]

    @cached_property
    def _starts(self) -> list[int]:
        return [run.start for run in self._runs]

    def _file(self, uuid: ElementTree.Element | None) -> Path:
        own = self.described.file
        if uuid is None or (uuid.text or "").strip() == self.own_uuid:
            return own
        named = _beside(own, uuid.get("FileName") or (uuid.text or ""))
        # A renamed file is still the only one in its XML.
        return own if self.single and not named.is_file() else named


def placed_images(described: Description) -> list[PlacedImage]:
    """List the images that OME-XML describes.

    Raises
    ------
    FormatError
        There are none, or they have other dimensions than z, time and channel.
    """
    images = OmeImage.every(described.file, described.xml)
    root = images[0].root
    if any("modulo" in (a.get("Namespace") or "") for a in root.iter("XMLAnnotation")):
        raise FormatError(
            f"{described.file} has OME's modulo dimensions (phases, lifetimes); save one z-stack "
            "to a file"
        )
    named = {_identity(uuid) for uuid in root.iter("UUID")}
    own = (root.get("UUID") or "").strip()
    single = len(named) == 1 and is_tiff(described.file)
    return [PlacedImage(ome, described, own or " ", single) for ome in images]


def _identity(uuid: ElementTree.Element) -> str:
    return uuid.get("FileName") or (uuid.text or "").strip()


def absent_files(images: Iterable[PlacedImage]) -> list[str]:
    """List the files of a set that are missing."""
    files = dict.fromkeys(file for image in images for file in image.files)
    return [file.name for file in files if not file.is_file()]


def _beside(path: Path, name: str) -> Path:
    """Find a file that OME-XML names, always in the same folder; its path is ignored."""
    return path.parent / (PurePosixPath(name.replace("\\", "/")).name or "a file without name")
