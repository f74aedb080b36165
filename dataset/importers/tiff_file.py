"""An open TIFF: every fault becomes a one-line error, and its pages become grey counts."""

from __future__ import annotations

import logging
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from fgaf.base.errors import FormatError
from fgaf.base.inputs import require_file, require_stored
from fgaf.dataset.importers.pixels import check_pixels, first_of_equal

TIFF_SUFFIXES: Final = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm")
_LARGE: Final = 1 << 28
_MOST_PACKED: Final = 100
# Errors of the TIFF reader on damaged files: it does not check the offsets and counts it reads.
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


def is_tiff(path: Path) -> bool:
    """Whether a file name has a TIFF suffix."""
    return path.suffix.lower() in TIFF_SUFFIXES


@contextmanager
def opened_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF; every error that the reader raises or logs becomes one line.

    Raises
    ------
    FormatError
        The file does not exist, is not a regular file, is damaged or not TIFF, or its compression
        needs the package imagecodecs.
    """
    require_file(path)
    log = logging.getLogger("tifffile")
    heard = _Listener()
    log.addHandler(heard)
    loud, log.propagate = log.propagate, False
    how = ""
    try:
        with tifffile.TiffFile(path) as tiff:
            how = getattr(tiff.pages.first.compression, "name", "")
            yield tiff
        problem = heard.problem
    except ImportError as error:
        raise _packed(path, how) from error
    except FormatError as error:
        if heard.problem:
            raise _damaged(path, heard.problem) from error
        raise
    except _DAMAGE as error:
        if "imagecodecs" in str(error):
            raise _packed(path, how) from error
        raise _damaged(path, str(error) or type(error).__name__) from error
    finally:
        log.propagate = loud
        log.removeHandler(heard)
    if problem:
        raise _damaged(path, problem)


def holds_pages(path: Path) -> bool:
    """Whether a file is a TIFF with several pages."""
    if not is_tiff(path) or not path.is_file():
        return False
    try:
        with tifffile.TiffFile(path) as tiff:
            return len(tiff.pages) > 1
    except _DAMAGE:
        return False


def grey_pages(
    path: Path,
    tiff: tifffile.TiffFile,
    page: tifffile.TiffPage,
    pixels: NDArray[Any],
    axes: str = "",
) -> NDArray[Any]:
    """Convert decoded pages to grey counts in which more light is a larger number.

    Parameters
    ----------
    path
        The file, for errors.
    tiff
        The same, opened.
    page
        The page, or one of several equal ones.
    pixels
        Decoded pixels, (..., Y, X), (..., Y, X, S) or (..., S, Y, X).
    axes
        The page's axes, if the file gives more of them than the page.

    Returns
    -------
    (..., Y, X) uint8 or uint16
        One channel if all are equal; the complement if the page stores white as zero.

    Raises
    ------
    FormatError
        The page has colours, or does not hold counts.
    """
    axes = axes or page.axes
    if "S" in axes:
        pixels = first_of_equal(path, np.moveaxis(pixels, axes.index("S") - len(axes), -1))
    check_pixels(path, pixels.dtype)
    table = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
    if table is not None and not (tiff.is_imagej or tiff.is_ome):
        # Palettes of ImageJ and OME files only affect the display of counts; others are colours.
        levels = first_of_equal(path, np.moveaxis(table, 0, -1)[pixels])
        pixels = (levels >> 8).astype(np.uint8)
    # If a page does not say, the reader assumes that white is zero.
    if 262 in page.tags and page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = (2**page.bitspersample - 1) - pixels
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class Place:
    """Place of a page: its file, and its number or the offset of its directory."""

    file: Path
    page: int | None = None
    offset: int = 0


@dataclass(frozen=True)
class Page:
    """A page read from its place: (Y, X) counts, and Micro-Manager's metadata."""

    pixels: NDArray[Any]
    metadata: dict[str, Any]


def read_places(path: Path, places: Iterable[Place]) -> Iterator[Page]:
    """Read the pages of one stack, which may lie in several files of a set.

    Parameters
    ----------
    path
        The file that the user named, for errors.
    places
        Where the pages are.

    Raises
    ------
    FormatError
        A file is missing or truncated, or a page is not a grey plane.
    """
    opened: dict[Path, tifffile.TiffFile] = {}
    claimed = stored = 0
    with ExitStack() as stack:
        for place in places:
            if place.file not in opened:
                if not place.file.is_file():
                    raise FormatError(
                        f"{path} belongs to a set of files, and {place.file.name} of it is not "
                        "beside it; copy the whole set"
                    )
                opened[place.file] = stack.enter_context(opened_tiff(place.file))
            tiff = opened[place.file]
            page = _page_at(tiff, place)
            require_held(place.file, page)
            claimed, stored = claimed + page.nbytes, stored + sum(page.databytecounts)
            require_stored(place.file, claimed, stored)
            pixels = grey_pages(place.file, tiff, page.keyframe, page.asarray())
            if pixels.ndim != 2:
                raise FormatError(f"{place.file} has planes in one page; save one plane to a page")
            yield Page(pixels, micromanager_tag(page))


def micromanager_tag(page: tifffile.TiffPage) -> dict[str, Any]:
    """Read Micro-Manager's metadata of a page; empty if it did not write the page."""
    metadata = page.tags.valueof(51123)
    return metadata if isinstance(metadata, dict) else {}


def _page_at(tiff: tifffile.TiffFile, place: Place) -> tifffile.TiffPage:
    size = tiff.filehandle.size
    if place.page is None:
        if not 8 <= place.offset < size:
            require_end(place.file, size, place.offset or size + 1)
        tiff.filehandle.seek(place.offset)
        return tifffile.TiffPage(tiff, index=0 if place.offset == tiff.pages.first.offset else 1)
    if not 0 <= place.page < len(tiff.pages):
        raise FormatError(
            f"{place.file} has {len(tiff.pages)} pages and is said to have more; it is truncated, "
            "copy or export it again"
        )
    return tiff.pages[place.page].aspage()


def contiguous(path: Path, series: tifffile.TiffPageSeries) -> NDArray[Any]:
    """Memory-map contiguous pages, (P, *page), without reading them.

    Parameters
    ----------
    path
        The file, named in the error.
    series
        Its pages.

    Raises
    ------
    FormatError
        They are not contiguous, or the file ends before they do.
    """
    page = series.keyframe
    handle = page.parent.filehandle
    if series.dataoffset is None:
        raise FormatError(f"{path} describes pages that it does not hold; export it again")
    require_end(path, handle.size, series.dataoffset + series.nbytes)
    mapped: NDArray[Any] = np.memmap(
        handle.path,
        np.dtype(series.dtype).newbyteorder(page.parent.byteorder),
        "r",
        series.dataoffset,
        (int(np.prod(series.shape)) // int(np.prod(page.shape)), *page.shape),
    )
    return mapped


def require_held(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Refuse a page whose pixels are not all in its file; the reader would fill them with black.

    Parameters
    ----------
    path
        The file, named in the error.
    page
        One page of it.

    Raises
    ------
    FormatError
        They reach beyond its end, some are missing, or far more are declared than stored.
    """
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    require_end(path, page.parent.filehandle.size, max((o + n for o, n in places), default=0))
    stored = sum(page.databytecounts)
    bits = cast(tifffile.TiffPage, page.keyframe).bitspersample * int(np.prod(page.shape))
    short = page.compression == tifffile.COMPRESSION.NONE and 8 * stored < bits
    if short or not all(o and n for o, n in places):
        raise FormatError(
            f"{path} lacks a part of the pixels of page {page.index + 1}; copy or export it again"
        )
    if page.nbytes > max(_LARGE, _MOST_PACKED * stored):
        raise FormatError(
            f"{path} claims {page.nbytes >> 20} MB of pixels on page {page.index + 1} and stores "
            f"{stored} bytes of them; export it again"
        )


def require_end(path: Path, size: int, end: int) -> None:
    """Refuse a file that ends before its pixels do.

    Parameters
    ----------
    path
        The file, named in the error.
    size
        Its size, bytes.
    end
        Where its pixels end, bytes from its beginning.

    Raises
    ------
    FormatError
        The file ends before its pixels.
    """
    if end > size:
        raise FormatError(
            f"{path} is truncated: it has {size} bytes and its pixels reach to byte {end}; "
            "copy or export it again"
        )


class _Listener(logging.Handler):
    """Keeps the first error that the TIFF reader logs instead of raising."""

    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self.problem = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.problem = self.problem or record.getMessage()


def _packed(path: Path, how: str) -> FormatError:
    return FormatError(
        f"{path} is compressed in a way ({how}) that needs the package imagecodecs; save it "
        "uncompressed, or pip install 'fgaf[interchange]'"
    )


def _damaged(path: Path, problem: str) -> FormatError:
    cause = re.sub(r"^<[^>]*>\s*", "", problem).strip()[:120]
    return FormatError(f"{path} is truncated, damaged or not a TIFF ({cause}); export it again")
