"""TIFF z-stacks: plain, ImageJ, LSM, OME and Micro-Manager."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from fgaf.base.errors import FgafError, FormatError, SettingError
from fgaf.base.inputs import read_text, require_stored
from fgaf.dataset.importers.mmstack import open_mmstack
from fgaf.dataset.importers.ome_set import open_ome
from fgaf.dataset.importers.pixels import check_pixels, colour_error
from fgaf.dataset.importers.tiff_axes import STACK_AXES, named_axes, stack_sizes
from fgaf.dataset.importers.tiff_file import (
    contiguous,
    grey_pages,
    micromanager_tag,
    opened_tiff,
    require_held,
)
from fgaf.dataset.importers.tiff_metadata import (
    micromanager_major,
    micromanager_summary,
    with_imagej,
    with_lsm,
    with_micromanager,
)
from fgaf.dataset.importers.zstack import Series, ZStack, count_passes


def read_tiff(path: Path) -> ZStack:
    """Read a TIFF with one z-stack; see `open_tiff`."""
    with open_tiff(path) as series:
        return series.only()


@contextmanager
def open_tiff(path: Path, planes: int | None = None, axes: str = "") -> Iterator[Series]:
    """Open a TIFF with one z-stack or several: positions, time points, channels.

    Parameters
    ----------
    path
        The file.
    planes
        Planes per pass, for a file whose pages hold several passes through z without saying so.
    axes
        One letter per axis, such as "TZYX", for a file with more than three axes without names;
        P is the position.

    Raises
    ------
    FormatError
        The file is not TIFF or truncated, has colours, floats, other axes, one plane, or pages of
        different sizes; the message says which.
    SettingError
        `planes` or `axes` contradicts the file, or the file does not say which axis is which.
    """
    with opened_tiff(path) as tiff:
        found = _set(path, tiff)
        if found is not None:
            if planes is not None or axes:
                option = "--axes" if axes else "--planes"
                raise SettingError(
                    f"{path} says itself which page is which plane; leave {option} out"
                )
            yield found
            return
        arranged = _arranged(path, tiff, planes, axes)
        page = arranged.series.keyframe
        if "S" in arranged.axes[: -page.ndim]:
            raise colour_error(path)
        check_pixels(path, np.dtype(page.dtype))
        require_held(path, page)
        grey_pages(path, tiff, page, page.asarray(), arranged.page_axes)
        yield Series(path, arranged.read, arranged.sizes)


@contextmanager
def open_companion(path: Path) -> Iterator[Series]:
    """Open the OME-TIFF set that a file with only OME-XML describes.

    Raises
    ------
    FormatError
        As `open_tiff`.
    """
    yield open_ome(path, read_text(path))


def _set(path: Path, tiff: tifffile.TiffFile) -> Series | None:
    """Open files that give the places of their planes: Micro-Manager and OME."""
    if micromanager_major(tiff) > 0:
        raise FormatError(f"{path} is a file of an NDTiff dataset; name its folder {path.parent}")
    xml = tiff.ome_metadata
    found = open_mmstack(path, xml) if tiff.is_micromanager else None
    return open_ome(path, xml) if found is None and xml else found


def is_of_set(path: Path) -> bool:
    """Whether a TIFF says that it is part of a recording in several files."""
    try:
        with opened_tiff(path) as tiff:
            found = _set(path, tiff)
    except FgafError:
        return False
    return found is not None and bool(found.members)


@dataclass(frozen=True)
class _Arranged:
    """How the pages of an open TIFF form planes and stacks.

    Attributes
    ----------
    series
        The pages.
    axes, shape
        Their arrangement.
    planes
        Planes per pass, if the pages hold several passes through z.
    sizes
        Number of stacks along each of `AXES`.
    """

    path: Path
    tiff: tifffile.TiffFile
    series: tifffile.TiffPageSeries
    axes: str
    shape: tuple[int, ...]
    planes: int | None
    sizes: dict[str, int]

    @property
    def page_axes(self) -> str:
        """Axes inside one page."""
        return self.axes[-self.series.keyframe.ndim :]

    def read(self, index: Mapping[str, int]) -> ZStack:
        """Read the stack at an index into `sizes`."""
        series = self.series
        files = _require_whole(self.path, series)
        leading = self.axes[: -len(self.page_axes)]
        where = tuple(
            index.get(STACK_AXES[axis], 0) if axis in STACK_AXES else slice(None)
            for axis in leading
        )
        shape = self.shape[: len(leading)]
        pages = np.arange(int(np.prod(shape))).reshape(shape)[where].ravel()
        if self.planes is not None:
            pages = np.arange(self.planes) + self.planes * index.get("time", 0)
        frames = grey_pages(
            self.path, self.tiff, series.keyframe, _pixels(self.path, series, pages), self.page_axes
        )
        if "C" in self.page_axes:
            frames = np.take(frames, index.get("channel", 0), axis=1)
        stack = ZStack(
            path=self.path,
            reader="TIFF",
            frames=np.ascontiguousarray(frames.reshape(-1, *frames.shape[-2:])),
            files=files,
        )
        stack = with_lsm(with_imagej(stack, self.tiff), self.tiff)
        return self._with_tags(stack, series, pages)

    def _with_tags(
        self, stack: ZStack, series: tifffile.TiffPageSeries, pages: NDArray[np.intp]
    ) -> ZStack:
        """Add the metadata of a Micro-Manager file that lost its index."""
        if not self.tiff.is_micromanager:
            return stack
        held = [series.pages[int(k)] for k in pages if k < len(series.pages)]
        tags = [micromanager_tag(page.aspage()) for page in held if page is not None]
        return with_micromanager(stack, micromanager_summary(self.tiff), tags)


def _arranged(path: Path, tiff: tifffile.TiffFile, planes: int | None, given: str) -> _Arranged:
    first = _only_series(path, tiff)
    named = bool(tiff.is_micromanager or tiff.is_imagej or tiff.is_lsm)
    axes = named_axes(path, first.axes, first.shape, given, named)
    sizes = stack_sizes(path, axes, first.shape, planes is not None)
    if planes is not None:
        if sizes or tiff.is_micromanager or given:
            raise SettingError(f"{path} says itself which page is which plane; leave --planes out")
        passes = count_passes(path, int(np.prod(first.shape[:-2])), planes)
        sizes = {"time": passes} if passes > 1 else {}
    return _Arranged(path, tiff, first, axes, first.shape, planes, sizes)


def _pixels(path: Path, series: tifffile.TiffPageSeries, pages: NDArray[np.intp]) -> NDArray[Any]:
    """Read pages as (P, *page)."""
    if series.dataoffset is not None:
        return np.array(contiguous(path, series)[pages])
    held = [series.pages[int(page)] for page in pages]
    return np.stack([page.asarray() for page in held if page is not None])


def _only_series(path: Path, tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """Find the pages of a file with equal size and type, without thumbnails."""
    held = [series for series in tiff.series if not series.keyframe.is_reduced]
    if len(held) == 1:
        return held[0]
    if len({(series.shape, series.dtype.str) for series in held}) == 1:
        raise FormatError(
            f"{path} holds {len(held)} images that are not said to be planes of one; save each as "
            "a file of its own"
        )
    shapes = " and ".join(sorted({"x".join(map(str, s.shape[-2:])) for s in held}))
    raise FormatError(
        f"{path} has pages of different sizes or types ({shapes} pixels); the planes of a stack "
        "are alike"
    )


def _require_whole(path: Path, series: tifffile.TiffPageSeries) -> tuple[Path, ...]:
    """Check that every plane's pixels lie inside its file; return the files."""
    pages = [page for page in series.pages if page is not None]
    missing = len(series.pages) - len(pages)
    if missing:
        raise FormatError(
            f"{path} lacks {missing} of its {len(series.pages)} planes; it is truncated"
        )
    files: dict[Path, None] = {}
    for page in pages:
        files[Path(page.parent.filehandle.path)] = None
        require_held(path, page)
    require_stored(
        path,
        sum(page.nbytes for page in pages),
        sum(sum(page.databytecounts) for page in pages),
    )
    return tuple(files)
