"""TIFF z-stacks: plain, OME, ImageJ and Micro-Manager."""

from __future__ import annotations

import logging
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from fgaf.dataset.errors import FormatError, SettingError
from fgaf.dataset.importers.tiff_metadata import with_imagej, with_micromanager, with_ome
from fgaf.dataset.importers.zstack import (
    Series,
    ZStack,
    check_pixels,
    colour_error,
    count_passes,
)

_AXES: Final = {"T": "time points", "C": "channels", "H": "lifetimes", "P": "phases", "A": "angles"}
_PLANE_AXES: Final = ("Z", "I", "Q")
_STACK_AXES: Final = {"R": "position", "T": "time", "C": "channel"}
# What a damaged file makes the TIFF reader raise: it trusts offsets and counts it reads.
_DAMAGE: Final = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def read_tiff(path: Path) -> ZStack:
    """Read a TIFF of one z-stack; see `open_tiff`."""
    with open_tiff(path) as series:
        return series.only()


@contextmanager
def open_tiff(path: Path, planes: int | None = None) -> Iterator[Series]:
    """Open a TIFF of one z-stack or several: positions, time points, channels.

    Parameters
    ----------
    path
        The file.
    planes
        Of a file that does not say so itself: its pages run through so many planes, again and
        again.

    Raises
    ------
    FormatError
        No TIFF, truncated, colour, float, other axes, one plane, or pages of different sizes; the
        line names which.
    SettingError
        `planes` contradicts the file.
    """
    with _opened(path) as tiff:
        positions = _alike_series(path, tiff)
        first = positions[0]
        sizes = _sizes(path, first.axes, first.shape, planes is not None)
        if planes is not None:
            if sizes or tiff.is_ome or tiff.is_micromanager:
                raise SettingError(
                    f"{path} says itself which page is which plane; leave --planes out"
                )
            passes = count_passes(path, int(np.prod(first.shape[:-2])), planes)
            sizes = {"time": passes} if passes > 1 else {}
        if len(positions) > 1:
            sizes = {"position": len(positions)} | sizes
        if _is_coloured(tiff, first):
            raise colour_error(path)
        check_pixels(path, first.dtype)
        yield Series(path, partial(_read, path, tiff, positions, planes), sizes)


def read_page(path: Path) -> NDArray[Any]:
    """Read a TIFF of one grey page, (Y, X) uint8 or uint16.

    Raises
    ------
    FormatError
        Damaged, several pages, colour or not counts.
    """
    with _opened(path) as tiff:
        if len(tiff.pages) != 1:
            raise FormatError(
                f"{path} holds {len(tiff.pages)} pages: name the stack files themselves, or keep "
                "one plane to a file in a folder of numbered images"
            )
        page = tiff.pages.first
        if page.ndim != 2 or page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            raise colour_error(path)
        check_pixels(path, np.dtype(page.dtype))
        _require_held(path, tiff.filehandle.size, page)
        pixels = page.asarray()
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def holds_pages(path: Path) -> bool:
    """Whether a file is a TIFF of several pages."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return len(tiff.pages) > 1
    except _DAMAGE:
        return False


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF; what the reader logs as an error, and any way it fails, becomes one line."""
    log = logging.getLogger("tifffile")
    heard = _Listener()
    log.addHandler(heard)
    loud, log.propagate = log.propagate, False
    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
        problem = heard.problem
    except FormatError as error:
        if heard.problem:
            raise _damaged(path, heard.problem) from error
        raise
    except _DAMAGE as error:
        problem = str(error) or type(error).__name__
        if "imagecodecs" in problem:
            raise FormatError(
                f"{path} is compressed in a way that needs the package imagecodecs; save it "
                "uncompressed, or pip install imagecodecs"
            ) from error
        raise _damaged(path, problem) from error
    finally:
        log.propagate = loud
        log.removeHandler(heard)
    if problem:
        raise _damaged(path, problem)


class _Listener(logging.Handler):
    """Keeps the first error that the TIFF reader logs instead of raising."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.problem = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.problem = self.problem or record.getMessage()


def _damaged(path: Path, problem: str) -> FormatError:
    cause = re.sub(r"^<[^>]*>\s*", "", problem).strip()[:120]
    return FormatError(f"{path} is truncated, damaged or no TIFF ({cause}); export it again")


def _read(
    path: Path,
    tiff: tifffile.TiffFile,
    positions: Sequence[tifffile.TiffPageSeries],
    planes: int | None,
    index: Mapping[str, int],
) -> ZStack:
    series = positions[index["position"] if len(positions) > 1 else 0]
    files = _require_whole(path, series)
    where = tuple(
        index.get(_STACK_AXES[axis], 0) if axis in _STACK_AXES else slice(None)
        for axis in series.axes[:-2]
    )
    pages = np.arange(int(np.prod(series.shape[:-2]))).reshape(series.shape[:-2])[where].ravel()
    if planes is not None:
        pages = np.arange(planes) + planes * index.get("time", 0)
    frames = _frames(series, pages)
    stack = ZStack(
        path=path,
        reader="TIFF",
        frames=frames.astype(frames.dtype.newbyteorder("="), copy=False),
        files=files,
    )
    stack = with_imagej(stack, tiff)
    stack = with_micromanager(stack, tiff, series, pages)
    return with_ome(stack, tiff, index)


def _frames(series: tifffile.TiffPageSeries, pages: NDArray[np.intp]) -> NDArray[Any]:
    """Read the pages of one stack; ImageJ describes only the first page of a large file."""
    if len(pages) == np.prod(series.shape[:-2]):
        whole: NDArray[Any] = series.asarray()
        return whole.reshape(-1, *series.shape[-2:])
    if series.dataoffset is None:
        held = [series.pages[int(page)] for page in pages]
        return np.stack([page.asarray() for page in held if page is not None])
    parent = series.keyframe.parent
    mapped: NDArray[Any] = np.memmap(
        parent.filehandle.path,
        np.dtype(series.dtype).newbyteorder(parent.byteorder),
        "r",
        series.dataoffset,
        (int(np.prod(series.shape[:-2])), *series.shape[-2:]),
    )
    return np.array(mapped[pages])


def _alike_series(path: Path, tiff: tifffile.TiffFile) -> Sequence[tifffile.TiffPageSeries]:
    alike = {(series.axes, series.shape, series.dtype.str) for series in tiff.series}
    if len(alike) == 1 and (len(tiff.series) == 1 or tiff.is_ome):
        return list(tiff.series)
    shapes = " and ".join(sorted({"x".join(map(str, s.shape[-2:])) for s in tiff.series}))
    if tiff.is_ome or tiff.is_micromanager:
        raise FormatError(
            f"{path} holds {len(tiff.series)} images that differ; save each as a file of its own"
        )
    raise FormatError(
        f"{path} has pages of different sizes or types ({shapes} pixels); the planes of a stack "
        "are alike"
    )


def _sizes(
    path: Path, axes: str, shape: tuple[int, ...], times_are_planes: bool = False
) -> dict[str, int]:
    """How many stacks along each axis.

    Raises
    ------
    FormatError
        Colour, no planes, or an axis that counts neither planes nor stacks.
    """
    sizes = dict(zip(axes, shape, strict=True))
    if "S" in sizes:
        raise colour_error(path)
    if times_are_planes and sizes.get("Z", 1) == 1 and "T" in sizes:
        sizes["Z"] = sizes.pop("T")
    planes = [axis for axis in _PLANE_AXES if sizes.get(axis, 1) > 1]
    known = (*_PLANE_AXES, "Y", "X", *(_STACK_AXES if planes else ()))
    others = [axis for axis, n in sizes.items() if axis not in known and n > 1]
    if others:
        axis = others[0]
        found = ", ".join(f"{_AXES.get(a, 'axis ' + a)}: {sizes[a]}" for a in others)
        advice = (
            "if these are planes, pass --planes, or swap Z and T in ImageJ (Image > Hyperstacks > "
            "Re-order)"
            if axis == "T"
            else "save one z-stack to a file"
        )
        raise FormatError(f"{path} is not one z-stack ({found}; axes {axes}); {advice}")
    if not planes:
        raise FormatError(f"{path} holds a single plane; a z-stack has two or more")
    if len(planes) > 1:
        raise FormatError(f"{path} has two plane axes ({axes}); save one z-stack to a file")
    return {name: sizes[axis] for axis, name in _STACK_AXES.items() if sizes.get(axis, 1) > 1}


def _is_coloured(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Palettes of ImageJ and OME files are display tables over counts; others are colours."""
    palette = series.keyframe.photometric == tifffile.PHOTOMETRIC.PALETTE
    return bool(palette and not (tiff.is_imagej or tiff.is_ome))


def _require_whole(path: Path, series: tifffile.TiffPageSeries) -> tuple[Path, ...]:
    """Check that every plane's pixels lie inside its file; return the files."""
    pages = [page for page in series.pages if page is not None]
    missing = len(series.pages) - len(pages)
    if missing:
        raise FormatError(
            f"{path} lacks {missing} of its {len(series.pages)} planes; the file is truncated, or "
            "another file of the set is not beside it"
        )
    files: dict[Path, None] = {}
    for page in pages:
        handle = page.parent.filehandle
        files[Path(handle.path)] = None
        _require_held(path, handle.size, page)
    if series.dataoffset is not None:
        size = series.keyframe.parent.filehandle.size
        _require_end(path, size, series.dataoffset + series.nbytes)
    return tuple(files)


def _require_held(path: Path, size: int, page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    _require_end(path, size, max(ends, default=0))


def _require_end(path: Path, size: int, end: int) -> None:
    if end > size:
        raise FormatError(
            f"{path} is truncated: it has {size} bytes and its pixels reach to byte {end}; "
            "copy or export it again"
        )
